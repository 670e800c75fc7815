{{- /* Values that cannot be taken, with what to write instead: all of them in one message. */ -}}
{{- define "broker.refuse" -}}
{{- $refused := list }}
{{- with .Values }}
{{- if eq .clusterName "EKS_CLUSTER_NAME" }}
{{- $refused = append $refused "clusterName: EKS_CLUSTER_NAME stands for the name of your cluster; write that name" }}
{{- end }}
{{- if eq (toString (.env).AWS_REGION) "AWS_REGION_NAME" }}
{{- $refused = append $refused "env.AWS_REGION: AWS_REGION_NAME stands for your region; write its name, or leave it out: the instance metadata service names it" }}
{{- end }}
{{- if .image.containerRegistry }}
{{- $refused = append $refused "image.containerRegistry: is where the existing agent's image is kept; write image.repository, the whole name of this one without its tag" }}
{{- end }}
{{- if .image.region }}
{{- $refused = append $refused "image.region: is that of the existing agent's image; leave it out" }}
{{- end }}
{{- if contains "eks-pod-identity-agent" (.image.override | default "") }}
{{- $refused = append $refused "image.override: names the existing agent's image; write image.repository, or the whole name of this one" }}
{{- else if not (or .image.repository .image.override) }}
{{- $refused = append $refused "image.repository: is required: where you keep this image" }}
{{- end }}
{{- if contains "eks-pod-identity-agent" (.image.repository | default "") }}
{{- $refused = append $refused "image.repository: names the existing agent's image; write that of this one" }}
{{- end }}
{{- if .agent.command }}
{{- $refused = append $refused "agent.command: the image's entry point is the broker; leave it out, and write flags in agent.additionalArgs" }}
{{- end }}
{{- if .init.command }}
{{- $refused = append $refused "init.command: the image's entry point is the broker; leave it out, and write flags in init.additionalArgs" }}
{{- end }}
{{- if .agent.metrics }}
{{- $refused = append $refused "agent.metrics: write metrics" }}
{{- end }}
{{- if and .agent.advertiseProxyPort ((.updateStrategy).rollingUpdate).maxSurge }}
{{- $refused = append $refused "agent.advertiseProxyPort: with updateStrategy.rollingUpdate.maxSurge the new pod would wait for the old one's ports, and the old one for the new; write false" }}
{{- end }}
{{- if (.podLivenessCheck).enabled }}
{{- $refused = append $refused "podLivenessCheck.enabled: write watchPods: enforce, or audit to see first what that would refuse" }}
{{- end }}
{{- if and .strictAddress (eq .watchPods "off") }}
{{- $refused = append $refused "strictAddress: needs watchPods: audit or enforce" }}
{{- end }}
{{- if and (or (ne .watchPods "off") .startupTaint) (not .serviceAccount.create) (not .serviceAccount.name) }}
{{- $refused = append $refused "serviceAccount.name: is required with watchPods or startupTaint: rights for the namespace's default account would be everybody's" }}
{{- end }}
{{- if and .redis.url (not .redis.secretName) }}
{{- $refused = append $refused "redis.secretName: redis.url needs it: the secret with the key that sessions are sealed under" }}
{{- end }}
{{- if and .redis.secretName (not .redis.url) }}
{{- $refused = append $refused "redis.url: redis.secretName is of no use without it" }}
{{- end }}
{{- if and .redis.url (eq .redis.sharing "cluster") (ne .sessionScope "service-account") }}
{{- $refused = append $refused (printf "redis.sharing: cluster has nothing to share with sessionScope %s; write node" .sessionScope) }}
{{- end }}
{{- $limit := toString ((.resources.limits | default dict).memory | default "") }}
{{- if and $limit (not (regexMatch "^[0-9]+(k|Ki|M|Mi|G|Gi)?$" $limit)) }}
{{- $refused = append $refused (printf "resources.limits.memory: %s: write a whole number of Mi or Gi; the heap is half of it" $limit) }}
{{- end }}
{{- end }}
{{- if and .Values.startupTaint (semverCompare "<1.30.0-0" .Capabilities.KubeVersion.Version) }}
{{- $refused = append $refused (printf "startupTaint: needs Kubernetes 1.30, for its ValidatingAdmissionPolicy; this is %s" .Capabilities.KubeVersion.Version) }}
{{- end }}
{{- if $refused }}
{{- fail (printf "\n\n%s\n" (join "\n" $refused)) }}
{{- end }}
{{- end }}
