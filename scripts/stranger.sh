#!/bin/sh
# Follows docs/quickstart.md word by word as a stranger: in a clean Debian root, with nothing of this machine but Go and
# the modules that it has downloaded already. Needs root, and a Debian or Ubuntu that knows a mirror.
set -eu
cd "$(dirname "$0")/.."
. scripts/packages.sh

[ "$(id -u)" = 0 ] || fail 'Only root can make a clean root: run this as root.'
command -v apt-get >/dev/null || fail 'This system has no apt-get, whose mirror the clean root is made from.'
command -v debootstrap >/dev/null || {
	become_root debootstrap
	say 'Installing debootstrap with apt-get.'
	apt update
	apt install debootstrap
}

# Mounts are this script's own: they go with it, whatever becomes of it.
[ "${STRANGER:-}" = inside ] || STRANGER=inside exec unshare --mount --propagation private "$0" "$@"

# The mirror and the release of this system, as its own apt has them.
at=$(apt-get indextargets --format '$(REPO_URI) $(CODENAME) $(ORIGIN)' 'Created-By: Packages' | grep -E ' (Debian|Ubuntu)$' |
	grep -v -e security -e updates -e backports | head -n 1)
mirror=${at%% *} release=${at#* } release=${release%% *}
[ -n "$mirror" ] || fail "apt knows no mirror of this system: run \"apt-get update\" and try again."

root=$(mktemp -d /tmp/towpath-stranger-XXXXXX)
trap 'umount -R "$root" 2>/dev/null || true; rm -rf --one-file-system "$root"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
chmod 755 "$root"
mount -t tmpfs -o mode=755,size=6g towpath "$root"
say "A clean root of $release"
debootstrap --variant=minbase --include=ca-certificates,git,make "$release" "$root" "$mirror" >"$root.log" 2>&1 ||
	{ tail -n 20 "$root.log" >&2; rm -f "$root.log"; fail 'debootstrap failed'; }
rm -f "$root.log"
for file in /etc/resolv.conf /etc/apt/apt.conf.d/*proxy* /etc/ssl/certs/ca-certificates.crt; do
	[ ! -f "$file" ] || cp -L "$file" "$root$file"
done
mkdir -p "$root/usr/local/go" "$root/modules" "$root/src"
mount --bind -o ro "$(go env GOROOT)" "$root/usr/local/go"
mount --bind -o ro "$(go env GOMODCACHE)" "$root/modules"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
git clone -q "$PWD" "$root/src/towpath"

# What the page asks for besides git, make and Go is Postgres, by the command that it names.
env -i HOME=/root LANG=C.UTF-8 PATH=/usr/local/go/bin:/usr/sbin:/usr/bin:/sbin:/bin GOTOOLCHAIN=local \
	GOPROXY="file:///modules/cache/download,$(go env GOPROXY)" \
	chroot "$root" sh -euc 'cd /src/towpath; make -s postgres; exec scripts/pages.sh docs/quickstart.md'
