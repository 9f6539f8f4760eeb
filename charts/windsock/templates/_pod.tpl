{{/* A number as people write it: Helm reads 1000000 as 1e+06. */}}
{{- define "windsock.text" -}}
{{- if and (kindIs "float64" .) (eq (float64 (int64 .)) .) -}}{{ int64 . }}{{- else -}}{{ . }}{{- end -}}
{{- end -}}

{{/* What `serve` and `migrate` have in common: the image, what they may do, what they know, what they see. */}}
{{- define "windsock.container" -}}
{{- $files := include "windsock.secretKeys" . | fromJsonArray -}}
{{- if .Values.database.urlSecret.name -}}
{{- $files = append $files "database_url" -}}
{{- end -}}
image: {{ include "windsock.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
env:
  # Said here, since Kubernetes gives a pod WINDSOCK_PORT=tcp://… for a Service of the name windsock.
  - name: WINDSOCK_PORT
    value: "8090"
  - name: WINDSOCK_HOST
    value: 0.0.0.0
  - name: WINDSOCK_HOME
    value: /var/lib/windsock
  - name: WINDSOCK_PUBLIC_URL
    value: {{ include "windsock.publicUrl" . | quote }}
  {{- if .Values.rules }}
  - name: WINDSOCK_CONFIG
    value: /etc/windsock/rules/windsock.yaml
  {{- end }}
  {{- if .Values.mailTemplates }}
  - name: WINDSOCK_TEMPLATES
    value: /etc/windsock/templates
  {{- end }}
  {{- range $name, $value := omit .Values.settings "public_url" }}
  - name: WINDSOCK_{{ $name | upper }}
    value: {{ include "windsock.text" $value | quote }}
  {{- end }}
  {{- range $files }}
  - name: WINDSOCK_{{ . | upper }}_FILE
    value: /etc/windsock/secrets/{{ . }}
  {{- end }}
  {{- with .Values.extraEnv }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with .Values.extraEnvFrom }}
envFrom:
  {{- toYaml . | nindent 2 }}
{{- end }}
volumeMounts:
  - name: home
    mountPath: /var/lib/windsock
  - name: tmp
    mountPath: /tmp
  - name: secrets
    mountPath: /etc/windsock/secrets
    readOnly: true
  {{- if .Values.rules }}
  # The folder, not the file: a file that is mounted by subPath never changes.
  - name: rules
    mountPath: /etc/windsock/rules
    readOnly: true
  {{- end }}
  {{- if .Values.mailTemplates }}
  - name: templates
    mountPath: /etc/windsock/templates
    readOnly: true
  {{- end }}
  {{- with .Values.extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{- define "windsock.volumes" -}}
- name: home
  {{- if or (eq .Values.database.kind "sqlite") .Values.persistence.existingClaim }}
  persistentVolumeClaim:
    claimName: {{ .Values.persistence.existingClaim | default (include "windsock.fullname" .) }}
  {{- else }}
  emptyDir: {}
  {{- end }}
- name: tmp
  emptyDir:
    sizeLimit: 64Mi
- name: secrets
  projected:
    defaultMode: 0440
    # By name: a key that is missing keeps the pod from starting, and the event says which.
    sources:
      - secret:
          name: {{ include "windsock.secret" . }}
          items:
            {{- range include "windsock.secretKeys" . | fromJsonArray }}
            - key: {{ . }}
              path: {{ . }}
            {{- end }}
      {{- with .Values.database.urlSecret }}
      {{- if .name }}
      - secret:
          name: {{ .name }}
          items:
            - key: {{ .key }}
              path: database_url
      {{- end }}
      {{- end }}
{{- if .Values.rules }}
- name: rules
  configMap:
    name: {{ include "windsock.fullname" . }}-rules
{{- end }}
{{- if .Values.mailTemplates }}
- name: templates
  configMap:
    name: {{ include "windsock.fullname" . }}-templates
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* The profile "restricted" asks for it, and the files in the claim are the group's. */}}
{{- define "windsock.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end -}}
