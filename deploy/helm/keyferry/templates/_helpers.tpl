{{/* The table of services, rendered by `python -m deploy.helm.render`. */}}
{{- define "keyferry.table" -}}
{{ .Files.Get "files/services.json" }}
{{- end }}

{{- define "keyferry.fullname" -}}
{{ printf "%s-%s" .root.Release.Name .service.name | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "keyferry.image" -}}
{{- with .Values.image -}}
{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end -}}
{{- end }}

{{- define "keyferry.selector" -}}
app.kubernetes.io/name: keyferry
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .service.name }}
{{- end }}

{{- define "keyferry.labels" -}}
{{ include "keyferry.selector" . }}
app.kubernetes.io/part-of: keyferry
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | quote }}
{{- end }}

{{/* Number of pods that are wanted at least. */}}
{{- define "keyferry.minReplicas" -}}
{{- $values := index .root.Values.services .service.name -}}
{{- $keda := .root.Values.keda -}}
{{- if and $keda.enabled (eq .service.name "provider-worker") }}{{ $keda.workers.minReplicas }}
{{- else if and $keda.enabled (eq .service.name "usage-ledger") }}{{ $keda.ledger.minReplicas }}
{{- else if and $values.autoscaling $values.autoscaling.enabled }}{{ $values.autoscaling.minReplicas }}
{{- else }}{{ $values.replicas }}{{ end -}}
{{- end }}

{{/* "true" where something else than this chart decides how many pods there are. */}}
{{- define "keyferry.scaled" -}}
{{- $values := index .root.Values.services .service.name -}}
{{- if or (and .root.Values.keda.enabled (has .service.name (list "provider-worker" "usage-ledger"))) (and $values.autoscaling $values.autoscaling.enabled) }}true{{ end -}}
{{- end }}

{{/* The settings of a process: what all have, its files, and what the values add, which comes last. */}}
{{- define "keyferry.environment" -}}
{{- $values := index .root.Values.services .service.name -}}
{{- $settings := dict "KEYFERRY_NATS_URL" (join "," .root.Values.nats.urls) "KEYFERRY_METRICS_HOST" "0.0.0.0" "KEYFERRY_METRICS_PORT" (toString .root.Values.metricsPort) -}}
{{- range $setting, $file := merge (dict) .service.files .service.slotFiles }}
{{- $_ := set $settings $setting (printf "/run/keyferry/%s" $file) }}
{{- end }}
{{- if .root.Values.nats.caSecret }}
{{- $_ := set $settings "KEYFERRY_NATS_CA_FILE" "/run/nats-ca/ca.crt" }}
{{- end }}
{{- if .service.hasSpool }}
{{- $_ := set $settings "KEYFERRY_SPOOL_DIR" "/var/lib/keyferry/spool" }}
{{- end }}
{{- if .service.httpPort }}
{{- $_ := set $settings "KEYFERRY_HTTP_HOST" "0.0.0.0" }}
{{- $_ := set $settings "KEYFERRY_HTTP_PORT" (toString .service.httpPort) }}
{{- if .root.Values.tls.secretName }}
{{- $_ := set $settings "KEYFERRY_TLS_CERT_FILE" "/run/tls/tls.crt" }}
{{- $_ := set $settings "KEYFERRY_TLS_KEY_FILE" "/run/tls/tls.key" }}
{{- end }}
{{- end }}
{{- range $setting, $value := merge (dict) $values.settings .root.Values.settings }}
{{- $_ := set $settings $setting (toString $value) }}
{{- end }}
{{- if .service.replicatedBySlot }}
- name: KEYFERRY_SLOT
  valueFrom:
    fieldRef:
      fieldPath: metadata.labels['apps.kubernetes.io/pod-index']
{{- else }}
- name: KEYFERRY_SLOT
  value: "1"
{{- end }}
{{- range $setting := keys $settings | sortAlpha }}
- name: {{ $setting }}
  value: {{ get $settings $setting | quote }}
{{- end }}
{{- end }}

{{/* A pod that runs one service. */}}
{{- define "keyferry.pod" -}}
{{- $root := .root -}}
{{- $service := .service -}}
{{- $values := index $root.Values.services $service.name -}}
metadata:
  labels: {{- include "keyferry.labels" . | nindent 4 }}
