{{/* What a schema cannot say: values that do not fit together. Each sentence names the value and the remedy. */}}
{{- define "windsock.mistakes" -}}
{{- $keys := include "windsock.secretKeys" . | fromJsonArray -}}
{{- $settings := .Values.settings -}}
{{- $said := list -}}
{{- if and .Values.secrets.existing .Values.secrets.values -}}
{{- $said = append $said "secrets: existing and values are both set; give one of them." -}}
{{- end -}}
{{- if and .Values.secrets.existing (not .Values.secrets.keys) -}}
{{- $said = append $said (printf "secrets.keys: name the keys of the Secret %q that the monitor shall read, such as [ingest_secret, airflow_password]." .Values.secrets.existing) -}}
{{- end -}}
{{- if not (has "ingest_secret" $keys) -}}
{{- $said = append $said "secrets: ingest_secret is missing; nothing of Airflow's would be taken in. Make one with `windsock secret`." -}}
{{- end -}}
{{- range splitList " " (.Values.secrets.values.ingest_secret | default "" | trim) -}}
{{- if and . (not (hasPrefix "whsec_" .)) -}}
{{- $said = append $said "secrets.values.ingest_secret: each begins with whsec_; make one with `windsock secret`." -}}
{{- end -}}
{{- end -}}
{{- if not $settings.airflow_url -}}
{{- $said = append $said "settings.airflow_url: is missing; people sign in through Airflow, and events are confirmed there." -}}
{{- else if or (not $settings.airflow_username) (not (has "airflow_password" $keys)) -}}
{{- $said = append $said "settings.airflow_url: needs settings.airflow_username and the secret airflow_password too (a user that may read DAGs)." -}}
{{- end -}}
{{- if and .Values.ingress.enabled (not .Values.ingress.host) -}}
{{- $said = append $said "ingress.host: is missing; name the host that people type." -}}
{{- else if not (include "windsock.publicUrl" .) -}}
{{- $said = append $said "settings.public_url: is missing, and there is no ingress to take it from; links in mails begin with it." -}}
{{- end -}}
{{- if eq .Values.database.kind "sqlite" -}}
{{- if include "windsock.several" . -}}
{{- $said = append $said "replicas, autoscaling: with database.kind sqlite there is one replica; for more set database.kind to postgresql and the secret database_url." -}}
{{- end -}}
{{- if or (has "database_url" $keys) .Values.database.urlSecret.name -}}
{{- $said = append $said "database.kind: is sqlite and database_url is given; set it to postgresql, or take the secret away." -}}
{{- end -}}
{{- else -}}
{{- if eq (has "database_url" $keys) (ne .Values.database.urlSecret.name "") -}}
{{- $said = append $said "database.kind: postgresql needs the secret database_url (postgresql+psycopg://user:password@host/name) or database.urlSecret, one of them." -}}
{{- end -}}
{{- if not (has "session_secret" $keys) -}}
{{- $said = append $said "database.kind: postgresql needs the secret session_secret too, 32 random bytes or more: pods keep nothing, and what signs links in mails must outlive them." -}}
{{- end -}}
{{- if and (include "windsock.several" .) (not $settings.smtp_host) -}}
{{- $said = append $said "settings.smtp_host: is missing; the embedded mailbox is one pod's own, so several replicas need a mail server." -}}
{{- end -}}
{{- end -}}
{{- if and .Values.autoscaling.enabled (gt (int .Values.autoscaling.minReplicas) (int .Values.autoscaling.maxReplicas)) -}}
{{- $said = append $said "autoscaling.minReplicas: is above maxReplicas." -}}
{{- end -}}
{{- if le (int .Values.terminationGracePeriodSeconds) (int .Values.preStopSeconds) -}}
{{- $said = append $said "terminationGracePeriodSeconds: is not above preStopSeconds; the monitor would be killed before it is told to stop." -}}
{{- end -}}
{{- if $said -}}
{{- fail (printf "these values do not fit:\n  %s" (join "\n  " $said)) -}}
{{- end -}}
{{- end -}}
