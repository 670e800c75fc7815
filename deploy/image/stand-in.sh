#!/usr/bin/env bash
# Makes a base image that stands in for the official one of Node.js where no image registry can be
# reached: Debian from its packages, with the Node.js of this checkout and the npm of this
# machine. For trying the build; what is published is built on the official image.
#
# Usage: deploy/image/stand-in.sh NAME   (root; needs debootstrap and buildah)
set -euo pipefail
name=$1
cd "$(dirname "$0")/../.."

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
chmod 0755 "$root"
debootstrap --variant=minbase --include=ca-certificates,libatomic1,libstdc++6 bookworm "$root" >&2
install -D "$(readlink -f node_modules/node/bin/node)" "$root/usr/local/bin/node"
npm=$(readlink -f "$(command -v npm)")
mkdir -p "$root/usr/local/lib/node_modules"
cp -a "${npm%/bin/npm-cli.js}" "$root/usr/local/lib/node_modules/npm"
ln -s ../lib/node_modules/npm/bin/npm-cli.js "$root/usr/local/bin/npm"

container=$(buildah from scratch)
buildah copy -q "$container" "$root" / >&2
buildah commit -q "$container" "$name" >&2
buildah rm "$container" >&2
