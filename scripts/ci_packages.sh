#!/usr/bin/env bash
# Debian packages that the tests talk to, installed without starting a service of theirs. Run as root.
#   docker.io iptables            engine of container steps and of the compose test
#   docker-compose                the compose test
#   debootstrap                   base image without a registry (scripts/base_image.sh)
#   busybox-static                2 MB image of the container tests
#   postgresql                    the other database of every storage test
#   prometheus                    scrapes the deployer; brings promtool
#   prometheus-alertmanager       brings amtool, Alertmanager's own client, and the server whose grouping is compared
#   restic                        an older one, which has to understand our repositories too
#   openssh-server                hosts that are reached over SSH
#   redis-server, rabbitmq-server queues whose length is a metric
set -euo pipefail

wanted=(docker.io iptables docker-compose debootstrap busybox-static postgresql prometheus prometheus-alertmanager restic openssh-server redis-server rabbitmq-server)
missing=()
for package in "${wanted[@]}"; do
  [[ $(dpkg-query --show --showformat '${db:Status-Status}' "$package" 2> /dev/null) == installed ]] || missing+=("$package")
done
((${#missing[@]})) || exit 0

# invoke-rc.d asks this program; 101 means "do not".
policy=/usr/sbin/policy-rc.d
if [[ ! -e $policy ]]; then
  printf '#!/bin/sh\nexit 101\n' > "$policy"
  chmod 0755 "$policy"
  trap 'rm -f "$policy"' EXIT
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update --quiet --quiet
apt-get install --yes --quiet --quiet --no-install-recommends "${missing[@]}" > /dev/null
