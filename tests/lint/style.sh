#!/bin/sh
# Form that clang-format does not see: lengths of files and functions, tabs in C, blanks at line ends.
#   tests/lint/style.sh [TREE]   this repository, unless another tree is named
set -eu
cd "${1-$(dirname "$0")/../..}"

c_files=$(find hamgr tests -name '*.[ch]' | sort)
texts=$(find . -path ./build -prune -o -path ./.git -prune -o \
            \( -name '*.sh' -o -name '*.pml' -o -name '*.md' -o -name '*.txt' -o -name Makefile \
               -o -path './.ci/*' \) -type f -print | sort)

# shellcheck disable=SC2086 # lists of words on purpose
awk -v lines_max=600 -v function_max=60 '
    function complain(text) { print "style: " FILENAME ":" FNR ": " text; failed = 1 }
    function end_of_file() { if (lines > lines_max && name ~ /\.([ch]|sh)$/)
        { print "style: " name ": " lines " lines, more than " lines_max ": split it"; failed = 1 } }
    FNR == 1       { end_of_file(); name = FILENAME; start = 0 }
                   { lines = FNR }
    /[ \t]$/       { complain("blank at the end of the line") }
    name !~ /\.[ch]$/ { next }
    /\t/           { complain("tab") }
    # the braces of a function stand alone in the first column, those of data do not
    /^[{]$/        { start = FNR }
    /^[}]$/        { if (start && FNR - start + 1 > function_max)
                         complain("a function of " FNR - start + 1 " lines, more than " function_max)
                     start = 0 }
    END            { end_of_file(); exit failed }
' $c_files $texts >&2
echo "style: $(echo "$c_files" | wc -l) C files keep to the limits"
