#!/usr/bin/env bash
# Builds the control plane that the Kubernetes tests talk to (kube-apiserver, kube-controller-manager, kube-scheduler,
# kubectl) at the versions that go.mod and go.sum pin, takes etcd from PATH or from its Debian package without installing
# it, and links all five into the folder where tests/components.py looks; nothing to do when they are there at these
# versions. The first run of a machine takes about nine minutes of processor time. Needs Go 1.26; apt-get and dpkg-deb.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
export CGO_ENABLED=0 GOTOOLCHAIN=local

tools=${XDG_CACHE_HOME:-$HOME/.cache}/opsuite/tools
pins=$({ cat go.mod go.sum build.sh; uname -m; } | sha256sum | cut -c 1-16)
assets=$tools/kube-assets/$pins

link() {
  local program
  for program in etcd kube-apiserver kube-controller-manager kube-scheduler kubectl; do
    ln --symbolic --force --no-dereference "kube-assets/$pins/$program" "$tools/$program"
  done
}

if [[ -d $assets ]]; then
  link
  exit
fi

mkdir -p "$tools/kube-assets"
fresh=$(mktemp --directory "$tools/kube-assets/.fresh.XXXXXX")
package=$(mktemp --directory)
trap 'rm -rf "$fresh" "$package"' EXIT

if ! cp "$(PATH=/usr/local/bin:/usr/bin:/bin command -v etcd)" "$fresh/" 2> /dev/null; then
  chmod 0755 "$package" # apt-get downloads as a user of its own
  fetch() { (cd "$package" && apt-get download --quiet --quiet etcd-server); }
  fetch 2> /dev/null || { apt-get update --quiet --quiet && fetch; }
  dpkg-deb --extract "$package"/etcd-server_*.deb "$package"
  cp "$package/usr/bin/etcd" "$fresh/"
fi

# Without these the server tells a placeholder for its version.
version=$(go list -m -f '{{.Version}}' k8s.io/kubernetes)
IFS=. read -r major minor _ <<< "${version#v}"
stamp=k8s.io/component-base/version
stamps="-X $stamp.gitVersion=$version -X $stamp.gitMajor=$major -X $stamp.gitMinor=$minor"
mapfile -t packages < <(go list -f '{{.ImportPath}}' tool)
go build -mod=readonly -trimpath -p 2 -ldflags "-s -w $stamps" -o "$fresh/" "${packages[@]}"

(cd "$fresh" && sha256sum -- * > SHA256SUMS)
chmod 0755 "$fresh"
mv --no-target-directory "$fresh" "$assets"
link
find "$tools/kube-assets" -mindepth 1 -maxdepth 1 -type d ! -name "$pins" -exec rm -rf {} +
