#!/bin/sh
# Puts what the program needs of a Debian system into a folder that becomes the image: node and
# ip with their libraries, CA certificates, names. Runs in the image's build.
set -eu
root=$1

# A program and every library that it loads, at the paths where the loader looks for them.
take() {
  install -D "$1" "$root$1"
  ldd "$1" | grep -o '/[^ ]*' | while read -r library; do
    [ -e "$root$library" ] || install -D "$(readlink -f "$library")" "$root$library"
  done
}

node=$(readlink -f "$(command -v node)")
install -D "$node" "$root/usr/local/bin/node"
strip --strip-unneeded "$root/usr/local/bin/node"
ldd "$node" | grep -o '/[^ ]*' | while read -r library; do
  install -D "$(readlink -f "$library")" "$root$library"
done
ip=$(command -v ip)
[ ! -L "$ip" ] || ip=$(readlink -f "$ip")
take "$ip"
[ "$ip" = /usr/bin/ip ] || install -D "$ip" "$root/usr/bin/ip"

install -D /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
cat >"$root/etc/passwd" <<END
root:x:0:0:root:/root:/sbin/nologin
broker:x:64023:64023:pod-identity-broker:/nonexistent:/sbin/nologin
END
cat >"$root/etc/group" <<END
root:x:0:
broker:x:64023:
END
# Names from the file first, as everywhere; glibc's own default asks DNS first.
echo 'hosts: files dns' >"$root/etc/nsswitch.conf"
# Folders that volumes are mounted on have to be there in a root that is read-only.
mkdir -p "$root/run/pod-identity-broker" "$root/root/.aws" "$root/tmp" "$root/proc" "$root/sys" \
  "$root/dev" "$root/etc/pki/tls/certs"
chmod 0700 "$root/root"
chmod 1777 "$root/tmp"

# What is only read by people and compilers.
find "$root/app" \( -name '*.map' -o -name '*.d.ts' -o -name '*.d.mts' -o -name '*.d.cts' \
  -o -name '*.md' -o -name '*.markdown' \) -type f -delete

# Last, since copying takes it away again: port 80 for a user that is not root.
setcap cap_net_bind_service=+ep "$root/usr/local/bin/node"
