#!/bin/sh
# Who may include whom. Data goes one way through hamgr, so includes do, too; a file sees its own
# folder, what its row names, and headers that stand in no cycle.
#   tests/lint/layers.sh [TREE]   this repository, unless another tree is named
set -eu
cd "${1-$(dirname "$0")/../..}"

# folder   : may include these folders or files   : and headers of these libraries
table='
base       :                                               : libc
view       : base                                          : pure
core       : base view                                     : pure
wire       : base view core                                : libc protobuf-c jansson
settings   : base core/record.h                            : libc libconfig openssl
sentinel   : base                                          : libc libevent
redirect   : base settings wire                            : libc libevent
witness    : base core wire net settings adapter/store.h adapter/worker.h : libc libevent libsystemd
net        : base wire adapter/worker.h                    : libc libevent openssl
probe      : base view                                     : libc libevent
postgres   : base view probe settings core/effect.h core/record.h adapter/service.h adapter/child.h adapter/worker.h adapter/store.h adapter/file.h adapter/leftover.h adapter/progress.h : libc libevent libpq
redis      : base view probe settings core/effect.h core/record.h adapter/service.h adapter/child.h adapter/worker.h adapter/store.h : libc libevent hiredis
daemon     : base view core wire settings net probe postgres redis sentinel adapter fence : libc libevent libsystemd jansson
adapter    : base wire net view settings probe/latency.h core/effect.h core/record.h core/voter.h core/trace.h fence/verbs.h : libc libevent libcurl
cli        : base view core wire settings fence/lease.h net/guest.h postgres/notes.h redis/include.h : libc jansson
fence      : base view/observation.h settings probe/procs.h : libc libnftables libsystemd libevent
'

# What the angle brackets of a library look like; pure is the part of libc that only computes.
library_of() {
    case $1 in
    stdbool.h | stddef.h | stdint.h | limits.h | string.h) echo "pure libc" ;;
    event2/*) echo libevent ;;
    openssl/*) echo openssl ;;
    protobuf-c/*) echo protobuf-c ;;
    systemd/*) echo libsystemd ;;
    nftables/*) echo libnftables ;;
    hiredis/*) echo hiredis ;;
    curl/*) echo libcurl ;;
    libpq-fe.h | libpq/*) echo libpq ;;
    libconfig.h) echo libconfig ;;
    jansson.h) echo jansson ;;
    *) echo libc ;;
    esac
}

# is_one_of WORD LIST...
is_one_of() {
    word=$1
    shift
    for candidate in "$@"; do
        [ "$candidate" = "$word" ] && return 0
    done
    return 1
}

failed=0
complain() {
    echo "layers: $1" >&2
    failed=1
}

edges=$(mktemp)
trap 'rm -f "$edges"' EXIT
count=0

check_file() { # FILE FOLDER ALLOWED LIBRARIES
    file=$1 folder=$2 allowed=$3 libraries=$4

    for header in $(sed -n 's/^[[:space:]]*#[[:space:]]*include[[:space:]]*"\([^"]*\)".*/\1/p' "$file"); do
        case $header in
        */*) target=$header ;;
        *) target=$folder/$header ;;
        esac
        case $file in *.h) echo "${file#hamgr/} $target" >>"$edges" ;; esac
        # shellcheck disable=SC2086 # a list of words on purpose
        [ "${target%%/*}" = "$folder" ] || is_one_of "${target%%/*}" $allowed ||
            is_one_of "$target" $allowed || complain "$file may not include \"$header\""
    done
    for header in $(sed -n 's/^[[:space:]]*#[[:space:]]*include[[:space:]]*<\([^>]*\)>.*/\1/p' "$file"); do
        found=no
        for library in $(library_of "$header"); do
            # shellcheck disable=SC2086
            is_one_of "$library" $libraries && found=yes
        done
        [ $found = yes ] || complain "$file may not include <$header>"
    done
}

for path in hamgr/*/ witness/ fence/; do
    folder=$(basename "$path")
    row=$(echo "$table" | sed -n "s/^$folder  *: *//p")
    [ -n "$row" ] || { complain "hamgr/$folder has no row in tests/lint/layers.sh"; continue; }
    allowed=${row%%:*}
    libraries=${row#*:}
    for file in $(find "$path" -name '*.[ch]' | sort); do
        count=$((count + 1))
        check_file "$file" "$folder" "$allowed" "$libraries"
    done
done

cycle=$(tsort "$edges" 2>&1 >/dev/null) || complain "headers include each other: $cycle"
[ "$failed" = 0 ] || exit 1
echo "layers: $count files include only what is below them"
