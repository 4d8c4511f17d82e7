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

{{- /* Of pods: only the API takes part in a mesh. A sidecar would keep the migration's Job alive, and the
       API server and the queue's clients have no certificates of the mesh's. */ -}}
{{- define "kitbag.podLabels" -}}
{{- $root := index . 0 -}}
{{ include "kitbag.labels" . }}
{{- if $root.Values.istio.enabled }}
sidecar.istio.io/inject: {{ eq (index . 1) "api" | quote }}
{{- end }}
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

{{- define "kitbag.caKey" -}}
{{- if .Values.caBundle.existingConfigMap.name -}}{{ .Values.caBundle.existingConfigMap.key }}{{- else -}}ca.pem{{- end -}}
{{- end -}}

{{- /* Not empty where the release brings its own BuildKit. */ -}}
{{- define "kitbag.buildkit" -}}
{{- if and (eq .Values.engine.kind "buildkit") .Values.engine.bundled.enabled -}}yes{{- end -}}
{{- end -}}

{{- define "kitbag.buildkitNamespace" -}}
{{- .Values.engine.bundled.namespace | default .Release.Namespace -}}
{{- end -}}

{{- define "kitbag.engineAddress" -}}
{{- if include "kitbag.buildkit" . -}}tcp://{{ include "kitbag.name" . }}-buildkit.{{ include "kitbag.buildkitNamespace" . }}.svc:1234
{{- else -}}{{ .Values.engine.address }}{{- end -}}
{{- end -}}

{{- define "kitbag.engineCerts" -}}
{{- if include "kitbag.buildkit" . -}}{{ include "kitbag.name" . }}-buildkit-client
{{- else -}}{{ .Values.engine.certsSecret }}{{- end -}}
{{- end -}}

