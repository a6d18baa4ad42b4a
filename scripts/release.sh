#!/bin/sh
# Writes dist/towpath-VERSION-OS-ARCH.tar.gz for each system, with the worker, its plugins, the deploy files and the
# documents, and dist/SHA256SUMS. The same commit makes the same bytes: release.sh VERSION
set -eu
cd "$(dirname "$0")/.."
version=${1:?usage: release.sh VERSION}
systems=${SYSTEMS:-linux/amd64 linux/arm64 darwin/arm64}

# What is released is out there: its functions and migrations must stay as they are from now on.
functions=$(sed -n 's/^const Version = //p' sql/embed.go)
grep -q "^functions $functions " sql/published.txt || {
	echo "version $functions of the functions is not recorded as published: run make publish, and commit sql/published.txt" >&2
	exit 1
}

rm -rf dist
"${MAKE:-make}" -s build
stamp=$(git log -1 --format=%ct)
for system in $systems; do
	name=towpath-$version-${system%/*}-${system#*/}
	mkdir -p "dist/$name"
	CGO_ENABLED=0 GOOS=${system%/*} GOARCH=${system#*/} go build -trimpath -ldflags='-s -w' -o "dist/$name/worker" ./cmd/worker
	cp -R bin/plugins deploy docs LICENSE README.md CHANGELOG.md "dist/$name/"
	tar --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$stamp" -C dist -cf - "$name" | gzip -n >"dist/$name.tar.gz"
	rm -rf "dist/$name"
done
cd dist
sha256sum ./*.tar.gz >SHA256SUMS
cat SHA256SUMS
