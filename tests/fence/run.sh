#!/bin/sh
# Runs the tests of hamgr-fence: `make check-fence`. They make network namespaces and stop the
# processes of a real server, so they need root.
set -u
cd "$(dirname "$0")" || exit 1
log=$(mktemp)
trap 'rm -f "$log"' EXIT

if [ "$(id -u)" != 0 ]; then
    echo "fence: these tests make network namespaces: run them as root" >&2
    exit 1
fi
# Debian's own interpreter is the one that python3-pytest belongs to.
/usr/bin/python3 -B -m pytest -q -p no:cacheprovider "$@" . >"$log" 2>&1
rc=$?
cat "$log"
awk -v rc="$rc" '
    /^[0-9]+ (passed|failed)/ || / (passed|failed|errors?)(,| in )/ {
        passed = failed = 0
        for (i = 2; i <= NF; i++) {
            if ($i ~ /^passed/) passed = $(i - 1)
            if ($i ~ /^(failed|errors?)/) failed += $(i - 1)
        }
        counted = 1
    }
    END {
        if (!counted || (rc != 0 && failed == 0)) failed++
        printf "cases: passed=%d failed=%d\n", passed, failed
    }' "$log"
exit $rc
