#!/usr/bin/env bash
# Starts dockerd in a session of its own unless an engine answers, and prints its process id if it was started here.
set -euo pipefail

answers() { docker version > /dev/null 2>&1; }

answers && exit
# Left by an engine that was killed; its number may belong to another process by now, and dockerd would refuse to start.
pgrep --exact dockerd > /dev/null || rm -f /var/run/docker.pid /var/run/docker/containerd/containerd.pid
log=${TMPDIR:-/tmp}/opsuite-ci-dockerd.log
setsid dockerd > "$log" 2>&1 < /dev/null &
engine=$!
for _ in $(seq 300); do
  if answers; then
    echo "$engine"
    exit
  fi
  kill -0 "$engine" 2> /dev/null || break
  sleep 0.2
done
tail -20 "$log" >&2
echo "dockerd does not start" >&2
exit 1
