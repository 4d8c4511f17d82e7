{{- /* (dict "root" $ "part" "component" "of" its values): the Deployment of workers, with a container engine or without */ -}}
{{- define "kitbag.worker" -}}
{{- $root := .root -}}
{{- $part := .part -}}
{{- $of := .of -}}
{{- $engine := eq .part "engine" -}}
{{- $certs := ternary (include "kitbag.engineCerts" .root) "" $engine -}}
{{- $bundled := and $engine (include "kitbag.buildkit" .root) -}}
{{- with $root -}}
{{- $name := include "kitbag.name" . -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ $name }}-{{ $part }}
  labels: {{- include "kitbag.labels" (list . $part) | nindent 4 }}
spec:
  {{- if not $of.autoscaling.enabled }}
  replicas: {{ $of.replicas }}
  {{- end }}
  selector:
    matchLabels: {{- include "kitbag.selector" (list . $part) | nindent 6 }}
  template:
    metadata:
      labels: {{- include "kitbag.podLabels" (list . $part) | nindent 8 }}
      annotations:
        checksum/settings: {{ include (print $root.Template.BasePath "/secrets.yaml") . | sha256sum }}
    spec:
      serviceAccountName: {{ include "kitbag.serviceAccount" . }}
      automountServiceAccountToken: {{ and .Values.rollouts.enabled (not $engine) }}
      enableServiceLinks: false
      # Builds that run may end; what is cut off is built again by another worker.
      terminationGracePeriodSeconds: {{ $of.terminationGracePeriodSeconds }}
      {{- with .Values.imagePullSecrets }}
      imagePullSecrets: {{- toYaml . | nindent 8 }}
      {{- end }}
      securityContext: {{- include "kitbag.podSecurity" . | nindent 8 }}
      {{- if $bundled }}
      initContainers:
        # The client of the very release that it talks to.
        - name: client
          image: {{ .Values.engine.bundled.image }}
          command: [cp, /usr/bin/buildctl, /opt/engine/buildctl]
          securityContext: {{- include "kitbag.containerSecurity" . | nindent 12 }}
          resources: {requests: {cpu: 10m, memory: 32Mi}, limits: {memory: 128Mi}}
          volumeMounts:
            - {name: client, mountPath: /opt/engine}
      {{- end }}
      containers:
        - name: worker
          image: {{ if and $engine .Values.engine.image.repository }}{{ include "kitbag.imageOf" (list . .Values.engine.image) }}{{ else }}{{ include "kitbag.image" . }}{{ end }}
          imagePullPolicy: {{ .Values.image.pullPolicy }}
          args: [worker, --concurrency, {{ $of.concurrency | quote }}{{ if $engine }}, --queues, engine{{ end }}]
          env:
            {{- include "kitbag.env" (list . $name) | nindent 12 }}
            {{- include "kitbag.brokerEnv" . | nindent 12 }}
            {{- with .Values.hooks.publicUrl }}
            - {name: KITBAG_PUBLIC_URL, value: {{ . | quote }}}
            {{- end }}
            - {name: KITBAG_STORE, value: {{ .Values.store | quote }}}
            - {name: KITBAG_CACHE, value: /var/cache/kitbag}
            - {name: KITBAG_CACHE_MAX_BYTES, value: {{ $of.cache.maxBytes | int64 | quote }}}
            {{- with .Values.baseImage }}
            - {name: KITBAG_BASE_IMAGE, value: {{ . | quote }}}
            {{- end }}
            {{- with .Values.index.url }}
            - {name: KITBAG_INDEX_URL, value: {{ . | quote }}}
            {{- end }}
            {{- with .Values.index.extraUrls }}
            - {name: KITBAG_EXTRA_INDEX_URLS, value: {{ toJson . | quote }}}
            {{- end }}
            - {name: KITBAG_INDEX_STRATEGY, value: {{ .Values.index.strategy }}}
            {{- with .Values.index.mirrors }}
            - {name: KITBAG_MIRRORS, value: {{ toJson . | quote }}}
            {{- end }}
            {{- if .Values.index.secrets }}
            - {name: KITBAG_SECRETS, value: /etc/kitbag/secrets}
            {{- end }}
            {{- with .Values.sources.allowedHosts }}
            - {name: KITBAG_ALLOWED_HOSTS, value: {{ toJson . | quote }}}
            {{- end }}
            - {name: KITBAG_GIT_PROTOCOLS, value: {{ toJson .Values.sources.gitProtocols | quote }}}
            - {name: KITBAG_BYTECODE, value: {{ .Values.builds.bytecode | quote }}}
            - {name: KITBAG_LAYER_COMPRESSION, value: {{ .Values.builds.layerCompression | quote }}}
            - {name: KITBAG_BUILD_TIMEOUT_S, value: {{ .Values.builds.timeoutSeconds | int64 | quote }}}
            - {name: KITBAG_HEARTBEAT_S, value: {{ .Values.builds.heartbeatSeconds | quote }}}
            - {name: KITBAG_LEASE_S, value: {{ .Values.builds.leaseSeconds | quote }}}
            - {name: KITBAG_SWEEP_S, value: {{ .Values.builds.sweepSeconds | quote }}}
            - {name: KITBAG_MAX_ATTEMPTS, value: {{ .Values.builds.maxAttempts | quote }}}
            {{- if and .Values.rollouts.enabled (not $engine) }}
            - {name: KITBAG_CLUSTER, value: in-cluster}
            - {name: KITBAG_CLUSTER_ACTS_AS, value: {{ .Values.rollouts.actsAs }}}
            - {name: KITBAG_CLUSTER_ACCOUNT, value: {{ .Values.rollouts.account | quote }}}
            {{- end }}
            {{- if not $engine }}
            {{- include "kitbag.launcherEnv" (list $root "worker") | nindent 12 }}
            {{- end }}
            {{- if include "kitbag.dockerSecret" . }}
            - {name: DOCKER_CONFIG, value: /etc/kitbag/docker}
            {{- end }}
            {{- if include "kitbag.caConfigMap" . }}
            - {name: KITBAG_CA_BUNDLE, value: /etc/kitbag/ca/ca.pem}
            {{- end }}
            - {name: KITBAG_BINDER_PACKAGES, value: {{ toJson .Values.binder.packages | quote }}}
            {{- with .Values.binder.base }}
            - {name: KITBAG_BINDER_BASE, value: {{ . | quote }}}
            {{- end }}
            {{- with .Values.binder.dockerfileRegistries }}
            - {name: KITBAG_DOCKERFILE_REGISTRIES, value: {{ toJson . | quote }}}
            {{- end }}
            {{- if $engine }}
            {{- if $bundled }}
            - {name: PATH, value: "/opt/kitbag/bin:/usr/local/bin:/usr/bin:/bin:/opt/engine"}
            {{- end }}
            - {name: KITBAG_ENGINE_ADDRESS, value: {{ include "kitbag.engineAddress" . | quote }}}
            {{- with .Values.engine }}
            - {name: KITBAG_ENGINE, value: {{ .kind }}}
            {{- if $certs }}
            - {name: KITBAG_ENGINE_CERTS, value: /etc/kitbag/engine}
            {{- end }}
            - {name: KITBAG_ENGINE_BUILDER, value: {{ .builder }}}
            - {name: KITBAG_ENGINE_NETWORK, value: {{ .network | quote }}}
            {{- with .limits.cpus }}
            - {name: KITBAG_ENGINE_CPUS, value: {{ . | quote }}}
            {{- end }}
            {{- with .limits.memoryBytes }}
            - {name: KITBAG_ENGINE_MEMORY_BYTES, value: {{ . | int64 | quote }}}
            {{- end }}
            {{- with .limits.diskBytes }}
            - {name: KITBAG_ENGINE_DISK_BYTES, value: {{ . | int64 | quote }}}
            {{- end }}
            - {name: KITBAG_ENGINE_PROCESSES, value: {{ .limits.processes | int64 | quote }}}
            {{- with .cacheRepository }}
            - {name: KITBAG_ENGINE_CACHE, value: {{ . | quote }}}
            {{- end }}
            {{- end }}
            {{- end }}
            {{- with .Values.clusterTarget }}
            - {name: KITBAG_CLUSTER_TARGET, value: {{ . | quote }}}
            {{- end }}
            {{- with .Values.extraEnv }}
            {{- toYaml . | nindent 12 }}
            {{- end }}
          securityContext: {{- include "kitbag.containerSecurity" . | nindent 12 }}
          resources: {{- toYaml $of.resources | nindent 12 }}
          volumeMounts:
            - {name: data, mountPath: /var/lib/kitbag}
            - {name: cache, mountPath: /var/cache/kitbag}
            - {name: tmp, mountPath: /tmp}
            {{- if include "kitbag.dockerSecret" . }}
            - {name: docker, mountPath: /etc/kitbag/docker, readOnly: true}
            {{- end }}
            {{- if .Values.index.secrets }}
            - {name: secrets, mountPath: /etc/kitbag/secrets, readOnly: true}
            {{- end }}
            {{- if include "kitbag.caConfigMap" . }}
            - {name: ca, mountPath: /etc/kitbag/ca, readOnly: true}
            {{- end }}
            {{- if $certs }}
            - {name: engine, mountPath: /etc/kitbag/engine, readOnly: true}
            {{- end }}
            {{- if $bundled }}
            - {name: client, mountPath: /opt/engine, readOnly: true}
            {{- end }}
      {{- include "kitbag.placement" $of | nindent 6 }}
      volumes:
        - name: data
          persistentVolumeClaim: {claimName: {{ .Values.data.existingClaim | default (printf "%s-data" $name) }}}
        - name: cache
          {{- with $of.cache }}
          {{- if eq .type "emptyDir" }}
          emptyDir: {sizeLimit: {{ .size }}}
          {{- else }}
          ephemeral:
            volumeClaimTemplate:
              spec:
                accessModes: [ReadWriteOnce]
                {{- include "kitbag.claim" . | nindent 16 }}
          {{- end }}
          {{- end }}
        - {name: tmp, emptyDir: {}}
        {{- with include "kitbag.dockerSecret" . }}
        - name: docker
          secret: {secretName: {{ . }}, items: [{key: .dockerconfigjson, path: config.json}]}
        {{- end }}
        {{- with .Values.index.secrets }}
        - {name: secrets, secret: {secretName: {{ . }}}}
        {{- end }}
        {{- with include "kitbag.caConfigMap" . }}
        - name: ca
          configMap: {name: {{ . }}, items: [{key: {{ include "kitbag.caKey" $root }}, path: ca.pem}]}
        {{- end }}
        {{- with $certs }}
        - {name: engine, secret: {secretName: {{ . }}}}
        {{- end }}
        {{- if $bundled }}
        - {name: client, emptyDir: {sizeLimit: 256Mi}}
        {{- end }}
{{- end }}
{{- end -}}
