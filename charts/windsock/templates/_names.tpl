{{- define "windsock.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* What a selector may hold: it can never be changed. The component keeps `helm test`'s pod out of the Service. */}}
{{- define "windsock.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: monitor
{{- end -}}

{{- define "windsock.labels" -}}
{{ include "windsock.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: windsock
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "windsock.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{- define "windsock.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (ternary (include "windsock.fullname" .) "default" .Values.serviceAccount.create) -}}
{{- end -}}

{{- define "windsock.secret" -}}
{{- .Values.secrets.existing | default (include "windsock.fullname" .) -}}
{{- end -}}

{{/* The names of the secrets that are given, a JSON list. */}}
{{- define "windsock.secretKeys" -}}
{{- ternary .Values.secrets.keys (keys .Values.secrets.values | sortAlpha) (ne .Values.secrets.existing "") | toJson -}}
{{- end -}}

{{/* How people reach the monitor: as it is set, or as the Ingress has it. */}}
{{- define "windsock.publicUrl" -}}
{{- if .Values.settings.public_url -}}
{{- .Values.settings.public_url -}}
{{- else if .Values.ingress.enabled -}}
{{- ternary "https" "http" (ne .Values.ingress.tlsSecret "") }}://{{ .Values.ingress.host }}{{ trimSuffix "/" .Values.ingress.path }}
{{- end -}}
{{- end -}}

{{/* "true" where more than one monitor may run at once. */}}
{{- define "windsock.several" -}}
{{- if or .Values.autoscaling.enabled (gt (int .Values.replicas) 1) -}}true{{- end -}}
{{- end -}}
