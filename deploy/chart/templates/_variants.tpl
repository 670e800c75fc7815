{{- /*
What is a variant's own, as YAML: its suffix, affinity, flags, volumes and security context.
Nodes of the hybrid variants have no instance role: their credentials are in a file of root's,
so the server is root there, with every other capability dropped.
*/ -}}
{{- define "broker.variant.cloud" -}}
affinity:
  nodeAffinity:
    requiredDuringSchedulingIgnoredDuringExecution:
      nodeSelectorTerms:
        - matchExpressions:
            {{- include "broker.anyLinux" . | nindent 12 }}
            # Auto Mode's nodes have an agent of their own.
            - key: eks.amazonaws.com/compute-type
              operator: NotIn
              values: [fargate, hybrid, auto]
runAsUser: 64023
{{- end }}

{{- define "broker.variant.hybrid" -}}
nameSuffix: hybrid
affinity:
  nodeAffinity:
    requiredDuringSchedulingIgnoredDuringExecution:
      nodeSelectorTerms:
        - matchExpressions:
            {{- include "broker.anyLinux" . | nindent 12 }}
            - key: eks.amazonaws.com/compute-type
              operator: In
              values: [hybrid]
            - key: os.bottlerocket.aws/variant
              operator: DoesNotExist
            - key: os.bottlerocket.aws/version
              operator: DoesNotExist
{{ include "broker.rootCredentials" "/eks-hybrid/.aws" }}
{{- end }}

{{- define "broker.variant.hybrid-bottlerocket" -}}
nameSuffix: hybrid-bottlerocket
affinity:
  nodeAffinity:
    requiredDuringSchedulingIgnoredDuringExecution:
      nodeSelectorTerms:
        - matchExpressions:
            {{- include "broker.anyLinux" . | nindent 12 }}
            - key: eks.amazonaws.com/compute-type
              operator: In
              values: [hybrid]
            - key: os.bottlerocket.aws/variant
              operator: Exists
            - key: os.bottlerocket.aws/version
              operator: Exists
additionalSecurityContext:
  seLinuxOptions:
    type: spc_t
{{ include "broker.rootCredentials" "/var/eks-hybrid/.aws" }}
{{- end }}

{{- define "broker.anyLinux" -}}
- key: kubernetes.io/os
  operator: In
  values: [linux]
- key: kubernetes.io/arch
  operator: In
  values: [amd64, arm64]
{{- end }}

{{- define "broker.rootCredentials" -}}
runAsUser: 0
additionalArgs:
  --rotate-credentials: true
env:
  AWS_SHARED_CREDENTIALS_FILE: /root/.aws/credentials
volumeMounts:
  - name: aws-credentials
    mountPath: /root/.aws
    readOnly: true
volumes:
  - name: aws-credentials
    hostPath:
      path: {{ . }}
      type: Directory
{{- end }}

{{- /* What the server's container has in every variant; takes the variant. */ -}}
{{- define "broker.securityContext" -}}
runAsUser: {{ .runAsUser }}
runAsGroup: {{ .runAsUser }}
runAsNonRoot: {{ ne (int .runAsUser) 0 }}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
  add: [NET_BIND_SERVICE]
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- /* Volumes of every variant and where they are mounted; takes `root` and `isolated`. */ -}}
{{- define "broker.volumes" -}}
{{- $redis := .root.Values.redis }}
volumeMounts:
  - name: run
    mountPath: /run/pod-identity-broker
  {{- if and $redis.url $redis.secretName }}
  - name: redis
    mountPath: /etc/pod-identity-broker/redis
    readOnly: true
  {{- end }}
  {{- if and $redis.url $redis.keyHostPath }}
  - name: redis-key
    mountPath: /etc/pod-identity-broker/redis-key
    readOnly: true
  {{- end }}
  {{- if .isolated }}
  - name: ca-bundle
    mountPath: /etc/pki/tls/certs/ca-bundle.crt
    readOnly: true
  {{- end }}
volumes:
  # Of the node, so that one version of the broker finds the other's socket.
  - name: run
    hostPath:
      path: /run/pod-identity-broker
      type: DirectoryOrCreate
  - name: redis
    secret:
      secretName: {{ $redis.secretName }}
      # 0440
      defaultMode: 288
  - name: redis-key
    hostPath:
      path: {{ $redis.keyHostPath }}
      type: File
  - name: ca-bundle
    hostPath:
      path: /etc/pki/tls/certs/ca-bundle.crt
      type: File
{{- end }}
