#!/bin/sh
# The decision core is pure: its object files call each other, base and a few string functions of
# the C library, and keep no state of their own.
#   tests/lint/pure.sh OBJECT_FOLDER SOURCE...
set -eu
folder=$1
shift
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

[ $# -gt 0 ] || { echo "pure: no sources given: nothing was checked" >&2; exit 1; }

# The compiler calls the last four on its own account.
cat >"$work/allowed" <<'END'
hm_bug
memchr
memcmp
memcpy
memmove
memset
strcmp
strlen
strncmp
strnlen
_GLOBAL_OFFSET_TABLE_
__stack_chk_fail
__memcpy_chk
__memset_chk
END

objects=
for source in "$@"; do
    objects="$objects $folder/${source%.c}.o"
done

# Whatever pure code may call: all that it defines itself, and base but for the log.
# shellcheck disable=SC2086 # lists of words on purpose
nm --defined-only -g -P $objects $(find "$folder/hamgr/base" -name '*.o' ! -name log.o) |
    awk 'NF > 2 { print $1 }' >>"$work/allowed"
sort -u -o "$work/allowed" "$work/allowed"

failed=0
for object in $objects; do
    nm -u -P "$object" | awk '{ print $1 }' | sort -u >"$work/called"
    for symbol in $(comm -23 "$work/called" "$work/allowed"); do
        echo "pure: $object calls $symbol" >&2
        failed=1
    done
    # constants may need the loader's help (.data.rel.ro); anything else in .data can change
    for symbol in $(nm -f sysv --defined-only "$object" |
                    awk -F '|' '$7 ~ /^ *\.(t?data|t?bss)/ && $7 !~ /\.data\.rel\.ro/ \
                                && $4 ~ /OBJECT|TLS/ { gsub(/ /, "", $1); print $1 }'); do
        echo "pure: $object keeps state in $symbol" >&2
        failed=1
    done
done
[ "$failed" = 0 ] || exit 1
echo "pure: $# object files call nothing that blocks, waits or fails"
