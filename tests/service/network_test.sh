#!/bin/bash
# A client on another host: two network namespaces, mutual TLS between them. It starts the catalogue, watches it, loses its
# connection and even its address in the middle, comes back, and fetches the report and a dump.
#   network_test.sh PANICROOM SCENARIOS SCRATCH
# Exits 77, with the reason as the last line, where the host does not let it make network namespaces or has no kernel.
set -euo pipefail

panicroom=$1 scenarios=$2 scratch=$3

skip() {
  printf 'skipped: %s\n' "$1"
  exit 77
}
die() {
  printf 'FAILED: %s\n' "$1"
  tail -n 20 "$scratch"/*.log 2>/dev/null || true
  exit 1
}

[[ -n ${PANICROOM_TEST_KERNEL-} ]] || skip "no kernel: ${PANICROOM_TEST_KERNEL_MISSING-PANICROOM_TEST_KERNEL is not set}"
[[ $(id -u) == 0 ]] || skip 'only root may make network namespaces'
here=panicroom-server-$$ there=panicroom-client-$$
ip netns add "$here" 2>/dev/null || skip 'the kernel does not let this process make network namespaces'

server_pid='' runtime=''
# shellcheck disable=SC2317 # Called by the trap.
clean_up() {
  [[ -z $server_pid ]] || kill -TERM "$server_pid" 2>/dev/null || true
  [[ -z $server_pid ]] || wait "$server_pid" 2>/dev/null || true
  [[ -z $runtime ]] || rm -rf "$runtime"
  ip netns delete "$here" 2>/dev/null || true
  ip netns delete "$there" 2>/dev/null || true
}
trap clean_up EXIT

rm -rf "$scratch"
mkdir -p "$scratch"
# The sockets in it have short paths at most.
runtime=$(mktemp -d /tmp/pr-XXXXXX)
ip netns add "$there"
ip link add pr-server netns "$here" type veth peer name pr-client netns "$there"
ip -n "$here" address add 192.0.2.1/24 dev pr-server
ip -n "$here" link set pr-server up
ip -n "$there" address add 192.0.2.2/24 dev pr-client
ip -n "$there" link set pr-client up

# An authority, and a certificate for each side.
cd "$scratch"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=lab -keyout ca.key -out ca.pem 2>openssl.log
issue() { # NAME ALTERNATIVE-NAME
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$1" -addext "subjectAltName=$2" -keyout "$1.key" \
    -out "$1.csr" 2>>openssl.log
  openssl x509 -req -in "$1.csr" -CA ca.pem -CAkey ca.key -CAcreateserial -copy_extensions copy -days 2 -out "$1.pem" 2>>openssl.log
  chmod 600 "$1.key"
}
issue server IP:192.0.2.1
issue ci DNS:ci.example.org
issue guest DNS:guest.example.org
printf 'clients: {ci.example.org: run, guest.example.org: view}\n' >clients.yaml
sed 's/^name: .*/name: saved-dump/' "$scenarios/oops.yaml" >saved.yaml
sed -i '/^dump:/d' saved.yaml
printf 'dump: {save: true}\n' >>saved.yaml

# The server stands in the one namespace; it says its address when it listens.
mkfifo said
XDG_RUNTIME_DIR=$runtime ip netns exec "$here" "$panicroom" serve --state "$scratch/state" --listen 192.0.2.1:0 \
  --tls-certificate server.pem --tls-key server.key --tls-ca ca.pem --clients clients.yaml --catalogue "$scenarios" \
  --allow-kernels "$(dirname "$PANICROOM_TEST_KERNEL")" >said 2>server.log &
server_pid=$!
read -r address <said || die 'the server did not start'
printf 'server at %s\n' "$address"

client() { # NAME COMMAND... : panicroom, with that client's certificate, from the other namespace.
  local name=$1
  shift
  ip netns exec "$there" "$panicroom" "$@" --server "$address" --tls-certificate "$name.pem" --tls-key "$name.key" --tls-ca ca.pem
}

if client guest run saved.yaml --kernel "$PANICROOM_TEST_KERNEL" >refused.log 2>&1; then die 'a viewer started a run'; fi
grep -q 'has the role view' refused.log || die 'a viewer was refused for another reason'

client ci run catalogue:. saved.yaml --kernel "$PANICROOM_TEST_KERNEL" --out out >run.log 2>run-errors.log &
run_pid=$!

verdicts() { # FILE : how many trials it tells of.
  grep -cE '^(pass|fail|error|skip) ' "$1" || true
}
wait_until() { # CONDITION... : while the client lives.
  until "$@"; do
    kill -0 "$run_pid" 2>/dev/null || die "the client ended before $*"
    sleep 0.2
  done
}
decided() { [[ $(verdicts run.log) -ge $1 ]]; }
server_decided() { [[ $(find state/runs/1/out -name events.jsonl -size +0 | wc -l) -ge $1 ]]; }

wait_until decided 3
told=$(verdicts run.log)
# The client's host loses its network, and the address that its connections were from.
ip -n "$there" link set pr-client down
ip -n "$there" address flush dev pr-client
printf 'connection lost behind %s verdicts\n' "$told"
wait_until server_decided $((told + 4))
[[ $(verdicts run.log) -le $((told + 1)) ]] || die 'the connection was not lost'
ip -n "$there" address add 192.0.2.3/24 dev pr-client
ip -n "$there" link set pr-client up
printf 'network back, under another address\n'

status=0
wait "$run_pid" || status=$?
run_pid=$$
[[ $status == 0 ]] || die "the run's exit status is $status"
grep -q 'connection' run-errors.log || die 'the client did not notice'

# Every trial once, and as a client sees them that was never cut off.
client ci runs watch 1 >again.log 2>again-errors.log || die 'the run cannot be watched again'
diff <(grep -E '^(pass|fail|error|skip) ' run.log | awk '{print $1, $2}') \
  <(grep -E '^(pass|fail|error|skip) ' again.log | awk '{print $1, $2}') || die 'verdicts were lost or told twice'
[[ $(verdicts run.log) == $(find state/runs/1/out -name events.jsonl | wc -l) ]] || die 'not every trial was told'

# What was fetched is what the server has, the dump among it.
diff <(cd state/runs/1/out && find . -type f -exec sha256sum {} + | sort -k 2) \
  <(cd out && find . -type f ! -name '*.part' -exec sha256sum {} + | sort -k 2) || die 'files differ'
dump=$(find out -name 'vmcore*' -size +1M | head -n 1)
[[ -n $dump ]] || die 'there is no dump'
printf '%s trials, every one told once; %s files with equal checksums, a dump of %s bytes among them\n' "$(verdicts run.log)" \
  "$(find out -type f | wc -l)" "$(stat -c %s "$dump")"
