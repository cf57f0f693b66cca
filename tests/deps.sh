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

# Packages of servers would start them, and PostgreSQL's would make a cluster that nobody asked for.
# Both are told not to only while this runs: a policy that is there already is the one that counts,
# and the administrator's defaults for clusters come back as they were.
policy=/usr/sbin/policy-rc.d
clusters=/etc/postgresql-common/createcluster.conf
kept=$clusters.before-hamgr-deps
has_placed=no
tidy() {
    [ $has_placed = no ] || rm -f "$policy"
    [ ! -e "$kept" ] || mv -f "$kept" "$clusters"
}
trap tidy EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM
if [ ! -e "$policy" ]; then
    has_placed=yes
    printf '%s\n' '#!/bin/sh' '# of tests/deps.sh, while it installs' 'exit 101' >"$policy"
    chmod 755 "$policy"
fi
want() { # PACKAGE...
    apt-get install -qq -y --no-install-recommends "$@"
}
install_all() {
    apt-get update -qq || return 1
    case "$missing" in
    *" postgresql-"[0-9]*)
        want postgresql-common || return 1 # brings the file
        [ -e "$kept" ] || cp -p "$clusters" "$kept" || return 1
        echo 'create_main_cluster = false' >>"$clusters"
        ;;
    esac
    # shellcheck disable=SC2086 # a list of words on purpose
    want $missing
}

echo "deps: installing$missing"
log=build/deps.log
mkdir -p build
export DEBIAN_FRONTEND=noninteractive
if ! install_all >"$log" 2>&1; then
    tail -n 15 "$log" >&2
    echo "deps: apt-get failed; its whole output: $log" >&2
    exit 1
fi
