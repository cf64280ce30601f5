#!/bin/sh
# Makes configure and what belongs to it. Needs autoconf, automake, libtool and pkg-config.
set -eu
cd "$(dirname "$0")"
for tool in autoreconf automake libtoolize pkg-config; do
    command -v "$tool" >/dev/null || {
        echo "autogen.sh: $tool is missing; scripts/setup installs what is needed" >&2
        exit 1
    }
done
mkdir -p build-aux m4
exec autoreconf -fi
