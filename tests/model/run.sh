#!/bin/sh
# Verifies the model of the register exhaustively with spin, then shows that the verification can
# fail: each mutant breaks one rule and must be found, each REACH state must be reached.
#
#   tests/model/run.sh        about four minutes, 2 GB of memory, one core
#   QUICK=1 tests/model/run.sh without the longest search: about two minutes less
#   FULL=1 tests/model/run.sh the larger bounds as well: about three minutes more
#
# Everything generated goes to build/model. A counterexample stays there as steps.txt.
set -u
cd "$(dirname "$0")/../.." || exit 1

model=$PWD/tests/model/register.pml
build=$PWD/build/model
memory_mb=3800
limit_s=900 # for one search: a machine that is this slow has another problem
passed=0
failed=0

for tool in spin gcc; do
    if ! command -v "$tool" >/dev/null; then
        echo "model: $tool is missing (Debian package $tool)" >&2
        exit 1
    fi
done

# search NAME OPTIMIZE TABLE DEFINE... : builds the verifier of one variant and lets it search breadth
# first, so that the first error is a shortest one. Leaves its output in $dir/out.
search() {
    dir=$build/$1
    optimize=$2
    table=$3
    shift 3
    defines=$*
    rm -rf "$dir"
    mkdir -p "$dir"
    # shellcheck disable=SC2086 # a list of words on purpose
    (
        cd "$dir" || exit 1
        spin $defines -a "$model" >spin.out 2>&1 || exit 1
        gcc "$optimize" -w -DSAFETY -DBFS -DNOREDUCE -DMEMLIM=$memory_mb -o pan pan.c || exit 1
        timeout $limit_s ./pan -m10000 -w"$table" >out 2>&1
        echo "exit code $?" >>out
    ) || { cat "$dir/spin.out" >&2; return 1; }
    ! grep -qi 'error' "$dir/spin.out"
}

# A search counts as exhaustive only if pan says so and nothing that truncates it has happened.
is_exhaustive() {
    grep -q '^Full statespace search' "$dir/out" && grep -q '^exit code 0$' "$dir/out" &&
        grep -q 'states, stored' "$dir/out" &&
        ! grep -qiE 'not completed|too small|out of memory|MEMLIM|bit statespace|hash-compact|aborted' \
            "$dir/out"
}

number() { # of states, or the depth, or the seconds
    sed -n "s/$1/\\1/p" "$dir/out" | head -n 1
}

# Writes the steps that lead to the error, and prints the property that it breaks. spin's line numbers
# are off behind an #ifdef, so the property is told by what its assertion is about.
explain() {
    # shellcheck disable=SC2086 # a list of words on purpose
    (cd "$dir" && spin $defines -t -k register.pml.trail "$model" >trace 2>&1)
    sed -n '/spin: trail ends/q; s/^ *\(voter\|candidate\|member\|time\|spin: text\)/\1/p' "$dir/trace" \
        >"$dir/steps.txt"
    case $(grep -m 1 'assertion violated' "$dir/out") in
    *until*) echo 'one holder' ;;
    *parent==*) echo 'one record' ;;
    *parent\<* | *'(x<'*) echo 'never lost' ;;
    *epoch*) echo 'one epoch' ;;
    *lease*) echo 'lease kept' ;;
    *told* | *promised*) echo 'promise kept' ;;
    *) echo 'another assertion' ;;
    esac
}

verdict() { # ok|FAILED, text
    if [ "$1" = ok ]; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
    printf '%-6s %s\n' "$1" "$2"
}

clean() { # NAME BALLOTS VERSIONS INSTANTS [SWITCH...]
    name=$1
    text="$1: ballots=$2 versions=$3 instants=$4"
    sizes="-DBALLOTS=$2 -DVERSIONS=$3 -DINSTANTS=$4"
    shift 4
    text="$text $(echo "$*" | sed 's/-D//g')"
    # shellcheck disable=SC2086 # a list of words on purpose
    if ! search "$name" -O1 25 $sizes "$@"; then
        verdict FAILED "$name: the verifier cannot be built"
        return
    fi
    measured="states=$(number ' *\([0-9]*\) states, stored.*') depth=$(
        number '.*depth reached \([0-9]*\),.*') seconds=$(number 'pan: elapsed time \([0-9.]*\).*')"
    if ! grep -q 'errors: 0' "$dir/out"; then
        verdict FAILED "$text: breaks '$(explain)', see $dir/steps.txt"
        cat "$dir/steps.txt"
    elif ! is_exhaustive; then
        verdict FAILED "$text: the search was not complete, $measured, see $dir/out"
    else
        verdict ok "$text: no error, search complete, $measured"
    fi
    rm -f "$dir"/pan*
}

