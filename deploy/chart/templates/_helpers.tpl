{{- /* The chart's name, or what stands for it. */ -}}
{{- define "broker.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "broker.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "broker.name" .) | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- /* A name with a variant's suffix behind it; takes `name` and `suffix`. */ -}}
{{- define "broker.suffixed" -}}
{{- if .suffix }}
{{- printf "%s-%s" (.name | trunc (int (sub 62 (len .suffix))) | trimSuffix "-") .suffix }}
{{- else }}
{{- .name }}
{{- end }}
{{- end }}

{{- /* What all pods of a release have in common. */ -}}
{{- define "broker.commonLabels" -}}
app: {{ include "broker.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "broker.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/name: {{ include "broker.name" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{ include "broker.commonLabels" . }}
{{- end }}

{{- define "broker.image" -}}
{{- with .Values.image }}
{{- if .override }}
{{- .override }}
{{- else if .digest }}
{{- printf "%s@%s" .repository .digest }}
{{- else }}
{{- printf "%s:%s" .repository (include "broker.text" .tag | default $.Chart.AppVersion) }}
{{- end }}
{{- end }}
{{- end }}

{{- define "broker.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "broker.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- /* A value as text: numbers of YAML are floats, which would print as 1e+06. */ -}}
{{- define "broker.text" -}}
{{- if and (kindIs "float64" .) (eq (floor .) .) }}{{ int64 . }}{{ else if not (kindIs "invalid" .) }}{{ toString . }}{{ end }}
{{- end }}

{{- /* A map whose values are text, as labels, annotations and variables have to be. */ -}}
{{- define "broker.texts" -}}
{{- $texts := dict }}
{{- range $key, $value := . }}
{{- $_ := set $texts $key (include "broker.text" $value) }}
{{- end }}
{{- toYaml $texts }}
{{- end }}

{{- /* Flags and values of a map, a list item each; a list repeats its flag. */ -}}
{{- define "broker.args" -}}
{{- range $flag, $value := . }}
{{- range $one := (kindIs "slice" $value | ternary $value (list $value)) }}
- {{ $flag | quote }}
- {{ include "broker.text" $one | quote }}
{{- end }}
{{- end }}
{{- end }}

{{- /* Lists of objects as one, by `key`: a later one takes the place of an earlier one. */ -}}
{{- define "broker.merged" -}}
{{- $key := .key }}
{{- $merged := list }}
{{- range $list := .lists }}
{{- range $one := $list | default list }}
{{- $kept := list }}
{{- range $merged }}
{{- if ne (get . $key) (get $one $key) }}{{ $kept = append $kept . }}{{ end }}
{{- end }}
{{- $merged = append $kept $one }}
{{- end }}
{{- end }}
{{- dict "list" $merged | toYaml }}
{{- end }}

{{- /* Beside the old pod, unless told otherwise, or ports are declared, which only one can have. */ -}}
{{- define "broker.updateStrategy" -}}
{{- if .Values.removeFromNodes }}
{{- /* Nothing is handed over: the broker ends first, on all nodes at once. */ -}}
{{- dict "type" "RollingUpdate" "rollingUpdate" (dict "maxSurge" 0 "maxUnavailable" "100%") | toYaml }}
{{- else if .Values.updateStrategy }}
{{- toYaml .Values.updateStrategy }}
{{- else if .Values.agent.advertiseProxyPort }}
{{- dict "type" "RollingUpdate" "rollingUpdate" (dict "maxUnavailable" "10%") | toYaml }}
{{- else }}
{{- dict "type" "RollingUpdate" "rollingUpdate" (dict "maxSurge" "10%" "maxUnavailable" 0) | toYaml }}
{{- end }}
{{- end }}

{{- /* Half of the memory limit in MiB: what a heap may take. Empty without a limit. */ -}}
{{- define "broker.heapMiB" -}}
{{- with ((.Values.resources | default dict).limits | default dict).memory }}
{{- $limit := include "broker.text" . }}
{{- $number := regexFind "^[0-9]+" $limit | int64 }}
{{- $unit := regexFind "[A-Za-z]*$" $limit }}
{{- $bytes := dict "" 1 "k" 1000 "Ki" 1024 "M" 1000000 "Mi" 1048576 "G" 1000000000 "Gi" 1073741824 }}
{{- div (mul $number (get $bytes $unit | int64)) 2097152 }}
{{- end }}
{{- end }}

{{- /* What becomes of tokens that their pod does not present. */ -}}
{{- define "broker.watchPods" -}}
{{- if eq (toString .Values.watchPods) "false" }}off
{{- else if .Values.watchPods }}{{ .Values.watchPods }}
{{- else if (.Values.podLivenessCheck).enabled }}enforce
{{- else }}audit
{{- end }}
{{- end }}

{{- /* Whether the server talks to the API server, and has a token for that. */ -}}
{{- define "broker.needsApiServer" -}}
{{- if or (ne (include "broker.watchPods" .) "off") .Values.startupTaint }}yes{{ end }}
{{- end }}

{{- /* A ClusterRole of the server's service account; takes `root`, `suffix` and `rules`. */ -}}
{{- define "broker.clusterRole" -}}
{{- $name := include "broker.suffixed" (dict "name" (include "broker.fullname" .root) "suffix" .suffix) }}
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: {{ $name }}
  labels:
    {{- include "broker.labels" .root | nindent 4 }}
rules:
  {{- toYaml .rules | nindent 2 }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: {{ $name }}
  labels:
    {{- include "broker.labels" .root | nindent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: ClusterRole
  name: {{ $name }}
subjects:
  - kind: ServiceAccount
    name: {{ include "broker.serviceAccountName" .root }}
    namespace: {{ .root.Release.Namespace }}
{{- end }}
