{{- /* Values that cannot be taken, with what to write instead: all of them in one message. */ -}}
{{- define "broker.refuse" -}}
{{- $refused := list }}
{{- with .Values }}
{{- if eq .clusterName "EKS_CLUSTER_NAME" }}
{{- $refused = append $refused "clusterName: EKS_CLUSTER_NAME stands for the name of your cluster; write that name" }}
{{- end }}
{{- $hybrid := list }}
{{- range $name := list "hybrid" "hybrid-bottlerocket" }}
{{- if (get $.Values.daemonsets $name).create }}{{ $hybrid = append $hybrid $name }}{{ end }}
{{- end }}
{{- $region := (.env).AWS_REGION | default (.env).AWS_DEFAULT_REGION }}
{{- if eq (toString $region) "AWS_REGION_NAME" }}
{{- $refused = append $refused (printf "env.AWS_REGION: AWS_REGION_NAME stands for your region; write its name%s" (empty $hybrid | ternary ", or leave it out: the instance metadata service names it" "")) }}
{{- else if and $hybrid (not $region) }}
{{- $refused = append $refused (printf "env.AWS_REGION: is required with daemonsets.%s: these nodes have no instance metadata service that would name it" (first $hybrid)) }}
{{- end }}
{{- $agentsImage := or .image.containerRegistry .image.region (contains "eks-pod-identity-agent" (.image.override | default "")) }}
{{- $tag := include "broker.text" .image.tag }}
{{- if and $tag (or $agentsImage (contains "eksbuild" $tag)) }}
{{- $refused = append $refused (printf "image.tag: %s is of the existing agent's image; leave it out: the chart names its own version" $tag) }}
{{- end }}
{{- range $key := list "nameOverride" "fullnameOverride" }}
{{- if contains "eks-pod-identity-agent" (get $.Values $key | default "") }}
{{- $refused = append $refused (printf "%s: is the name of the existing agent's objects, which may still be there; leave it out" $key) }}
{{- end }}
{{- end }}
{{- if and (kindIs "float64" .image.tag) (ne (floor .image.tag) .image.tag) }}
{{- $refused = append $refused (printf "image.tag: %s: is a number in YAML, which has lost its last zeros; write it in quotes" $tag) }}
{{- end }}
{{- if contains ":" (last (splitList "/" (.image.repository | default ""))) }}
{{- $refused = append $refused "image.repository: has a tag in it; write that in image.tag" }}
{{- end }}
{{- $suffixes := dict }}
{{- range $name, $given := .daemonsets }}
{{- if $given.create }}
{{- $suffix := $given.nameSuffix | default (include (printf "broker.variant.%s" $name) $ | fromYaml).nameSuffix | default "" }}
{{- if hasKey $suffixes $suffix }}
{{- $refused = append $refused (printf "daemonsets.%s.nameSuffix: is that of daemonsets.%s; they would be one DaemonSet" $name (get $suffixes $suffix)) }}
{{- end }}
{{- $_ := set $suffixes $suffix $name }}
{{- end }}
{{- end }}
{{- if not $suffixes }}
{{- $refused = append $refused "daemonsets: none has create: true" }}
{{- end }}
{{- if eq (int .metrics.port) (int .agent.probePort) }}
{{- $refused = append $refused "metrics.port: is agent.probePort, which both listen on" }}
{{- else if eq (int .metrics.port) 80 }}
{{- $refused = append $refused "metrics.port: 80 is the port that pods are answered on, and the metrics have theirs on all addresses of the node; write another" }}
{{- end }}
{{- $values := dict "--probe-port" "agent.probePort" "--metrics-port" "metrics.port" "--watch-pods" "watchPods" "--startup-taint" "startupTaint" "--redis-url" "redis.url" }}
{{- $lists := dict "agent" .agent.additionalArgs }}
{{- range $name, $given := .daemonsets }}{{ $_ := set $lists (printf "daemonsets.%s" $name) $given.additionalArgs }}{{ end }}
{{- range $where, $flags := $lists }}
{{- range $flag, $_ := $flags | default dict }}
{{- if hasKey $values $flag }}
{{- $refused = append $refused (printf "%s.additionalArgs: %s: write %s, on which more than the flag depends" $where $flag (get $values $flag)) }}
{{- else if eq $flag "--ready-id" }}
{{- $refused = append $refused (printf "%s.additionalArgs: --ready-id: leave it out: the chart makes one for each pod template" $where) }}
{{- end }}
{{- end }}
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
{{- $watch := include "broker.watchPods" $ }}
{{- if and (.podLivenessCheck).enabled (ne $watch "enforce") }}
{{- $refused = append $refused (printf "podLivenessCheck.enabled: refuses, which watchPods: %s does not; leave one of the two out" $watch) }}
{{- end }}
{{- if and .strictAddress (eq $watch "off") }}
{{- $refused = append $refused "strictAddress: needs watchPods: audit or enforce" }}
{{- end }}
{{- if and (include "broker.needsApiServer" $) (not .serviceAccount.create) (not .serviceAccount.name) }}
{{- $reason := eq $watch "off" | ternary "startupTaint" (printf "watchPods: %s%s" $watch (and (eq $watch "audit") (not .watchPods) | ternary " (the default)" "")) }}
{{- $refused = append $refused (printf "serviceAccount: %s needs rights, and those of the namespace's default account would be everybody's; write serviceAccount.create: true, or the name of an account%s" $reason (eq $watch "off" | ternary "" ", or watchPods: off")) }}
{{- end }}
{{- if and .redis.url (not .redis.secretName) (not .redis.keyHostPath) }}
{{- $refused = append $refused "redis.secretName: redis.url needs it, or redis.keyHostPath: where the key is that sessions are sealed under" }}
{{- end }}
{{- range $key := list "secretName" "keyHostPath" }}
{{- if and (get $.Values.redis $key) (not $.Values.redis.url) }}
{{- $refused = append $refused (printf "redis.url: redis.%s is of no use without it" $key) }}
{{- end }}
{{- end }}
{{- range $key := list "passwordEntry" "caEntry" "sentinelPasswordEntry" }}
{{- if and (get $.Values.redis $key) (not $.Values.redis.secretName) }}
{{- $refused = append $refused (printf "redis.secretName: redis.%s needs it" $key) }}
{{- end }}
{{- end }}
{{- range $user, $password := dict "username" "passwordEntry" "sentinelUsername" "sentinelPasswordEntry" }}
{{- if and (get $.Values.redis $user) (not (get $.Values.redis $password)) }}
{{- $refused = append $refused (printf "redis.%s: redis.%s needs it" $password $user) }}
{{- end }}
{{- end }}
{{- if and .redis.sentinelPasswordEntry (not (contains "+sentinel:" .redis.url)) }}
{{- $refused = append $refused "redis.url: redis.sentinelPasswordEntry is for a URL with +sentinel" }}
{{- end }}
{{- if and .redis.url (eq .redis.sharing "cluster") (ne .sessionScope "service-account") }}
{{- $refused = append $refused (printf "redis.sharing: cluster has nothing to share with sessionScope %s; write node" .sessionScope) }}
{{- end }}
{{- $limit := include "broker.text" (((.resources | default dict).limits | default dict).memory) }}
{{- if and $limit (not (regexMatch "^[0-9]+(k|Ki|M|Mi|G|Gi)?$" $limit)) }}
{{- $refused = append $refused (printf "resources.limits.memory: %s: write a whole number of Mi or Gi; the heap is half of it" $limit) }}
{{- else if and $limit (lt (include "broker.heapMiB" $ | int) 64) }}
{{- $refused = append $refused (printf "resources.limits.memory: %s: is less than the smallest node takes; write 128Mi at least" $limit) }}
{{- end }}
{{- end }}
{{- if and .Values.startupTaint (semverCompare "<1.30.0-0" .Capabilities.KubeVersion.Version) }}
{{- $refused = append $refused (printf "startupTaint: needs Kubernetes 1.30, for its ValidatingAdmissionPolicy; this is %s" .Capabilities.KubeVersion.Version) }}
{{- end }}
{{- if $refused }}
{{- fail (printf "\n\n%s\n" (join "\n" $refused)) }}
{{- end }}
{{- end }}
