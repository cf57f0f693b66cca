#!/bin/sh
# Real clients, then a crowd of them, against the Sentinel endpoint. Called by `make check-clients`.
# What npm installs stays below build/clients.
set -u
cd "$(dirname "$0")/../.."

clients=redis-py
mkdir -p build/clients
cp tests/clients/package.json tests/clients/client.mjs build/clients/
if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
    echo "clients: no node or npm here: redis-py alone"
elif ! (cd build/clients && timeout 120 npm install --no-audit --no-fund --silent >npm.log 2>&1); then
    echo "clients: npm cannot install ioredis and redis (build/clients/npm.log): redis-py alone"
else
    clients='redis-py ioredis ioredis-detector node-redis'
fi
# shellcheck disable=SC2086 # a list of words on purpose
/usr/bin/python3 -B tests/clients/check.py $clients
rc=$?
# Ten times what is wanted of a machine that has nothing else to do.
/usr/bin/python3 -B tests/clients/load.py --limit 100 || rc=1
exit $rc
