#!/usr/bin/env bash
# Builds the image with buildah, or with docker where there is no buildah.
#
# Usage: deploy/image/build.sh NAME[:TAG] [--stand-in] [option of the build...]
#   --stand-in   on a base made of Debian's packages, where no image registry can be reached (root)
# For both platforms and a registry, with Docker:
#   docker buildx build --platform linux/amd64,linux/arm64 --push -t NAME:TAG .
set -euo pipefail
cd "$(dirname "$0")/../.."
name=${1:?usage: deploy/image/build.sh NAME[:TAG] [--stand-in] [option of the build...]}
shift
version=$(sed -n 's/^  "version": "\(.*\)",$/\1/p' package.json)
options=(--build-arg "VERSION=$version" --tag "$name")

if [ "${1:-}" = --stand-in ]; then
  shift
  base=localhost/pod-identity-broker-base:$(node_modules/node/bin/node -p process.versions.node)
  buildah inspect --type image "$base" >/dev/null 2>&1 || deploy/image/stand-in.sh "$base"
  options+=(--build-arg "NODE_IMAGE=$base")
  # A proxy in front of the package registry is this machine's own affair, and no part of the image.
  if [ -n "${NODE_EXTRA_CA_CERTS:-}" ]; then
    options+=(--volume "$NODE_EXTRA_CA_CERTS:/run/build-ca.crt:ro"
      --build-arg NODE_EXTRA_CA_CERTS=/run/build-ca.crt)
  fi
fi

if command -v buildah >/dev/null; then
  # HEALTHCHECK is of Docker's format alone.
  exec buildah bud --format docker --isolation "${BUILDAH_ISOLATION:-chroot}" "${options[@]}" "$@" .
fi
exec docker build "${options[@]}" "$@" .
