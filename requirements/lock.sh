#!/usr/bin/env bash
# Write every lock in this folder anew: with hashes, for every supported Python, naming no index host.
# A lock of Airflow takes only what was published by two days after that release: what came later was
# never tried with it (measured: 3.0.2 and 3.2.2 break with today's newest).
set -euo pipefail
cd "$(dirname "$0")"
declare -A PUBLISHED=([3.0.2]=2025-06-10 [3.1.8]=2026-03-11 [3.2.2]=2026-05-29 [3.3.2]=2026-09-17)
NEWEST=3.3.2

lock() { # lock NAME [uv option...]
  local name=$1; shift
  uv pip compile --quiet --universal --python-version 3.10 --generate-hashes --no-emit-index-url \
    --no-header --no-annotate "$@" "$name.in" --output-file "$name.txt"
}
lock uv
with_release() { date -d "${PUBLISHED[$1]} 2 days" +%F; }

for version in "${!PUBLISHED[@]}"; do
  sed "s/$NEWEST/$version/" "airflow-$NEWEST.in" > "airflow-$version.in.tmp"
  mv "airflow-$version.in.tmp" "airflow-$version.in"
  lock "airflow-$version" --exclude-newer "$(with_release "$version")"
done
lock "airflow-$NEWEST-test"
lock bench-hooks --exclude-newer "$(with_release $NEWEST)"
( cd .. && uv pip compile --quiet --universal --python-version 3.10 --generate-hashes --no-emit-index-url \
    --no-header --no-annotate --extra postgresql --extra otel --excludes requirements/not-locked pyproject.toml \
    --output-file requirements/monitor.txt )
lock dev
lock docs
lock release
