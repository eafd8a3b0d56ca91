{{- define "imagetier.selector" -}}
app.kubernetes.io/name: imagetier
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "imagetier.labels" -}}
{{ include "imagetier.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "imagetier.gateway.selector" -}}
app.kubernetes.io/name: imagetier-gateway
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "imagetier.gateway.labels" -}}
{{ include "imagetier.gateway.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}
