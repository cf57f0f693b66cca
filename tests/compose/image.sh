#!/bin/sh
# Makes a root file system of Debian with what a host of the compose test needs but hamgr itself:
#   image.sh DIRECTORY
# By debootstrap, from the mirror of this machine: no registry of images is needed. Its packages are
# installed before there is any container, so that containers need no network outside.
set -eu
root=$1
mirror=$(sed -n 's/^URIs: *\([^ ]*\).*/\1/p; s/^deb  *\(\[[^]]*\] *\)\{0,1\}\([^ ]*\).*/\2/p' \
    /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list 2>/dev/null | head -n 1)

rm -rf "$root"
debootstrap --variant=minbase --include=systemd,systemd-sysv,dbus,iproute2,procps,nftables \
    bookworm "$root" "${mirror:-http://deb.debian.org/debian}"

# Nothing may be started while packages are installed.
printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
chmod 755 "$root/usr/sbin/policy-rc.d"
cp /etc/resolv.conf "$root/etc/resolv.conf"
if [ -e /etc/apt/sources.list.d/debian.sources ]; then
    cp /etc/apt/sources.list.d/debian.sources "$root/etc/apt/sources.list.d/"
    rm -f "$root/etc/apt/sources.list"
fi
mount -t proc proc "$root/proc"
trap 'umount "$root/proc"' EXIT
chroot "$root" /bin/sh -eu <<'END'
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends postgresql-15 libpq5 libevent-2.1-7 \
    libevent-openssl-2.1-7 libssl3 libconfig9 libprotobuf-c1 libsystemd0 libjansson4 libnftables1
apt-get clean
rm -rf /var/lib/apt/lists/* /usr/sbin/policy-rc.d
systemctl mask systemd-udevd.service systemd-resolved.service getty.target \
    systemd-firstboot.service apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer
END
