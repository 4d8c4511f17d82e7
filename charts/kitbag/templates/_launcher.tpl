{{- /* (list $ "api" or "worker"): what each of them reads about where notebooks start */ -}}
{{- define "kitbag.launcherEnv" -}}
{{- $root := index . 0 -}}
{{- $part := index . 1 -}}
{{- with $root.Values.launcher -}}
{{- if and (or .spawner .workspaceKind) (not $root.Values.rollouts.enabled) }}{{ fail "Set rollouts.enabled to true: launcher.spawner and launcher.workspaceKind are kept by workers that reach the cluster." }}{{ end -}}
{{- if and .url (eq $part "api") }}
- {name: KITBAG_LAUNCH_URL, value: {{ .url | quote }}}
{{- end }}
{{- if and .kubeflowUrl (eq $part "api") }}
- {name: KITBAG_KUBEFLOW_URL, value: {{ .kubeflowUrl | quote }}}
{{- end }}
{{- if eq $part "worker" }}
{{- with .notebookAccount }}
- {name: KITBAG_NOTEBOOK_ACCOUNT, value: {{ . | quote }}}
{{- end }}
- {name: KITBAG_NOTEBOOK_URL, value: {{ .notebookUrl | default (printf "http://%s-api.%s.svc%s" (include "kitbag.name" $root) $root.Release.Namespace (ternary "" (printf ":%v" $root.Values.api.service.port) (eq (int $root.Values.api.service.port) 80))) | quote }}}
{{- end }}
{{- with .spawner }}
- {name: KITBAG_SPAWNER, value: {{ . | quote }}}
{{- end }}
{{- with .workspaceKind }}
- {name: KITBAG_WORKSPACE_KIND, value: {{ . | quote }}}
{{- end }}
{{- end -}}
{{- end -}}
