{{- define "arizuko.name" -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- end }}

{{- /* As the kubelet writes a Service's name into the environment. */}}
{{- define "arizuko.variable" -}}
{{- include "arizuko.name" . | upper | replace "-" "_" -}}
{{- end }}

{{- define "arizuko.selector" }}
app.kubernetes.io/name: arizuko
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "arizuko.labels" }}
app.kubernetes.io/name: arizuko
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "arizuko.reference" -}}
{{- if .digest -}}{{ .repository }}@{{ .digest }}{{- else -}}{{ .repository }}:{{ .tag }}{{- end -}}
{{- end }}

{{- define "arizuko.image" -}}
{{- include "arizuko.reference" .Values.image -}}
{{- end }}

{{- define "arizuko.claim" -}}
{{- default (printf "%s-data" (include "arizuko.name" .)) .Values.storage.claim -}}
{{- end }}

{{- /* Whether secrets are files. */}}
{{- define "arizuko.files" -}}
{{- if not .Values.secrets.sources }}yes{{ end -}}
{{- end }}

{{- define "arizuko.settings" }}
INSTANCE_NAME: {{ .Values.instance | quote }}
DATA_DIR: /srv/data/instance
LOG_FORMAT: json
SECRETS_SOURCES: {{ default "file:///var/run/secrets/arizuko" .Values.secrets.sources | quote }}
SECRETS_OVERLAP: 10m
WEB_HOST: {{ .Values.web.host | quote }}
TRUSTED_PROXIES: {{ .Values.web.trustedProxies | quote }}
PROXYD_ADMIN_ADDR: ":8091"
CONTAINER_BACKEND: {{ .Values.agents.backend }}
{{- if eq .Values.agents.backend "kubernetes" }}
CONTAINER_IMAGE: {{ include "arizuko.reference" .Values.agents.image | quote }}
AGENT_SERVICE_ACCOUNT: {{ include "arizuko.name" . }}-agent
AGENT_CLAIM: {{ include "arizuko.claim" . }}
AGENT_CLAIM_PATH: instance
{{- with .Values.agents.runtimeClass }}
AGENT_RUNTIME_CLASS: {{ quote . }}
{{- end }}
{{- with .Values.agents.tolerations }}
AGENT_TOLERATIONS: {{ toJson . | quote }}
{{- end }}
{{- with .Values.agents.pullSecrets }}
AGENT_PULL_SECRETS: {{ join "," . | quote }}
{{- end }}
{{- $pairs := list }}
{{- range $key, $value := .Values.agents.nodeSelector }}{{ $pairs = append $pairs (printf "%s=%s" $key $value) }}{{ end }}
{{- with $pairs }}
AGENT_NODE_SELECTOR: {{ join "," . | quote }}
{{- end }}
{{- $pairs = list (printf "app.kubernetes.io/instance=%s" .Release.Name) }}
{{- range $key, $value := .Values.agents.labels }}{{ $pairs = append $pairs (printf "%s=%s" $key $value) }}{{ end }}
AGENT_LABELS: {{ join "," $pairs | quote }}
{{- end }}
{{- range $key, $value := .Values.settings }}
{{ $key }}: {{ $value | quote }}
{{- end }}
{{- end }}

{{- /* What no schema can say: two values that must agree. */}}
{{- define "arizuko.refuse" }}
{{- if and (not .Values.network.policies) (not .Values.network.acceptNoPolicies) }}
{{- fail "network.policies is off: agents would reach the whole network. Say network.acceptNoPolicies if that is what you want." }}
{{- end }}
{{- if and (eq .Values.agents.backend "kubernetes") (not .Values.admission.enabled) (not .Values.admission.acceptNone) }}
{{- fail "admission.enabled is off: whoever breaks into runed could mount any Secret of the namespace. Say admission.acceptNone if that is what you want." }}
{{- end }}
{{- if and .Values.ingress.enabled (not .Values.ingress.host) }}
{{- fail "ingress.host is missing: the edge would answer under every name." }}
{{- end }}
{{- if and .Values.ingress.enabled (not .Values.ingress.tlsSecret) }}
{{- fail "ingress.tlsSecret is missing: links are rights, and would travel in the clear." }}
{{- end }}
{{- if and (or .Values.settings.OIDC_ISSUER .Values.settings.GITHUB_CLIENT_ID) (not .Values.web.host) }}
{{- fail "web.host is missing: a provider of logins sends browsers back to it, and authd does not start without it." }}
{{- end }}
{{- if and .Values.settings.OIDC_ISSUER (not .Values.settings.OIDC_CLIENT_ID) }}
{{- fail "settings.OIDC_CLIENT_ID is missing: authd does not start with OIDC_ISSUER alone." }}
{{- end }}
{{- if and (not .Values.secrets.sources) (not .Values.secrets.name) }}
{{- fail "secrets.name is missing: name the Secret, or a server in secrets.sources." }}
{{- end }}
{{- range list .Values.image .Values.agents.image }}
{{- if not (or .tag .digest) }}
{{- fail (printf "the image %s has neither a tag nor a digest." .repository) }}
{{- end }}
{{- end }}
{{- end }}