{{- /* What can't be left out, or contradicts itself, each in one sentence. */ -}}
{{- define "kitbag.check" -}}
{{- with .Values -}}
{{- if not .image.repository }}{{ fail "Set image.repository to where you pushed the image that the Dockerfile makes." }}{{ end -}}
{{- if .database.bundled.enabled -}}
{{- if or .database.url .database.existingSecret.name }}{{ fail "Set database.bundled.enabled to false to use the PostgreSQL of database.url or database.existingSecret." }}{{ end -}}
{{- if not .database.bundled.passwordSecret.name }}{{ fail "Set database.bundled.passwordSecret.name to a Secret with the password, of letters and digits, that the bundled PostgreSQL gets." }}{{ end -}}
{{- else if and (not .database.url) (not .database.existingSecret.name) }}{{ fail "Set database.existingSecret.name to a Secret that holds a postgresql:// URL, set database.url, or set database.bundled.enabled to true." }}{{ end -}}
{{- if not .store }}{{ fail "Set store to the registry that images are pushed to, as registry://HOST/PREFIX." }}{{ end -}}
{{- if and (not .apiToken.value) (not .apiToken.existingSecret.name) }}{{ fail "Set apiToken.existingSecret.name to a Secret that holds the token of the API's callers, or set apiToken.value." }}{{ end -}}
{{- $external := or .redis.url .redis.existingSecret.name -}}
{{- if and .redis.bundled $external }}{{ fail "Set redis.bundled to false to use the Redis of redis.url or redis.existingSecret." }}{{ end -}}
{{- if and (not .redis.bundled) (not $external) }}{{ fail "Set redis.existingSecret.name to a Secret that holds a redis:// URL, set redis.url, or set redis.bundled to true." }}{{ end -}}
{{- if and .redis.passwordSecret.name (not .redis.bundled) }}{{ fail "Unset redis.passwordSecret, which is the bundled Redis's; an external one's password is part of its URL." }}{{ end -}}
{{- if and .api.ingress.enabled (not .api.ingress.host) }}{{ fail "Set api.ingress.host to the name that the Ingress answers to, or disable api.ingress." }}{{ end -}}
{{- if lt .builds.leaseSeconds (mulf 2 .builds.heartbeatSeconds) }}{{ fail "Set builds.leaseSeconds to twice builds.heartbeatSeconds or more." }}{{ end -}}
{{- if ne .engine.kind "none" -}}
{{- if and .engine.bundled.enabled (ne .engine.kind "buildkit") }}{{ fail "Set engine.kind to buildkit to use engine.bundled, or disable it." }}{{ end -}}
{{- if and .engine.bundled.enabled (or .engine.address .engine.certsSecret) }}{{ fail "Unset engine.address and engine.certsSecret, which engine.bundled brings, or disable it." }}{{ end -}}
{{- if and (not .engine.address) (not .engine.bundled.enabled) }}{{ fail "Set engine.address to where the container engine answers, as tcp://HOST:PORT." }}{{ end -}}
{{- if and (or (eq .engine.kind "buildkit") (eq .engine.builder "buildkit")) (or .engine.limits.cpus .engine.limits.memoryBytes) }}{{ fail "Unset engine.limits.cpus and engine.limits.memoryBytes, to which BuildKit holds no single build: limit its pod." }}{{ end -}}
{{- if and (not .engine.image.repository) (not .engine.bundled.enabled) }}{{ fail "Set engine.image.repository to an image of kitbag-server that has the engine's client too, docker or buildctl." }}{{ end -}}
{{- end -}}
{{- if .admission.enabled -}}
{{- if not .admission.key }}{{ fail "Set admission.key to 16 to 63 random lower-case letters and digits, which the API server shows to the webhook." }}{{ end -}}
{{- with .admission.certificate -}}
{{- $ways := list -}}
{{- if .secretName }}{{ $ways = append $ways "secretName" }}{{ end -}}
{{- if .certManager.issuer }}{{ $ways = append $ways "certManager.issuer" }}{{ end -}}
{{- if .selfSigned }}{{ $ways = append $ways "selfSigned" }}{{ end -}}
{{- if gt (len $ways) 1 }}{{ fail (printf "Unset one of admission.certificate.%s; each brings the certificate." (join " and admission.certificate." $ways)) }}{{ end -}}
{{- if not $ways }}{{ fail "Set admission.certificate.secretName to a Secret of type kubernetes.io/tls, admission.certificate.certManager.issuer to an issuer of cert-manager, or admission.certificate.selfSigned to true." }}{{ end -}}
{{- if and .secretName (not .caBundle) }}{{ fail "Set admission.certificate.caBundle to the PEM of who signed the certificate, or the API server won't trust it." }}{{ end -}}
{{- end -}}
{{- end -}}
{{- if gt .worker.autoscaling.minReplicas .worker.autoscaling.maxReplicas }}{{ fail "Set worker.autoscaling.maxReplicas to worker.autoscaling.minReplicas or more." }}{{ end -}}
{{- if gt .engine.autoscaling.minReplicas .engine.autoscaling.maxReplicas }}{{ fail "Set engine.autoscaling.maxReplicas to engine.autoscaling.minReplicas or more." }}{{ end -}}
{{- if and .istio.enabled (not .istio.host) }}{{ fail "Set istio.host to the name under which the gateway has the service, or disable istio." }}{{ end -}}
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
{{- with $root.Values.database }}
{{- if .bundled.enabled }}
- name: DATABASE_PASSWORD
  valueFrom: {secretKeyRef: {name: {{ .bundled.passwordSecret.name }}, key: {{ .bundled.passwordSecret.key }}}}
- name: KITBAG_DATABASE_URL
  value: postgresql://kitbag:$(DATABASE_PASSWORD)@{{ include "kitbag.name" $root }}-postgres:5432/kitbag
{{- else }}
- name: KITBAG_DATABASE_URL
  valueFrom:
    secretKeyRef:
      name: {{ .existingSecret.name | default (index $ 1) }}
      key: {{ if .existingSecret.name }}{{ .existingSecret.key }}{{ else }}database-url{{ end }}
{{- end }}
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