# must_fail KIND NAME DEFINE... : the search has to end with a violated assertion, nothing else.
must_fail() {
    kind=$1
    name=$2
    shift 2
    if ! search "$kind-$name" -O0 22 "-D$name" "$@"; then
        verdict FAILED "$kind $name: the verifier cannot be built"
    elif grep -q 'assertion violated' "$dir/out" && ! grep -q 'invalid array' "$dir/out"; then
        property=$(explain)
        steps=$(grep -cE '^(voter|candidate|member|time)' "$dir/steps.txt")
        case $kind in
        reach) verdict ok "reach $name: reached after $steps steps" ;;
        *) verdict ok "$kind $name: found after $steps steps, breaks '$property'" ;;
        esac
    else
        verdict FAILED "$kind $name: nothing was found, see $dir/out"
    fi
    rm -f "$dir"/pan*
}
mutant() { must_fail mutant "$@" -DMUTANT; } # must be found by what it leads to
inner() { must_fail inner "$@"; }            # and these at once by the assertions about a voter
reach() { must_fail reach "$@" -DREACH; }

two='-DBALLOTS=2 -DVERSIONS=1'
three='-DBALLOTS=3 -DVERSIONS=1'

#     name          ballots versions instants switches
clean explicit      2       1        2        -DWRITES -DDELAYS
clean writes        2       2        2        -DWRITES
clean instants      2       1        3
[ "${QUICK:-0}" != 0 ] || clean versions 3 2 2
if [ "${FULL:-0}" != 0 ]; then
    clean more-writes   3   1        2        -DWRITES
    clean more-ballots  4   1        2
    clean more-instants 3   1        3
fi

# shellcheck disable=SC2086
{
    mutant NO_QUARANTINE $two
    mutant NO_DRIFT_MARGIN $two
    mutant COUNT_FROM_ANSWER $two
    mutant COUNT_NEWEST_SENDING $two -DDELAYS
    mutant ANSWER_BEFORE_PERSIST $two -DWRITES
    mutant ADOPT_OLDER $two
    mutant RENEW_DURING_PREPARE_WRITE $two -DWRITES
    mutant REUSE_BALLOT_AFTER_RELEASE $two
    mutant COUNT_AFTER_RELEASE $two -DDELAYS
    mutant CONTINUE_AFTER_RESTART $two
    mutant NOTHING_OWN_FIRST $two
    mutant IGNORE_LEASE $two
    mutant RENEW_BELOW_PROMISED $two
    mutant ACCEPT_BELOW_PROMISED $two
    mutant ANSWER_WITHOUT_LEASE $two
    mutant ACCEPT_SHORTENS_LEASE -DBALLOTS=2 -DVERSIONS=2 -DWRITES

    inner ANSWER_BEFORE_PERSIST $two -DWRITES
    inner RENEW_DURING_PREPARE_WRITE $two -DWRITES

    reach REACH_HOLDER_AFTER_VOTER_RESTART $two
    reach REACH_TAKEOVER_AFTER_RELEASE $two
    reach REACH_CHOSEN_WITHOUT_LEASE $two
    reach REACH_ACCEPT_REPLACES_LIVE_LEASE $two
    reach REACH_MINORITY_RECORD_ADOPTED $two
    reach REACH_RESTARTED_HOLDER_IS_BACK $three
    reach REACH_HIGHER_BALLOT_WITHOUT_PAUSE $three
    reach REACH_THIRD_EPOCH $three
    reach REACH_EPOCH_SKIPPED $three
    reach REACH_SECOND_VERSION_ADOPTED -DBALLOTS=2 -DVERSIONS=2
}

echo "cases: passed=$passed failed=$failed"
[ "$failed" = 0 ]
