#!/bin/sh
# Builds dusk_VERSION_ARCH.deb into the folder that is given. Needs dpkg-deb and the program, built with
# `cargo build --profile router -p dusk`.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
out=${1:?"usage: build.sh FOLDER [PROGRAM]"}
program=${2:-$here/../../../target/router/dusk}
[ -x "$program" ] || { echo "there is no program at $program: cargo build --profile router -p dusk" >&2; exit 1; }

tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
chmod 0755 "$tree"
arch=$(dpkg --print-architecture)
install -D -m 0755 "$program" "$tree/usr/sbin/dusk"
install -D -m 0644 "$here/dusk.service" "$tree/usr/lib/systemd/system/dusk.service"
install -D -m 0755 "$here/postinst" "$tree/DEBIAN/postinst"
{ cat "$here/control"; echo "Architecture: $arch"; } >"$tree/DEBIAN/control"
dpkg-deb --root-owner-group --build "$tree" "$out" >/dev/null
echo "built the package into $out"
