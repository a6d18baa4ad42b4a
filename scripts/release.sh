#!/bin/sh
# Writes dist/towpath-VERSION-OS-ARCH.tar.gz for each system, with the worker, its plugins, the deploy files and the
# documents, and dist/SHA256SUMS. The same commit makes the same bytes: release.sh VERSION
set -eu
cd "$(dirname "$0")/.."
version=${1:?usage: release.sh VERSION}
systems=${SYSTEMS:-linux/amd64 linux/arm64 darwin/arm64}

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
