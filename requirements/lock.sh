#!/usr/bin/env bash
# Write every lock in this folder anew: with hashes, for every supported Python, naming no index host.
# A lock of Airflow takes only what was published by two days after that release: what came later was
# never tried with it (measured: 3.0.2 and 3.2.2 break with today's newest).
set -euo pipefail
cd "$(dirname "$0")"
AIRFLOW_3_3_2_PUBLISHED=2026-09-17

lock() { # lock NAME [uv option...]
  local name=$1; shift
  uv pip compile --quiet --universal --python-version 3.10 --generate-hashes --no-emit-index-url \
    --no-header --no-annotate "$@" "$name.in" --output-file "$name.txt"
}
lock uv
lock airflow-3.3.2 --exclude-newer "$(date -d "$AIRFLOW_3_3_2_PUBLISHED 2 days" +%F)"
lock airflow-3.3.2-test
( cd .. && uv pip compile --quiet --universal --python-version 3.10 --generate-hashes --no-emit-index-url \
    --no-header --no-annotate --extra postgresql pyproject.toml --output-file requirements/monitor.txt )
lock dev
