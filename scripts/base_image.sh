#!/usr/bin/env bash
# Builds `opsuite-base:debian` from Debian packages alone, for machines that reach no image registry, and prints its
# name: bookworm with Python 3.11 and uv, this machine's certificate authorities and settings of pip. What debootstrap
# makes is kept under a hash of this script, so that only the first run of a machine takes a minute.
#
# Usage: scripts/base_image.sh [NAME PACKAGE...]   another name, and more Debian packages in the image
set -euo pipefail

name=${1:-opsuite-base:debian}
packages=("${@:2}")
suite=bookworm
cache=${XDG_CACHE_HOME:-$HOME/.cache}/opsuite/images
key=$(cat "${BASH_SOURCE[0]}" <(echo "${packages[*]:-}") | sha256sum | cut -c 1-16)
label=opsuite.base.key=$key

if [[ -n $(docker image ls --quiet --filter "label=$label" "$name") ]]; then
  echo "$name"
  exit
fi

mkdir -p "$cache"
archive=$cache/$key.tar.gz
if [[ ! -s $archive ]]; then
  root=$(mktemp --directory)
  trap 'rm -rf "$root"' EXIT
  include=$(IFS=,; echo "python3,python3-venv,python3-pip,ca-certificates${packages[*]:+,${packages[*]}}")
  # The mirror is the one that this machine's apt uses.
  mirror=$(apt-get indextargets --format '$(SITE)' "Created-By: Packages" "Codename: $suite" | head -1)
  debootstrap --variant=minbase --include="$include" "$suite" "$root" "$mirror" >&2
  rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/* "$root"/usr/share/{doc,man,locale}/*
  cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
  [[ ! -f /etc/pip.conf ]] || cp /etc/pip.conf "$root/etc/pip.conf"
  tar --create --directory "$root" . | gzip --fast > "$archive.$$"
  mv "$archive.$$" "$archive"
fi
docker import \
  --change "LABEL $label" \
  --change "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" \
  --change "ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt" \
  "$archive" "$name" > /dev/null
echo "$name"
