#!/bin/bash
# What a trial after the first costs, against a cold run without panicroom: a plain qemu-system-x86_64 boots the same kernel
# with the same initramfs, is crashed by SysRq-c as soon as kdump is armed, and has its dump judged.
# Cold runs and trials alternate, so that other load on the host hits both alike. bench/README.md tells what is measured.
#
#   bench/trial_ratio.sh [-s] [-r ROUNDS] [-n TRIALS] [-k KERNEL] [-b BUILD] [SCENARIO]
#
# Exits 0 if a trial's median is at most a third of a cold run's, 1 if it is not, 3 if it could not be measured.
set -euo pipefail

root=$(dirname "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")")
rounds=5
trials=5
kernel=${PANICROOM_TEST_KERNEL-}
cmdline=plain-cmdline
build=$root/build/release

die() {
  printf 'trial_ratio: %s\n' "$*" >&2
  exit 3
}

while getopts sr:n:k:b: option; do
  case $option in
    s) cmdline=cmdline ;;
    r) rounds=$OPTARG ;;
    n) trials=$OPTARG ;;
    k) kernel=$OPTARG ;;
    b) build=$(readlink -f "$OPTARG") ;;
    *) exit 3 ;;
  esac
done
shift $((OPTIND - 1))
scenario=${1-$root/scenarios/single-panic.yaml}
[[ $rounds =~ ^[1-9][0-9]*$ && $trials =~ ^[1-9][0-9]*$ ]] || die "-r and -n want a number from 1 on"
[[ -e $build/build.ninja ]] || die "there is no build in $build: run ./panicroom once, or name one with -b"

scratch=$(mktemp -d)
qemu=
end() {
  [[ -z $qemu ]] || kill -KILL "$qemu" 2>/dev/null || true
  rm -rf "$scratch"
}
trap end EXIT

cmake --build "$build" --target panicroom bench_programs >"$scratch/build.log" 2>&1 || {
  tail -n 20 "$scratch/build.log" >&2
  die "the build failed"
}
panicroom=$build/harness/cli/panicroom
[[ -n $kernel ]] || kernel=$("$panicroom" kernels fetch --print-path) || die "no kernel: name one with -k"
"$build/bench/panicroom_bench_machine" "$scenario" "$kernel" "$scratch/machine" || die "no machine for $scenario"

# now: microseconds since the epoch.
now() { printf '%s' "${EPOCHREALTIME/[.,]/}"; }

# Sets `took` to the microseconds from QEMU's start to the judged dump. 1 if the boot failed before kdump was armed.
cold_run() {
  local folder=$scratch/cold started console line message vcpus crashed=
  vcpus=$(<"$scratch/machine/vcpus")
  rm -rf "$folder"
  mkdir "$folder"
  mkfifo "$folder"/{console,agent}.{in,out}
  # Both ends, so that opening waits for nobody.
  exec {console}<>"$folder/console.in"
  cat "$folder/console.out" >"$folder/console.log" &
  started=$(now)
  # As panicroom's own machines are (hypervisor/qemu/domain_xml.cc), without libvirt, gdbstub and snapshots. SysRq-c is not
  # among the keys that Debian's kernels allow, so all are.
  qemu-system-x86_64 -accel tcg -machine pc -cpu max,-cx16 -smp "$vcpus,sockets=$vcpus" \
    -m "$(<"$scratch/machine/memory")k" -nodefaults -display none -no-reboot \
    -kernel "$kernel" -initrd "$scratch/machine/initramfs" \
    -append "$(<"$scratch/machine/$cmdline") sysrq_always_enabled" \
    -chardev "pipe,id=console,path=$folder/console,mux=on" -serial chardev:console \
    -chardev "pipe,id=agent,path=$folder/agent" -device isa-debugcon,iobase=0x402,readback=0,chardev=agent \
    2>"$folder/qemu.log" &
  qemu=$!
  took=
  while read -r line; do
    message=${line#*\] #* }
    case $message in
      armed,*)
        # Ctrl-A b: QEMU's multiplexer sends a break, which makes the next character a SysRq.
        crashed=yes
        printf '\001bc' >&"$console"
        ;;
      failed:*) die "cold run: the agent says \"$message\"" ;;
      judged:*)
        took=$(($(now) - started))
        [[ -n $crashed && $message == *", 0 failed,"* ]] || die "cold run: $message"
        break
        ;;
    esac
  done < <("$build/bench/panicroom_bench_messages" <"$folder/agent.out")
  kill -KILL "$qemu" 2>/dev/null || true
  wait "$qemu" 2>/dev/null || true
  qemu=
  exec {console}>&-
  [[ -n $took || -n $crashed ]] || return 1
  if [[ -z $took ]]; then
    tail -n 5 "$folder/qemu.log" "$folder/console.log" >&2
    die "cold run: QEMU ended without a judged dump"
  fi
  grep -q 'sysrq: Trigger a crash' "$folder/console.log" || die "cold run: it was not SysRq-c that crashed the kernel"
}

