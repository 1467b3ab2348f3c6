#!/usr/bin/env bash
# Makes the project's environments under .venv/ from the locks in requirements/: instant when nothing changed.
#   .venv/uv       the installer
#   .venv/jobs     what computes, with the development tools, the demo's S3 server and voices
#   .venv/airflow  Airflow, apart from the jobs (see docs/decisions.md)
#   .venv/java     a Java runtime, only where none of version 17 or newer is found
# and those that are named as arguments:
#   s3-server      the local stack's S3 server
set -euo pipefail
cd "$(dirname "$0")/.."

say() { echo "setup: $*" >&2; }
stop() {
    say "$*"
    exit 1
}

python=${PYTHON:-python3}
command -v "$python" >/dev/null || stop "no $python found; install Python 3.11, 3.12 or 3.13, or name one: make setup PYTHON=python3.12"
version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
case $version in
3.11 | 3.12 | 3.13) ;;
*) stop "$python is Python $version; install Python 3.11, 3.12 or 3.13, or name one: make setup PYTHON=python3.12" ;;
esac
"$python" -c 'import venv, ensurepip' 2>/dev/null ||
    stop "$python has no venv module; install it (Debian, Ubuntu: apt-get install python$version-venv)"

digest() { { echo "$version"; cat "$@"; } | sha256sum | cut -d' ' -f1; }

# environment NAME LOCK INSTALL...: runs INSTALL in a fresh environment unless the lock is the one it was made from.
environment() {
    local name=$1 lock=$2 stamp=.venv/$1/.made-from want
    shift 2
    want=$(digest "$lock")
    [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$want" ] && return
    say "making .venv/$name from $lock"
    rm -rf ".venv/$name"
    "$@" || stop "could not make .venv/$name from $lock; the lines above say why. Is a package registry reachable?"
    echo "$want" >"$stamp"
}
make_uv() {
    "$python" -m venv .venv/uv &&
        .venv/uv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt
}
make_with_uv() {
    .venv/uv/bin/uv venv --quiet --python "$python" ".venv/$1" &&
        .venv/uv/bin/uv pip install --quiet --python ".venv/$1/bin/python" --require-hashes -r "$2"
}

mkdir -p .venv
environment uv requirements/uv.txt make_uv
environment jobs requirements/dev.txt make_with_uv jobs requirements/dev.txt
environment airflow requirements/airflow-dev.txt make_with_uv airflow requirements/airflow-dev.txt
if ! infra/spark/find-java >/dev/null 2>&1; then
    environment java requirements/java.txt make_with_uv java requirements/java.txt
    infra/spark/find-java >/dev/null || stop "no Java 17 or newer found, and the one from PyPI does not run; install a Java runtime (Debian, Ubuntu: apt-get install openjdk-17-jre-headless)"
fi
for name in "$@"; do
    case $name in
    s3-server) environment "$name" "requirements/$name.txt" make_with_uv "$name" "requirements/$name.txt" ;;
    *) stop "there is no environment $name to name; expected s3-server" ;;
    esac
done
