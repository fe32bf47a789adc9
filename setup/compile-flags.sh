#!/usr/bin/env bash
# The one place that decides for which processor the compiler works: prints the flags for the Makefile, and
# for bridge/build.py and c_core/build.py, so that programs and Python modules never disagree.
#   OPT set         that, as it stands (the Makefile hands on what it uses)
#   PORTABLE=1      -O2: runs on every machine of the architecture
#   x86-64          -march=x86-64-v3 where this processor has all of it: what is built here runs here
#   anything else   -O2
# CPUINFO: another file in the place of /proc/cpuinfo, for the test.
set -euo pipefail

if [[ -n ${OPT:-} ]]; then
    echo "$OPT"
    exit 0
fi
cpuinfo=${CPUINFO:-/proc/cpuinfo}
flags=-O2
if [[ -z ${PORTABLE:-} && $(uname -m) == x86_64 && -r $cpuinfo ]]; then
    has=" $(grep -m1 '^flags' "$cpuinfo" | cut -d: -f2) "
    flags+=" -march=x86-64-v3"
    # What the psABI lists for x86-64-v3, above SSE4.2; the kernel calls LZCNT abm, and clears avx when the
    # system does not save its registers.
    for feature in sse4_2 popcnt avx avx2 bmi1 bmi2 f16c fma abm movbe xsave; do
        [[ $has == *" $feature "* ]] || { flags=-O2; break; }
    done
fi
echo "$flags"