# Appends the seconds of the trials after the first to the file `warm`, and prints the first's and theirs.
warm_batch() {
  local out=$scratch/out
  rm -rf "$out"
  "$panicroom" run "$scenario" --kernel "$kernel" --engine qemu --repeat $((trials + 1)) --out "$out" >"$scratch/run.log" 2>&1 || {
    cat "$scratch/run.log" >&2
    die "panicroom run failed"
  }
  python3 - "$out/report.json" "$scratch/warm" <<'PYTHON'
import json, sys
runs = sorted(json.load(open(sys.argv[1]))["runs"], key=lambda run: run["repeat"])
if any(run["verdict"] != "VERDICT_PASS" for run in runs):
    sys.exit("a trial did not pass")
walls = [float(run["wall"].removesuffix("s")) for run in runs]
with open(sys.argv[2], "a") as warm:
    warm.writelines(f"{wall}\n" for wall in walls[1:])
print(f"first trial with its boot {walls[0]:.2f} s; the others " + " ".join(f"{wall:.2f}" for wall in walls[1:]) + " s")
PYTHON
}

printf '%s on %s: %d rounds of a cold run and %d trials\n' "$(basename "$scenario" .yaml)" "$(basename "$kernel")" "$rounds" "$trials"
failed_boots=0
for ((round = 1; round <= rounds; ++round)); do
  # A boot that fails now and then is the host's fault, and panicroom tries once more too. Its time does not count.
  until cold_run; do
    failed_boots=$((failed_boots + 1))
    ((failed_boots <= rounds)) || {
      tail -n 5 "$scratch/cold/qemu.log" "$scratch/cold/console.log" >&2
      die "$failed_boots cold boots failed before kdump was armed"
    }
  done
  printf '%d.%06d\n' $((took / 1000000)) $((took % 1000000)) >>"$scratch/cold.seconds"
  printf 'round %d: cold run %s s; ' "$round" "$(tail -n 1 "$scratch/cold.seconds" | sed 's/....$//')"
  warm_batch
done

python3 - "$scratch/cold.seconds" "$scratch/warm" "$failed_boots" <<'PYTHON'
import statistics, sys
cold, warm = ([float(line) for line in open(name)] for name in sys.argv[1:3])
for name, values in (("cold run", cold), ("trial after the first", warm)):
    print(f"{name + ':':23}median {statistics.median(values):6.2f} s   ({min(values):.2f} to {max(values):.2f}, n={len(values)})")
ratio = statistics.median(warm) / statistics.median(cold)
print(f"ratio:                 {ratio:.3f}   (at most 0.333 is asked)")
if sys.argv[3] != "0":
    print(f"{sys.argv[3]} cold boots failed before kdump was armed; they do not count")
sys.exit(0 if ratio <= 1 / 3 else 1)
PYTHON
