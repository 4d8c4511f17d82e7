{{- define "kitbag.name" -}}
{{- if contains .Chart.Name .Release.Name -}}{{ .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else -}}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" }}{{- end -}}
{{- end -}}

{{- /* (list $ "component"): what selects the pods of one part */ -}}
{{- define "kitbag.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ $root.Chart.Name }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{- define "kitbag.labels" -}}
{{- $root := index . 0 -}}
{{ include "kitbag.selector" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version }}
{{- end -}}

{{- define "kitbag.image" -}}{{ include "kitbag.imageOf" (list . .Values.image) }}{{- end -}}

{{- /* (list $ values): an image by digest, or by tag */ -}}
{{- define "kitbag.imageOf" -}}
{{- $root := index . 0 -}}
{{- with index . 1 -}}
{{- if .digest -}}{{ .repository }}@{{ .digest }}
{{- else -}}{{ .repository }}:{{ .tag | default $root.Chart.AppVersion }}{{- end -}}
{{- end -}}
{{- end -}}

{{- define "kitbag.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}{{ .Values.serviceAccount.name | default (include "kitbag.name" .) }}
{{- else -}}{{ .Values.serviceAccount.name | default "default" }}{{- end -}}
{{- end -}}

{{- define "kitbag.dockerSecret" -}}
{{- if .Values.dockerConfig.existingSecret -}}{{ .Values.dockerConfig.existingSecret }}
{{- else if .Values.dockerConfig.json -}}{{ include "kitbag.name" . }}-docker{{- end -}}
{{- end -}}

{{- define "kitbag.caConfigMap" -}}
{{- if .Values.caBundle.existingConfigMap.name -}}{{ .Values.caBundle.existingConfigMap.name }}
{{- else if .Values.caBundle.pem -}}{{ include "kitbag.name" . }}-ca{{- end -}}
{{- end -}}

{{- /* What can't be left out, or contradicts itself, each in one sentence. */ -}}
{{- define "kitbag.check" -}}
{{- with .Values -}}
{{- if not .image.repository }}{{ fail "Set image.repository to where you pushed the image that the Dockerfile makes." }}{{ end -}}
{{- if and (not .database.url) (not .database.existingSecret.name) }}{{ fail "Set database.existingSecret.name to a Secret that holds a postgresql:// URL, or set database.url." }}{{ end -}}
{{- if not .store }}{{ fail "Set store to the registry that images are pushed to, as registry://HOST/PREFIX." }}{{ end -}}
{{- if and (not .apiToken.value) (not .apiToken.existingSecret.name) }}{{ fail "Set apiToken.existingSecret.name to a Secret that holds the token of the API's callers, or set apiToken.value." }}{{ end -}}
{{- $external := or .redis.url .redis.existingSecret.name -}}
{{- if and .redis.bundled $external }}{{ fail "Set redis.bundled to false to use the Redis of redis.url or redis.existingSecret." }}{{ end -}}
{{- if and (not .redis.bundled) (not $external) }}{{ fail "Set redis.existingSecret.name to a Secret that holds a redis:// URL, set redis.url, or set redis.bundled to true." }}{{ end -}}
{{- if and .redis.passwordSecret.name (not .redis.bundled) }}{{ fail "Unset redis.passwordSecret, which is the bundled Redis's; an external one's password is part of its URL." }}{{ end -}}
{{- if and .api.ingress.enabled (not .api.ingress.host) }}{{ fail "Set api.ingress.host to the name that the Ingress answers to, or disable api.ingress." }}{{ end -}}
{{- if lt .builds.leaseSeconds (mulf 2 .builds.heartbeatSeconds) }}{{ fail "Set builds.leaseSeconds to twice builds.heartbeatSeconds or more." }}{{ end -}}
{{- if ne .engine.kind "none" -}}
{{- if not .engine.address }}{{ fail "Set engine.address to where the container engine answers, as tcp://HOST:PORT." }}{{ end -}}
{{- if not .engine.image.repository }}{{ fail "Set engine.image.repository to an image of kitbag-server that has the engine's client too, docker or buildctl." }}{{ end -}}
{{- end -}}
{{- if .admission.enabled -}}
{{- if not .admission.key }}{{ fail "Set admission.key to 16 to 63 random lower-case letters and digits, which the API server shows to the webhook." }}{{ end -}}
{{- with .admission.certificate -}}
{{- if and .secretName .certManager.issuer }}{{ fail "Unset one of admission.certificate.secretName and admission.certificate.certManager.issuer; each brings the certificate." }}{{ end -}}
{{- if and (not .secretName) (not .certManager.issuer) }}{{ fail "Set admission.certificate.secretName to a Secret of type kubernetes.io/tls, or admission.certificate.certManager.issuer to an issuer of cert-manager." }}{{ end -}}
{{- if and .secretName (not .caBundle) }}{{ fail "Set admission.certificate.caBundle to the PEM of who signed the certificate, or the API server won't trust it." }}{{ end -}}
{{- end -}}
{{- end -}}
{{- if gt .api.autoscaling.minReplicas .api.autoscaling.maxReplicas }}{{ fail "Set api.autoscaling.maxReplicas to api.autoscaling.minReplicas or more." }}{{ end -}}
{{- end -}}
{{- end -}}

{{- define "kitbag.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "kitbag.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{- /* (list $ $databaseSecret): what every part reads */ -}}
{{- define "kitbag.env" -}}
{{- $root := index . 0 -}}
- name: HOME
  value: /tmp
- name: KITBAG_DATA
  value: /var/lib/kitbag
- name: KITBAG_DATABASE_URL
  valueFrom:
    secretKeyRef:
      {{- with $root.Values.database }}
      name: {{ .existingSecret.name | default (index $ 1) }}
      key: {{ if .existingSecret.name }}{{ .existingSecret.key }}{{ else }}database-url{{ end }}
      {{- end }}
{{- end -}}

{{- /* Where the queue is, for API and workers. */ -}}
{{- define "kitbag.brokerEnv" -}}
{{- $name := include "kitbag.name" . -}}
{{- with .Values.redis -}}
{{- if .bundled -}}
{{- if .passwordSecret.name -}}
- name: REDIS_PASSWORD
  valueFrom: {secretKeyRef: {name: {{ .passwordSecret.name }}, key: {{ .passwordSecret.key }}}}
{{ end -}}
- name: KITBAG_BROKER_URL
  value: redis://{{ if .passwordSecret.name }}:$(REDIS_PASSWORD)@{{ end }}{{ $name }}-redis:6379/0
{{- else -}}
- name: KITBAG_BROKER_URL
  valueFrom:
    secretKeyRef:
      name: {{ .existingSecret.name | default $name }}
      key: {{ if .existingSecret.name }}{{ .existingSecret.key }}{{ else }}broker-url{{ end }}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /* A claim's class and size, of .size and .storageClass. */ -}}
{{- define "kitbag.claim" -}}
{{- with .storageClass }}
storageClassName: {{ . }}
{{- end }}
resources: {requests: {storage: {{ .size }}}}
{{- end -}}

{{- define "kitbag.placement" -}}
{{- with .nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}
