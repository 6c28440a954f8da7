#!/usr/bin/env bash
# Builds restic, the other reader and writer of backup repositories, at the version that go.mod and go.sum pin, into the
# folder where tests/components.py looks for it; nothing to do when it is there. The first run of a machine takes about
# two minutes of processor time. Needs Go 1.26.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
export CGO_ENABLED=0 GOTOOLCHAIN=local

tools=${XDG_CACHE_HOME:-$HOME/.cache}/opsuite/tools
pins=$({ cat go.mod go.sum build.sh; uname -m; } | sha256sum | cut -c 1-16)
built=$tools/restic-$pins

if [[ ! -x $built ]]; then
  mkdir -p "$tools"
  fresh=$(mktemp "$tools/.restic.XXXXXX")
  trap 'rm -f "$fresh"' EXIT
  go build -mod=readonly -trimpath -ldflags '-s -w' -o "$fresh" github.com/restic/restic/cmd/restic
  chmod 0755 "$fresh"
  mv "$fresh" "$built"
fi
ln --symbolic --force --no-dereference "restic-$pins" "$tools/restic"
