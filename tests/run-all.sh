#!/bin/sh
# Runs every suite, one after the other, and goes on when one fails. Prints a line per suite and
# ends with the sum; whole logs stay under build/check. Called by `make check`.
#
# What counts as a case: each test that cmocka reports, what a suite says in a line
# `cases: passed=N failed=N`, and one for any suite that says neither.
set -u
cd "$(dirname "$0")/.." || exit 1

make=${MAKE:-make}
logs=build/check
limit_s=1800 # a suite that hangs fails
passed_all=0
failed_all=0

# What takes longest runs smaller here than by itself, so that all of it ends in minutes:
# `make check-model` has one search more, `make check-sim-mutants` more stories for each mutant.
# name       make target and its variables
suites='
layers       check-layers
style        check-style
format       check-format
clang        check-clang
lints        check-lints
unit         check-unit
pg           check-pg
redis        check-redis
pure         check-pure
rules        check-rules
fence        check-fence
clients      check-clients
system       check-system
model        check-model QUICK=1
sim          check-sim
asan         check-asan
mutants      check-sim-mutants SEEDS=4000
'

install_missing() {
    if [ "$(id -u)" = 0 ]; then
        tests/deps.sh || exit 1
    elif [ -n "$(tests/deps.sh --missing)" ]; then
        echo "check: not installed: $(tests/deps.sh --missing); run 'make deps' as root" >&2
        exit 1
    fi
}

# Prints "PASSED FAILED" for a log and the exit code of its suite.
count() {
    awk -v rc="$2" '
        /^\[  PASSED  \] [0-9]+ test/ { passed += $4; counted = 1 }
        /^\[  FAILED  \] [0-9]+ test/ { failed += $4; counted = 1 }
        /^cases: passed=[0-9]+ failed=[0-9]+$/ {
            split($2, p, "="); split($3, f, "=")
            passed += p[2]; failed += f[2]; counted = 1
        }
        END {
            if (!counted && rc == 0)
                passed = 1
            if (rc != 0 && failed == 0)
                failed = 1
            print passed + 0, failed + 0
        }' "$1"
}

run_suite() { # NAME TARGET [VARIABLE=VALUE...]
    name=$1
    shift
    log=$logs/$name.log
    start=$(date +%s)
    timeout "$limit_s" "$make" --no-print-directory -j"$(nproc)" "$@" >"$log" 2>&1
    rc=$?
    [ $rc != 124 ] || echo "stopped: no end after $limit_s s" >>"$log"
    counts=$(count "$log" $rc)
    passed=${counts% *}
    failed=${counts#* }
    passed_all=$((passed_all + passed))
    failed_all=$((failed_all + failed))
    printf '%-10s %8d %8d %8d s\n' "$name" "$passed" "$failed" $(($(date +%s) - start))
    if [ "$failed" != 0 ]; then
        grep -n -e '^\[  FAILED' -e '^\[   LINE' -e '^\[  ERROR' -e 'Error: ' -e '^FAILED' "$log" |
            head -n 25 | sed 's/^/    ! /'
        grep -v -e '^\[ RUN ' -e '^\[       OK ' "$log" | tail -n 25 | sed 's/^/    | /'
        echo "    | whole log: $log; again: make $*"
    fi
}

# Whoever called sudo wants to build on without it.
give_back() {
    [ -z "${SUDO_UID-}" ] || chown -R "$SUDO_UID:${SUDO_GID-}" build
}

trap give_back EXIT
install_missing
rm -rf "$logs"
mkdir -p "$logs"
printf '%-10s %8s %8s %10s\n' suite passed failed time
while read -r line <&3; do
    # shellcheck disable=SC2086 # a list of words on purpose
    [ -z "$line" ] || run_suite $line
done 3<<END
$suites
END
echo "$passed_all passed, $failed_all failed"
[ "$failed_all" = 0 ]
