#!/usr/bin/env bash
# Builds the foreign tools that tests run, at the versions that go.mod and go.sum pin, into the folder where
# tests/components.py looks for them; nothing to do when they are there at these versions.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

tools=${XDG_CACHE_HOME:-$HOME/.cache}/opsuite/tools
pins=$(cat go.mod go.sum build.sh | sha256sum | cut -c 1-16)
if [[ -f $tools/.pins && $(< "$tools/.pins") == "$pins" ]]; then
  exit
fi

mkdir -p "$tools"
fresh=$(mktemp --directory "$tools/.fresh.XXXXXX")
trap 'rm -rf "$fresh"' EXIT
while read -r package; do
  CGO_ENABLED=0 go build -mod=readonly -trimpath -ldflags '-s -w' -o "$fresh/" "$package"
done < <(go list -f '{{.ImportPath}}' tool)
mv --force "$fresh"/* "$tools/"
echo "$pins" > "$tools/.pins"
