#!/usr/bin/env bash
# Cross-compiles everything written in C for ARM64 and runs the C tests under qemu-user, on a Debian
# machine of another architecture (Ubuntu keeps ARM64 on another mirror). The compiler and the emulator are installed as setup/system-packages.sh
# installs; ARM64's libraries are unpacked into build/arm64/sysroot and never touch the system.
#
# qemu-user cannot run everything, and each part that is left out is named by test_ledger itself:
#   ptrace       no single steps: being killed after any instruction, and the laws after each one
#   robust       set_robust_list does not reach the kernel: a mutex whose owner was killed stays locked
#   start_time   a process's own /proc/PID/stat is invented: who holds the ledger's place is judged wrongly
# Nor does it show a missing fence: a guest's loads and stores are the host's. Those are argued where they
# stand (bridge/ledger_private.h, ring.h), and test_ledger_order shows on x86 what the gate's fence is for.
set -euo pipefail
cd "$(dirname "$0")/.."

build=build/arm64
sysroot=$build/sysroot
compiler=aarch64-linux-gnu-gcc
libraries=(libc6-dev)
while read -r package; do
    [[ $package == lib*-dev || $package == zlib1g-dev ]] && libraries+=("$package")
done <setup/packages.txt
mkdir -p "$build"

fail() {
    tail -n 15 "$build/arm64.log" >&2
    echo "$1 (all of it: $build/arm64.log)" >&2
    exit 1
}

# The tools, from this machine's own packages.
if ! command -v $compiler >/dev/null || ! command -v qemu-aarch64-static >/dev/null; then
    printf '%s\n' gcc-aarch64-linux-gnu qemu-user-static >"$build/packages.txt"
    setup/system-packages.sh "$build/packages.txt"
fi

# The libraries, with an apt of our own: its lists, its cache, nothing installed.
if [[ ! -e $sysroot/.complete ]]; then
    echo "… fetching ARM64 libraries into $sysroot"
    apt=$PWD/$build/apt
    rm -rf "$apt" "$sysroot"
    mkdir -p "$apt"/{state/lists/partial,cache/archives/partial} "$sysroot"
    : >"$apt/state/status"
    options=(-o APT::Architecture=arm64 -o APT::Architectures::=arm64 -o APT::Install-Recommends=false
        -o Dir::State="$apt/state" -o Dir::State::status="$apt/state/status" -o Dir::Cache="$apt/cache"
        -o Debug::NoLocking=1)
    [[ $(id -u) -eq 0 ]] && options+=(-o APT::Sandbox::User=root)
    { apt-get "${options[@]}" update && apt-get "${options[@]}" install -y --download-only "${libraries[@]}"; } \
        >"$build/arm64.log" 2>&1 || fail "Fetching ARM64 libraries failed"
    for archive in "$apt"/cache/archives/*.deb; do
        dpkg -x "$archive" "$sysroot"
    done
    rm -rf "$apt"
    touch "$sysroot/.complete"
fi

make --no-print-directory -j "$(nproc)" BUILD=$build BIN=$build/bin CC="$compiler --sysroot=$PWD/$sysroot" OPT=-O2 \
    $build/bin/trader c-tests

failed=0
export PURSER_TEST_WITHOUT=ptrace,robust,start_time
for source in tests/c/test_*.c; do
    program=$(basename "$source" .c)
    if timeout 300 qemu-aarch64-static -L "$sysroot" "$build/tests/$program" >"$build/$program.log" 2>&1; then
        echo "✓ $program"
        grep '^left out: ' "$build/$program.log" | sort | uniq -c | sed 's/^ *\([0-9]*\) left out/    \1 × left out/' || true
    else
        failed=1
        echo "✗ $program: $build/$program.log" >&2
        tail -n 5 "$build/$program.log" >&2
    fi
done
[[ $failed -ne 0 ]] || echo "✓ $build/bin/trader built without a warning, and all C tests pass under qemu"
exit $failed
