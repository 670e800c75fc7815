# The image of pod-identity-broker: node, the libraries that it needs, `ip` for `initialize`, CA
# certificates and the program. No shell, no package manager. See deploy/README.md.

ARG NODE_IMAGE=docker.io/library/node:26.10.0-bookworm-slim

FROM ${NODE_IMAGE} AS build
# The CA of a proxy between the builder and the package registry, where there is one.
ARG NODE_EXTRA_CA_CERTS
WORKDIR /build
COPY package.json package-lock.json ./
RUN npm ci --ignore-scripts --no-audit --no-fund
COPY .tools .tools
COPY src src
COPY tsconfig.json ./
COPY deploy/image/keep-imported.mjs ./
RUN npm run build --ignore-scripts \
  && node keep-imported.mjs \
  && npm prune --ignore-scripts --no-audit --no-fund

FROM ${NODE_IMAGE} AS files
RUN apt-get update -qq \
  && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
     ca-certificates iproute2 libcap2-bin binutils
COPY deploy/image/collect.sh /collect.sh
COPY --from=build /build/package.json /files/app/package.json
COPY --from=build /build/dist /files/app/dist
COPY --from=build /build/src/launcher.js /files/app/src/launcher.js
COPY --from=build /build/node_modules /files/app/node_modules
RUN sh /collect.sh /files

FROM scratch
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="pod-identity-broker" \
      org.opencontainers.image.description="Gives the pods of a node their EKS Pod Identity credentials" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}"
COPY --from=files /files /
ENV PATH=/usr/local/bin:/usr/bin NODE_ENV=production
# A user of its own, not the one that many images share.
USER 64023:64023
WORKDIR /app
# node itself, without anything in between: its file capability is what opens port 80.
# The flags are those of the launcher.
ENTRYPOINT ["/usr/local/bin/node", "--disable-sigusr1", "--max-semi-space-size=16", "--heap-growing-percent=20", "--no-maglev", "--no-short-builtin-calls", "--v8-pool-size=2", "/app/src/launcher.js"]
CMD ["server"]
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s \
  CMD ["/usr/local/bin/node", "-e", "fetch('http://127.0.0.1:2703/healthz').then((a) => process.exit(a.ok ? 0 : 1), () => process.exit(1))"]
