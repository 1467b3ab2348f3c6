#!/usr/bin/env bash
# Locks every environment with hashes (make lock). Needs a package registry; writes no address of one.
set -euo pipefail
cd "$(dirname "$0")/.."
lock() {
    local out=$1
    shift
    .venv/uv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
        "$@" --output-file "requirements/$out.txt" pyproject.toml
    echo "requirements/$out.txt: $(grep -c '^[a-z0-9].*==' "requirements/$out.txt") packages"
}
lock uv --group uv
lock jobs --group jobs
lock dashboard --group jobs --group dashboard --constraint requirements/jobs.txt
lock dev --group jobs --group dashboard --group dev --group s3 --group demo --constraint requirements/dashboard.txt
lock java --group java
lock s3-server --group s3-server
lock airflow --group airflow
lock airflow-dev --group airflow --group airflow-dev --constraint requirements/airflow.txt
