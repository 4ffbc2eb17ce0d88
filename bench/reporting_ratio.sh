#!/bin/bash
# What events, the vCPUs' places and the page add to a trial, in one run. bench/README.md tells what is measured.
#
#   bench/reporting_ratio.sh [-n TRIALS] [-k KERNEL] [-b BUILD] [SCENARIO]
set -euo pipefail

root=$(dirname "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")")
trials=10
kernel=${PANICROOM_TEST_KERNEL-}
build=$root/build/release

die() {
  printf 'reporting_ratio: %s\n' "$*" >&2
  exit 3
}

while getopts n:k:b: option; do
  case $option in
    n) trials=$OPTARG ;;
    k) kernel=$OPTARG ;;
    b) build=$(readlink -f "$OPTARG") ;;
    *) exit 3 ;;
  esac
done
shift $((OPTIND - 1))
scenario=${1-$root/scenarios/second-panic-must-not-stop-the-dump.yaml}
[[ $trials =~ ^[1-9][0-9]*$ ]] || die "-n wants a number from 1 on"
[[ -e $build/build.ninja ]] || die "there is no build in $build: run ./panicroom once, or name one with -b"

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cmake --build "$build" --target panicroom panicroom_bench_reporting >"$scratch/build.log" 2>&1 || {
  tail -n 20 "$scratch/build.log" >&2
  die "the build failed"
}
[[ -n $kernel ]] || kernel=$("$build/harness/cli/panicroom" kernels fetch --print-path) || die "no kernel: name one with -k"
"$build/bench/panicroom_bench_reporting" "$scenario" "$kernel" "$scratch/out" "$trials" || die "nothing was measured"
