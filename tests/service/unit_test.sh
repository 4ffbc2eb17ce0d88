#!/bin/bash
# The service's systemd unit has no mistakes, and keeps a broken guest in.
#   unit_test.sh UNIT SCRATCH
# Exits 77, with the reason as the last line, where there is no systemd-analyze.
set -euo pipefail

unit=$1 scratch=$2

command -v systemd-analyze >/dev/null || {
  echo 'skipped: there is no systemd-analyze: apt-get install systemd'
  exit 77
}
rm -rf "$scratch"
mkdir -p "$scratch"
# The program need not be installed for this.
sed 's#^ExecStart=[^ ]*#ExecStart=/bin/true#; s#^Documentation=.*#Documentation=man:true(1)#' "$unit" >"$scratch/panicroom.service"
mistakes=$(systemd-analyze verify --man=no "$scratch/panicroom.service" 2>&1 | grep 'panicroom\.service' || true)
[[ -z $mistakes ]] || {
  printf '%s\n' "$mistakes"
  exit 1
}
# At most 2.5 of 10: what systemd calls "OK" ends there.
systemd-analyze security --offline=true --threshold=25 "$scratch/panicroom.service" | tail -n 1