spec:
  serviceAccountName: {{ include "keyferry.fullname" . }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ $root.Values.terminationGracePeriodSeconds }}
  securityContext: {{- toYaml $root.Values.podSecurityContext | nindent 4 }}
  {{- with $root.Values.image.pullSecrets }}
  imagePullSecrets: {{- toYaml . | nindent 4 }}
  {{- end }}
  topologySpreadConstraints:
    - maxSkew: 1
      topologyKey: kubernetes.io/hostname
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels: {{- include "keyferry.selector" . | nindent 10 }}
  containers:
    - name: {{ $service.name }}
      image: {{ include "keyferry.image" $root | quote }}
      imagePullPolicy: {{ $root.Values.image.pullPolicy }}
      command: [python, -m, {{ $service.module }}]
      env: {{- include "keyferry.environment" . | nindent 8 }}
      securityContext: {{- include "keyferry.containerSecurityContext" $root | nindent 8 }}
      resources: {{- toYaml $values.resources | nindent 8 }}
      ports:
        - {name: operations, containerPort: {{ $root.Values.metricsPort }}}
        {{- if $service.httpPort }}
        - {name: http, containerPort: {{ $service.httpPort }}}
        {{- end }}
      # Two minutes for a start that waits for NATS or PostgreSQL; a process that waits for them later is alive, and not ready.
      startupProbe:
        httpGet: {path: /healthz, port: operations}
        periodSeconds: 2
        failureThreshold: 60
      livenessProbe:
        httpGet: {path: /healthz, port: operations}
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 6
      readinessProbe:
        httpGet: {path: /readyz, port: operations}
        periodSeconds: 5
        timeoutSeconds: 3
        failureThreshold: 2
      volumeMounts:
        - {name: tmp, mountPath: /tmp}
        {{- if $service.replicatedBySlot }}
        # Of the Secret of all workers, a pod sees the files of its own slot.
        {{- range $setting, $file := $service.slotFiles }}
        - {name: secrets, mountPath: {{ printf "/run/keyferry/%s" $file }}, subPathExpr: {{ printf "$(KEYFERRY_SLOT).%s" $file | quote }}, readOnly: true}
        {{- end }}
        {{- range $setting, $file := $service.files }}
        - {name: secrets, mountPath: {{ printf "/run/keyferry/%s" $file }}, subPath: {{ $file | quote }}, readOnly: true}
        {{- end }}
        {{- else }}
        - {name: secrets, mountPath: /run/keyferry, readOnly: true}
        {{- end }}
        {{- if $service.hasSpool }}
        - {name: spool, mountPath: /var/lib/keyferry/spool}
        {{- end }}
        {{- include "keyferry.caMounts" (dict "root" $root "database" $service.hasDatabase) | nindent 8 }}
        {{- if and $service.httpPort $root.Values.tls.secretName }}
        - {name: tls, mountPath: /run/tls, readOnly: true}
        {{- end }}
  volumes:
    - name: tmp
      emptyDir: {sizeLimit: 256Mi}
    - name: secrets
      secret:
        secretName: {{ printf "%s-%s" $root.Values.secretPrefix $service.name }}
        defaultMode: 0440
    {{- include "keyferry.caVolumes" (dict "root" $root "database" $service.hasDatabase) | nindent 4 }}
    {{- if and $service.httpPort $root.Values.tls.secretName }}
    - name: tls
      secret:
        secretName: {{ $root.Values.tls.secretName }}
        defaultMode: 0440
    {{- end }}
{{- end }}

{{- define "keyferry.containerSecurityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities:
  drop: [ALL]
{{- end }}

{{- define "keyferry.caMounts" -}}
{{- if .root.Values.nats.caSecret }}
- {name: nats-ca, mountPath: /run/nats-ca, readOnly: true}
{{- end }}
{{- if and .database .root.Values.postgresql.caSecret }}
- {name: postgresql-ca, mountPath: /run/postgresql-ca, readOnly: true}
{{- end }}
{{- end }}

{{- define "keyferry.caVolumes" -}}
{{- if .root.Values.nats.caSecret }}
- name: nats-ca
  secret: {secretName: {{ .root.Values.nats.caSecret }}, defaultMode: 0440}
{{- end }}
{{- if and .database .root.Values.postgresql.caSecret }}
- name: postgresql-ca
  secret: {secretName: {{ .root.Values.postgresql.caSecret }}, defaultMode: 0440}
{{- end }}
{{- end }}
