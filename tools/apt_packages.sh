#!/bin/bash
# Installs the system packages that building, testing and the demo need, and says what to do where it may not.
set -euo pipefail

packages=(
    build-essential cmake nasm pkg-config # the C codecs and the cryptography are compiled from source
    libvpx-dev                            # linked in statically
    chromium                              # browser tests
    espeak-ng ffmpeg                      # the demo's speaker and its recording
)

command -v dpkg-query >/dev/null || { echo "not a Debian system: install the counterparts of: ${packages[*]}" >&2; exit 0; }
missing=()
for package in "${packages[@]}"; do
    [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) == installed ]] || missing+=("$package")
done
((${#missing[@]})) || exit 0

if ((EUID == 0)); then
    as_root=()
elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
    as_root=(sudo)
else
    echo "missing system packages, and no right to install them. Ask an administrator to run:" >&2
    echo "    apt-get install ${missing[*]}" >&2
    exit 1
fi
echo "installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
