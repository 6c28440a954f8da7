#!/usr/bin/env bash
# Builds the control plane that the Kubernetes tests talk to (kube-apiserver, kube-controller-manager, kube-scheduler,
# kubectl) at the versions that go.mod and go.sum pin, takes etcd from its Debian package without installing it, and
# links all five into the folder where tests/components.py looks; nothing to do when they are there at these versions.
# The first run of a machine takes about ten minutes of both cores. Needs Go, apt-get and dpkg-deb.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

tools=${XDG_CACHE_HOME:-$HOME/.cache}/opsuite/tools
pins=$({ cat go.mod go.sum build.sh; uname -m; } | sha256sum | cut -c 1-16)
assets=$tools/kube-assets/$pins
programs=(etcd kube-apiserver kube-controller-manager kube-scheduler kubectl)

link() {
  local program
  for program in "${programs[@]}"; do
    ln --symbolic --force --no-dereference "kube-assets/$pins/$program" "$tools/$program"
  done
}

if [[ -d $assets ]]; then
  link
  exit
fi

mkdir -p "$tools/kube-assets"
fresh=$(mktemp --directory "$tools/kube-assets/.fresh.XXXXXX")
trap 'rm -rf "$fresh"' EXIT

# Read-only for the sandbox user of apt, hence a folder of its own below /tmp.
package=$(mktemp --directory)
trap 'rm -rf "$fresh" "$package"' EXIT
chmod 0755 "$package"
(
  cd "$package"
  apt-get download --quiet --quiet etcd-server 2> /dev/null || { apt-get update --quiet --quiet && apt-get download --quiet --quiet etcd-server; }
  dpkg-deb --extract etcd-server_*.deb .
)
cp "$package/usr/bin/etcd" "$fresh/"

version=$(go list -m -f '{{.Version}}' k8s.io/kubernetes)
number=${version#v}
IFS=. read -r major minor _ <<< "$number"
variables="-X k8s.io/component-base/version.gitVersion=$version"
variables+=" -X k8s.io/component-base/version.gitMajor=$major -X k8s.io/component-base/version.gitMinor=$minor"
mapfile -t packages < <(go list -f '{{.ImportPath}}' tool)
CGO_ENABLED=0 GOTOOLCHAIN=local \
  go build -mod=readonly -trimpath -p 2 -ldflags "-s -w $variables" -o "$fresh/" "${packages[@]}"

(cd "$fresh" && sha256sum -- * > SHA256SUMS)
chmod 0755 "$fresh"
mv --no-target-directory "$fresh" "$assets"
link
find "$tools/kube-assets" -mindepth 1 -maxdepth 1 -type d ! -name "$pins" -exec rm -rf {} +
