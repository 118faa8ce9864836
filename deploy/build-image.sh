#!/usr/bin/env bash
# Builds the container image without a base image from elsewhere: Debian's packages by mmdebstrap,
# npm's by the lock file, and the whole put together by buildah. Runs as root on Debian 12 or newer
# with the packages mmdebstrap, buildah, npm and Node 20 or newer.
#
#   deploy/build-image.sh [FILE]     writes an OCI archive, by default dist/keyreeve-VERSION.oci.tar
#
# DEBIAN_SUITE (default bookworm) and DEBIAN_SOURCES (a mirror's address or a sources file; default:
# this machine's own debian.sources, if it has one) say where Debian's packages come from.
set -euo pipefail
umask 022
cd "$(dirname "${BASH_SOURCE[0]}")/.."

for program in mmdebstrap buildah npm node; do
  if ! command -v "$program" > /dev/null; then
    echo "error: $program is not here" >&2
    echo "hint: apt-get install mmdebstrap buildah, and Node 20 or newer with npm" >&2
    exit 1
  fi
done

version=$(node -p 'require("./package.json").version')
suite=${DEBIAN_SUITE:-bookworm}
sources=${DEBIAN_SOURCES:-}
if [[ -z $sources && -f /etc/apt/sources.list.d/debian.sources ]]; then
  sources=/etc/apt/sources.list.d/debian.sources
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

echo '1/4 the package'
node tools/run.mjs pack
archive=$(realpath -m "${1:-dist/keyreeve-$version.oci.tar}")
app=$work/app
mkdir -p "$app"
cp -R package.json package-lock.json .npmrc LICENSE bin dist "$app/"
rm -f "$app"/dist/*.tar

echo '2/4 what it depends on, after the lock file'
(cd "$app" && npm ci --omit=dev --ignore-scripts --no-audit --no-fund --loglevel=error)
node_package=$(cd "$app/node_modules" && echo node-*/bin/node)
# Headers, manual and changelog of Node are for people who build with it.
rm -rf "$app"/node_modules/node-*/{include,share,CHANGELOG.md}

echo '3/4 the root file system'
# Debian's essential packages, what Node links to, and certificates to talk to others.
mmdebstrap --quiet --variant=essential --include=libatomic1,libstdc++6,ca-certificates \
  --dpkgopt='path-exclude=/usr/share/man/*' \
  --dpkgopt='path-exclude=/usr/share/doc/*' \
  --dpkgopt='path-include=/usr/share/doc/*/copyright' \
  --dpkgopt='path-exclude=/usr/share/locale/*' \
  --customize-hook="copy-in '$app' /opt" \
  --customize-hook='mv "$1/opt/app" "$1/opt/keyreeve" && chown -R 0:0 "$1/opt/keyreeve"' \
  --customize-hook="ln -s '/opt/keyreeve/node_modules/$node_package' \"\$1/usr/local/bin/node\"" \
  --customize-hook='ln -s /opt/keyreeve/bin/keyreeve.mjs "$1/usr/local/bin/keyreeve"' \
  --customize-hook='echo "keyreeve:x:10001:10001::/nonexistent:/usr/sbin/nologin" >> "$1/etc/passwd"' \
  --customize-hook='echo "keyreeve:x:10001:" >> "$1/etc/group"' \
  --customize-hook='rm -rf "$1"/var/cache/* "$1"/var/log/* "$1"/var/lib/apt/lists/*' \
  --customize-hook='cd "$1/var" && install -d -m 0700 -o 10001 -g 10001 lib/keyreeve lib/keyreeve-checkpoints cache/keyreeve' \
  "$suite" "$work/rootfs.tar" ${sources:+"$sources"}

echo '4/4 the image'
# The image holds no RUN step, so that no container is started and plain file storage is enough.
store=(--root "$work/store" --runroot "$work/run" --storage-driver vfs)
cp deploy/Containerfile "$work/Containerfile"
mkdir "$work/context" && mv "$work/rootfs.tar" "$work/context/"
buildah "${store[@]}" build --quiet --isolation chroot --format oci \
  --label "org.opencontainers.image.title=keyreeve" \
  --label "org.opencontainers.image.version=$version" \
  --label "org.opencontainers.image.licenses=Apache-2.0" \
  --tag "keyreeve:$version" --file "$work/Containerfile" "$work/context"
mkdir -p "$(dirname "$archive")"
rm -f "$archive"
buildah "${store[@]}" push --quiet "keyreeve:$version" "oci-archive:$archive:keyreeve:$version"
echo "made $archive ($(du -h "$archive" | cut -f1))"
