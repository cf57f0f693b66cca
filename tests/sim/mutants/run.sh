#!/bin/sh
# Breaks one guard of the core at a time and wants the simulator to find it.
#
# usage: tests/sim/mutants/run.sh [NAME...]      all patches here when no name is given
# SEEDS  how many stories a mutant may survive at most (default 20000)
#
# Each mutant is a patch in this folder; its first line says what it breaks. The table says which
# invariant caught it, and after how many stories. A patch that no longer applies, or a mutant that
# survives, fails the run.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
top=$(CDPATH='' cd -- "$here/../../.." && pwd)
work=$top/build/mutants
seeds=${SEEDS:-20000}
passed=0
failed=0

mkdir -p "$work/tree"
make -s -C "$top" build/release/sim
# Objects are copied with their times, so that only what a patch touches is compiled again.
rm -rf "$work/tree"
mkdir -p "$work/tree/tests" "$work/tree/build"
cp -a "$top/Makefile" "$top/hamgr" "$work/tree/"
cp -a "$top/tests/sim" "$work/tree/tests/"
cp -a "$top/build/release" "$work/tree/build/"

if [ $# -eq 0 ]; then
    set -- $(cd "$here" && ls ./*.patch | sed 's|^\./||; s|\.patch$||')
fi

printf '%-28s %-10s %8s  %s\n' mutant 'caught by' seeds 'what it breaks'
for name in "$@"; do
    patch=$here/$name.patch
    breaks=$(sed -n '1s/^Breaks: //p' "$patch")
    if ! patch -d "$work/tree" -p1 -s --no-backup-if-mismatch <"$patch" >"$work/$name.log" 2>&1; then
        printf '%-28s %-10s %8s  %s\n' "$name" '-' '-' "the patch does not apply: see $work/$name.log"
        failed=$((failed + 1))
        continue
    fi
    make -s -C "$work/tree" build/release/sim >"$work/$name.log" 2>&1 || {
        printf '%-28s %-10s %8s  %s\n' "$name" '-' '-' "does not compile: see $work/$name.log"
        patch -d "$work/tree" -p1 -s -R --no-backup-if-mismatch <"$patch"
        failed=$((failed + 1))
        continue
    }
    "$work/tree/build/release/sim" --seeds "$seeds" --stop-at-first >"$work/$name.log" 2>&1 || :
    found=$(sed -n 's/^violation: invariant=\([A-Z0-9]*\).*/\1/p' "$work/$name.log" | head -n 1)
    tried=$(sed -n 's/^sim: seeds=\([0-9]*\).*/\1/p' "$work/$name.log" | tail -n 1)
    if [ -n "$found" ]; then
        passed=$((passed + 1))
    else
        found=SURVIVED
        failed=$((failed + 1))
    fi
    printf '%-28s %-10s %8s  %s\n' "$name" "$found" "${tried:--}" "$breaks"
    patch -d "$work/tree" -p1 -s -R --no-backup-if-mismatch <"$patch"
done
echo "cases: passed=$passed failed=$failed"
[ "$failed" -eq 0 ]
