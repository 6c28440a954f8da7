#!/usr/bin/env bash
# Puts the definitions of the Gateway API, in their published form, where tests look for them; nothing to do when they
# are there. They come with its Go module, whose sum is pinned. Needs Go.
set -euo pipefail

version=v1.4.0
sum=h1:ZwlNM6zOHq0h3WUX2gfByPs2yAEsy/EenYJB78jpQfQ=
definitions=${XDG_CACHE_HOME:-$HOME/.cache}/opsuite/tools/gateway-api/$version
[[ ! -d $definitions ]] || exit 0

module=$(cd / && go mod download -json "sigs.k8s.io/gateway-api@$version")
field() { sed -n "s/^\t\"$1\": \"\(.*\)\",\?\$/\1/p" <<< "$module"; }
[[ $(field Sum) == "$sum" ]] || { echo "gateway-api $version is not what it was: $(field Sum)" >&2; exit 1; }

mkdir -p "$(dirname "$definitions")"
fresh=$(mktemp --directory "$definitions.XXXXXX")
trap 'rm -rf "$fresh"' EXIT
for kind in gatewayclasses gateways httproutes; do
  install --mode 0644 "$(field Dir)/config/crd/standard/gateway.networking.k8s.io_$kind.yaml" "$fresh/$kind.yaml"
done
chmod 0755 "$fresh"
mv --no-target-directory "$fresh" "$definitions"
