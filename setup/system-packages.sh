#!/usr/bin/env bash
# Installs the Debian or Ubuntu packages of a list (what the build needs) that are missing. As root it calls
# apt-get itself, otherwise through sudo; where it may not, it prints the exact command and stops.
set -euo pipefail
cd "$(dirname "$0")/.."
list=${1:-setup/packages.txt}

missing=()
while read -r package; do
    [[ -z $package ]] && continue
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q '^install ok installed$' || missing+=("$package")
done <"$list"
if [[ ${#missing[@]} -eq 0 ]]; then
    echo "✓ compiler and libraries present"
    exit 0
fi

# A new machine's own first update may hold the package manager's lock for a minute: wait for it.
install=(apt-get -o DPkg::Lock::Timeout=300 install -y --no-install-recommends "${missing[@]}")
if ! command -v apt-get >/dev/null; then
    echo "This machine has no apt-get. Install what corresponds to these Debian packages, then run make again:" >&2
    echo "    ${missing[*]}" >&2
    exit 1
fi
run=()
if [[ $(id -u) -ne 0 ]]; then
    if ! command -v sudo >/dev/null || ! { sudo -n true 2>/dev/null || { [[ -t 0 ]] && sudo -v; }; }; then
        echo "Missing system packages, and this user may not install them. Ask an administrator to run:" >&2
        echo "    sudo apt-get -o DPkg::Lock::Timeout=300 update && sudo ${install[*]}" >&2
        echo "then run make again." >&2
        exit 1
    fi
    run=(sudo)
fi
log=build/apt.log
mkdir -p build
echo "… installing ${#missing[@]} system packages: ${missing[*]}"
if ! { "${run[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update &&
    "${run[@]}" env DEBIAN_FRONTEND=noninteractive "${install[@]}"; } >"$log" 2>&1; then
    tail -n 15 "$log" >&2
    echo "Installing system packages failed (all of it: $log). The command was:" >&2
    echo "    ${run[*]} ${install[*]}" >&2
    exit 1
fi
echo "✓ system packages installed"
