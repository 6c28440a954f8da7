#!/usr/bin/env bash
# Builds the container image of each service, `opsuite-<service>`, on BASE_IMAGE (an image with Python 3.11 or later).
# Where no registry can be reached: BASE_IMAGE=$(scripts/base_image.sh) scripts/images.sh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

for dockerfile in services/*/Dockerfile; do
  service=$(basename "$(dirname "$dockerfile")")
  docker build --build-arg "BASE_IMAGE=${BASE_IMAGE:-python:3.13-slim}" --file "$dockerfile" --tag "opsuite-$service" .
done
