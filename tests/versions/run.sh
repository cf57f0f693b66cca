#!/bin/sh
# Builds hamgr in other releases of Debian and runs there the unit tests, and those with real servers:
#   run.sh [SUITE...]     all of the table without a name; root
# A root of each suite is made by debootstrap in build/versions/SUITE, once: remove it to have it anew.
# hamgr is built there from this tree, which the root sees read-only, with namespaces of its own, so
# that nothing of it reaches this machine's processes or ports. What it says is in build/versions/SUITE.log.
set -u
cd "$(dirname "$0")/../.." || exit 1
tree=$PWD
roots=$tree/build/versions
mirror=http://deb.debian.org/debian

# suite      PostgreSQL  Redis servers; one that is too old for hamgr must only be told as such
table='
bullseye     13          redis-server
bookworm     15          redis-server,valkey-server
trixie       17          redis-server,valkey-server
sid          18          redis-server,valkey-server
'

say() {
    echo "versions: $*"
}

# What the build and the tests need, without what is chosen by the table, or looks at form only.
packages() { # POSTGRESQL SERVERS
    sed 's/#.*//' packages.txt | grep -vE '^ *(clang.*|spin|gcovr|python3-.*|postgresql-.*|redis-server) *$'
    echo "postgresql-$1" "$(echo "$2" | tr , ' ')"
}

clean_env='env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive'

inside() { # ROOT COMMAND...
    inside_root=$1
    shift
    # shellcheck disable=SC2016 # the inner shell's
    unshare --mount --propagation private sh -c 'mount -t proc proc "$0/proc" && exec chroot "$0" "$@"' \
        "$inside_root" $clean_env "$@"
}

install_in() { # ROOT SUITE POSTGRESQL SERVERS
    printf '#!/bin/sh\nexit 101\n' >"$1/usr/sbin/policy-rc.d" # nothing starts
    chmod 755 "$1/usr/sbin/policy-rc.d"
    mkdir -p "$1/etc/postgresql-common" "$1/hamgr"
    echo 'create_main_cluster = false' >"$1/etc/postgresql-common/createcluster.conf"
    echo "deb $mirror $2 main" >"$1/etc/apt/sources.list"
    [ "$2" = sid ] || echo "deb $mirror-security $2-security main" >>"$1/etc/apt/sources.list"
    [ "$2" != bookworm ] || echo "deb $mirror $2-backports main" >>"$1/etc/apt/sources.list"
    # sid's list is valid for a week only, and mirrors may stand still for longer
    echo 'Acquire::Check-Valid-Until "false";' >"$1/etc/apt/apt.conf.d/hamgr"
    inside "$1" apt-get update -qq &&
        inside "$1" apt-get install -y -qq --no-install-recommends -o Dpkg::Options::=--force-confold \
            $(packages "$3" "$4") && inside "$1" apt-get clean
}

make_root() { # SUITE POSTGRESQL SERVERS
    [ ! -d "$roots/$1" ] || return 0
    say "$1: making its root, some minutes"
    rm -rf "$roots/$1.part"
    { debootstrap --variant=minbase "$1" "$roots/$1.part" "$mirror" &&
        install_in "$roots/$1.part" "$1" "$2" "$3" && mv "$roots/$1.part" "$roots/$1"; } >"$roots/$1.log" 2>&1
}

# Called by this script in namespaces of its own, with which mounts and processes are gone. The root is
# a real one: tests mount file systems, too.
enter() { # SUITE COMMAND...
    root=$roots/$1
    shift
    ip link set lo up && mkdir -p "$root.build" && mount --bind "$root" "$root" &&
        mount --bind "$tree" "$root/hamgr" && mount -o remount,bind,ro "$root/hamgr" &&
        mount --bind "$root.build" "$root/hamgr/build" && mount -t proc proc "$root/proc" &&
        mount --rbind /dev "$root/dev" && mount --rbind /sys "$root/sys" &&
        mount -t tmpfs -o mode=1777 tmpfs "$root/tmp" || exit 1
    cd "$root" && pivot_root . . && umount -l . && cd /hamgr && exec $clean_env "$@"
}

run_in() { # SUITE LOG COMMAND...
    run_suite=$1
    run_log=$2
    shift 2
    unshare --mount --propagation private --pid --fork --kill-child --net --ipc \
        "$tree/tests/versions/run.sh" --enter "$run_suite" "$@" >"$run_log" 2>&1
}

version_of() { # SUITE PACKAGE
    inside "$roots/$1" dpkg-query -W -f='${source:Upstream-Version}' "$2" | sed 's/[+~].*//'
}

# One line: what it was, and how many tests passed and failed; a program that ended badly is one.
report() { # TEXT LOG RC
    counts=$(awk -v rc="$3" '
        /\[  PASSED  \] [0-9]+ test/ { passed += $4 }
        /\[  FAILED  \] [0-9]+ test/ { failed += $4 }
        END { if (rc != 0 && failed == 0) failed = 1; print passed + 0 " passed, " failed + 0 " failed" }' "$2")
    case "$counts" in
    *", 0 failed") ;;
    *) failed_all=1 ;;
    esac
    lines="$lines$(printf '%-10s %-52s %s' "$suite" "$1" "$counts")
"
}

run_suite() { # SUITE POSTGRESQL SERVERS
    suite=$1
    libraries="hiredis $(version_of "$1" libhiredis-dev), libpq $(version_of "$1" libpq-dev)"
    build="make -j$(nproc) -k CPPFLAGS=-DTESTS_PG=$2"
    say "$1: building, then its tests"
    run_in "$1" "$roots/$1.log" $build || { report "build with $libraries" "$roots/$1.log" 1; return; }
    run_in "$1" "$roots/$1-unit.log" $build check-unit
    report "unit tests, $libraries" "$roots/$1-unit.log" $?
    run_in "$1" "$roots/$1-pg.log" $build check-pg
    report "PostgreSQL $(version_of "$1" "postgresql-$2"), $libraries" "$roots/$1-pg.log" $?
    for server in $(echo "$3" | tr , ' '); do
        what=check-redis
        case "$(version_of "$1" "$server")" in
        6.[01].*) what=check-redis-old ;;
        esac
        run_in "$1" "$roots/$1-$server.log" env "REDIS_SERVER=/usr/bin/$server" $build $what
        report "$server $(version_of "$1" "$server"), $libraries" "$roots/$1-$server.log" $?
    done
}

if [ "${1-}" = --enter ]; then
    shift
    enter "$@"
    exit $?
fi
[ "$(id -u)" = 0 ] || { say "run it as root: it makes roots and namespaces" >&2; exit 1; }
command -v debootstrap >/dev/null || { say "debootstrap is missing: apt-get install debootstrap" >&2; exit 1; }
mkdir -p "$roots"
lines=
failed_all=0
wanted=" ${*:-$(echo "$table" | awk '{ print $1 }' | tr '\n' ' ')} "
while read -r suite pg servers; do
    case "$wanted" in
    *" $suite "*) ;;
    *) continue ;;
    esac
    if make_root "$suite" "$pg" "$servers"; then
        run_suite "$suite" "$pg" "$servers" </dev/null
    else
        report "no root: see build/versions/$suite.log" /dev/null 1
    fi
done <<END
$(echo "$table" | grep .)
END
printf '%s' "$lines"
exit $failed_all
