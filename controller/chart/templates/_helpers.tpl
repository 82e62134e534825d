{{/* The name of all objects. It does not contain the release's, so that docs and scripts can name them. */}}
{{- define "daemonplan.name" -}}
{{ .Values.fullnameOverride | default "daemonplan-controller" }}
{{- end }}

{{- define "daemonplan.serviceAccount" -}}
{{ .Values.serviceAccount.name | default (include "daemonplan.name" .) }}
{{- end }}

{{- define "daemonplan.lease" -}}
{{ .Values.leaseName | default (include "daemonplan.name" .) }}
{{- end }}

{{/* What distinguishes the names of a shard's objects: nothing if there is only one, else -K. Of (list $ K). */}}
{{- define "daemonplan.suffix" -}}
{{ if gt (int (first .).Values.shards) 1 }}-{{ last . }}{{ end }}
{{- end }}

{{- define "daemonplan.address" -}}
{{ .Values.listen.address | default (ternary "127.0.0.1" "0.0.0.0" (and .Values.hostNetwork (not .Values.serviceMonitor.enabled))) }}
{{- end }}

{{/* The labels that select the pods of all shards. */}}
{{- define "daemonplan.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* The labels that select the pods of a shard. Of (list $ K). */}}
{{- define "daemonplan.shardSelector" -}}
{{ include "daemonplan.selector" (first .) }}
app.kubernetes.io/component: controller{{ include "daemonplan.suffix" . }}
{{- end }}

{{- define "daemonplan.labels" -}}
{{ include "daemonplan.selector" . }}
app.kubernetes.io/part-of: daemonplan
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version | replace "+" "_" }}
{{- end }}

{{/* Refuses values that contradict each other. */}}
{{- define "daemonplan.check" -}}
{{- $local := eq (include "daemonplan.address" .) "127.0.0.1" }}
{{- if and .Values.namespaces .Values.namespaceSelector }}
{{- fail "namespaces and namespaceSelector exclude each other: set one of them" }}
{{- end }}
{{- if and .Values.networkPolicy.enabled .Values.hostNetwork }}
{{- fail "networkPolicy.enabled needs hostNetwork: false: a NetworkPolicy does not apply to the host's network" }}
{{- end }}
{{- if and $local (not .Values.hostNetwork) }}
{{- fail "listen.address 127.0.0.1 needs hostNetwork: true: otherwise the kubelet's probes do not reach it" }}
{{- end }}
{{- if and $local .Values.serviceMonitor.enabled }}
{{- fail "serviceMonitor.enabled needs another listen.address than 127.0.0.1, which Prometheus does not reach" }}
{{- end }}
{{- if and .Values.prometheusRule.enabled (not .Values.serviceMonitor.enabled) }}
{{- fail "prometheusRule.enabled needs serviceMonitor.enabled: the alerts select metrics by its job label" }}
{{- end }}
{{- if not (or .Values.serviceAccount.create .Values.serviceAccount.name) }}
{{- fail "serviceAccount.name is required if serviceAccount.create is false" }}
{{- end }}
{{- end }}
