#!/bin/bash
# Prints the path of a livekit-server for the tests: $LIVEKIT_SERVER, else one that is built once with Go and kept in the user's cache.
# Where it cannot be built it says why and prints nothing: the tests against it are skipped then.
set -euo pipefail

version=v1.13.5
cache=${XDG_CACHE_HOME:-$HOME/.cache}/greenroom
binary=$cache/livekit-server-$version

if [[ -n ${LIVEKIT_SERVER:-} ]]; then
    echo "$LIVEKIT_SERVER"
    exit 0
fi
if [[ ! -x $binary ]]; then
    command -v go >/dev/null || { echo "no Go here to build livekit-server with: its tests are skipped" >&2; exit 0; }
    echo "building livekit-server $version, once" >&2
    mkdir -p "$cache"
    built=$(mktemp -d "$cache/building.XXXXXX")
    trap 'rm -rf "$built"' EXIT
    GOTOOLCHAIN=local GOFLAGS=-mod=mod CGO_ENABLED=0 GOBIN=$built timeout 900 \
        go install -trimpath -ldflags='-s -w' "github.com/livekit/livekit-server/cmd/server@$version" >&2 ||
        { echo "livekit-server could not be built: its tests are skipped" >&2; exit 0; }
    mv "$built/server" "$binary"
fi
echo "$binary"
