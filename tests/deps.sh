#!/bin/sh
# Installs what packages.txt names and Debian has not installed yet; says nothing when all is there.
#   tests/deps.sh            install; needs root only when something is missing
#   tests/deps.sh --missing  print the missing packages and change nothing
set -eu
cd "$(dirname "$0")/.."

missing=
for package in $(sed 's/#.*//' packages.txt); do
    # dpkg-query fails for a package it never heard of: that is missing, too
    state=$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null) || state=unknown
    [ "$state" = installed ] || missing="$missing $package"
done

if [ "${1-}" = --missing ]; then
    echo "${missing# }"
    exit 0
fi
[ -n "$missing" ] || exit 0
if [ "$(id -u)" != 0 ]; then
    echo "deps: missing:$missing" >&2
    echo "deps: run 'make deps' as root" >&2
    exit 1
fi

echo "deps: installing$missing"
log=build/deps.log
mkdir -p build
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086 # a list of words on purpose
if ! { apt-get update -qq &&
       apt-get install -qq -y --no-install-recommends $missing; } >"$log" 2>&1; then
    tail -n 15 "$log" >&2
    echo "deps: apt-get failed; its whole output: $log" >&2
    exit 1
fi
