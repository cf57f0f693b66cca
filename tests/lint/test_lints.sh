#!/bin/sh
# A lint that finds nothing proves nothing: plants one fault after the other in a small tree, and
# wants the lint to name it; before each fault the same tree is clean.
set -u
lints=$(cd "$(dirname "$0")" && pwd)
cc=${CC:-cc}
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
passed=0
failed=0

clean_tree() {
    rm -rf "${tree:?}"/*
    mkdir -p "$tree/hamgr/base" "$tree/hamgr/core" "$tree/hamgr/view" "$tree/tests"
    printf '#include "base/b.h"\n#include <string.h>\n' >"$tree/hamgr/core/a.h"
    printf '#include <stdio.h>\n' >"$tree/hamgr/base/b.h"
    printf 'int f(void);\n#include "a.h"\nint f(void)\n{\n    return 0;\n}\n' >"$tree/hamgr/core/a.c"
    printf 'void base_b(void);\nvoid base_b(void)\n{\n}\n' >"$tree/hamgr/base/b.c"
    printf 'void log_l(void);\nvoid log_l(void)\n{\n}\n' >"$tree/hamgr/base/log.c"
}

layers() {
    "$lints/layers.sh" "$tree"
}

style() {
    "$lints/style.sh" "$tree"
}

pure() {
    for source in core/a base/b base/log; do
        mkdir -p "$tree/obj/hamgr/${source%/*}"
        $cc -w -I"$tree/hamgr" -c -o "$tree/obj/hamgr/$source.o" "$tree/hamgr/$source.c" || return 1
    done
    "$lints/pure.sh" "$tree/obj" hamgr/core/a.c
}

note() { # WHETHER WHAT
    if [ "$1" = yes ]; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "lints: $2"
    fi
}

accepts() { # LINT WHAT: on the tree as it is
    if output=$("$1" 2>&1); then note yes; else note no "$1 refuses $2: $output"; fi
}

finds() { # LINT WORDS: on the tree as it is, which is made clean again
    if output=$("$1" 2>&1); then
        note no "$1 does not find: $2"
    else
        case $output in
        *"$2"*) note yes ;;
        *) note no "$1 does not say '$2' but: $output" ;;
        esac
    fi
    clean_tree
}

lines() { # NUMBER TEXT
    awk -v n="$1" -v text="$2" 'BEGIN { for (i = 0; i < n; i++) print text }'
}

a=$tree/hamgr/core/a.c
clean_tree
accepts layers "a clean tree"
accepts style "a clean tree"
accepts pure "a clean tree"

echo '#include "wire/w.h"' >>"$a"
finds layers 'a.c may not include "wire/w.h"'
echo '#include <stdlib.h>' >>"$a"
finds layers 'a.c may not include <stdlib.h>'
echo '#include "core/a.h"' >"$tree/hamgr/view/v.h"
finds layers 'v.h may not include "core/a.h"'
echo '#include "a.h"' >"$tree/hamgr/core/c.h"
echo '#include "c.h"' >>"$tree/hamgr/core/a.h"
finds layers 'headers include each other'
mkdir "$tree/hamgr/new"
finds layers 'hamgr/new has no row'

lines 600 '' >"$tree/hamgr/core/long.h"
accepts style "a file of 600 lines"
echo >>"$tree/hamgr/core/long.h"
finds style 'long.h: 601 lines, more than 600'
{ printf 'int g(void)\n{\n'; lines 58 ';'; echo '}'; } >>"$a"
accepts style "a function of 60 lines"
{ printf 'int h(void)\n{\n'; lines 59 ';'; echo '}'; } >>"$a"
finds style 'a function of 61 lines, more than 60'
{ printf 'int table[] = {\n'; lines 100 '1,'; echo '};'; } >>"$a"
accepts style "a long table"
printf '\tint tab;\n' >>"$a"
finds style 'a.c:109: tab'
printf 'words \n' >"$tree/a.md"
finds style 'a.md:1: blank at the end of the line'

printf 'void *malloc(unsigned long);\nvoid *m(void)\n{\n    return malloc(1);\n}\n' >>"$a"
finds pure 'a.o calls malloc'
printf 'void log_l(void);\nvoid l(void)\n{\n    log_l();\n}\n' >>"$a"
finds pure 'a.o calls log_l'
printf 'static int n;\nint count(void)\n{\n    return n++;\n}\n' >>"$a"
finds pure 'a.o keeps state in n'
printf 'static const char *const t[] = { "x" };\nconst char *g(int i)\n{\n    return t[i];\n}\n' >>"$a"
printf 'void base_b(void);\nvoid b(void)\n{\n    base_b();\n}\n' >>"$a"
accepts pure "a constant table and a call to base"

echo "cases: passed=$passed failed=$failed"
[ "$failed" = 0 ]
