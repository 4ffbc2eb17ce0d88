#!/bin/bash
# What ./panicroom does before there is a program: in a tree of its own, with programs of its own for dpkg-query, apt-get,
# sudo, cmake and so on, so that nothing is installed or built. Argument: the source folder.
set -euo pipefail

source_folder=$1
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
failures=0

fail() {
  echo "FAILED: $*"
  sed 's/^/    /' "$scratch/output"
  failures=$((failures + 1))
}
expect_output() { grep -q -F -- "$1" "$scratch/output" || fail "$2: no \"$1\" in the output"; }
expect_status() { [[ $status == "$1" ]] || fail "$2: exit status $status, not $1"; }

# fake NAME: a program in the fake PATH, its text from standard input.
fake() {
  { echo '#!/bin/bash'; cat; } >"$scratch/bin/$1"
  chmod +x "$scratch/bin/$1"
}

new_tree() {
  rm -rf "${scratch:?}/tree" "${scratch:?}/bin" "${scratch:?}/calls"
  mkdir -p "$scratch/tree" "$scratch/bin"
  local name
  cp "$source_folder/panicroom" "$scratch/tree/"
  mkdir "$scratch/tree/"{packaging,cmake,base,proto,agent,kernels,hypervisor,harness}
  touch "$scratch/tree/"{CMakeLists.txt,CMakePresets.json}
  printf '%s\n' '# comment' 'build  g++  # compiler' 'run  qemu-old | qemu-new  # engine' 'test  clang # tests' \
    >"$scratch/tree/packaging/debian-packages.txt"
  for name in bash cat chmod cut env find flock grep mkdir mv readlink rm sed stat tail tee touch; do
    ln -s "$(command -v "$name")" "$scratch/bin/$name"
  done
  fake dpkg-query <<<"printf 'installed %s\n' g++ qemu-new"
  fake apt-get <<<"echo \"apt-get \$*\" >>'$scratch/calls'"
  fake apt-cache <<<"[[ \$3 == qemu-new ]] && echo \"Package: \$3\""
  fake sudo <<<"echo \"sudo \$1\" >>'$scratch/calls'; exec \"\$@\""
  fake getent <<<"[[ ! -e '$scratch/no-account' ]]"
  fake useradd <<<"echo \"useradd \$*\" >>'$scratch/calls'"
  # Configuring makes the build folder, building makes a program that tells its arguments.
  fake cmake <<E2
echo "cmake \$*" >>'$scratch/calls'
if [[ \$1 == --build ]]; then
  echo '[1/2] Compiling'
  mkdir -p "\$2/harness/cli"
  printf '#!/bin/bash\necho "program: \$*"\n' >"\$2/harness/cli/panicroom"
  chmod +x "\$2/harness/cli/panicroom"
else
  mkdir -p build/release
  echo "CMAKE_HOME_DIRECTORY:INTERNAL=\$PWD" >build/release/CMakeCache.txt
  touch build/release/build.ninja
fi
E2
}

# launch ARGUMENT... : the launcher by its path, from another folder.
launch() {
  status=0
  (cd / && PATH=$scratch/bin "${launcher:-$scratch/tree/panicroom}" "$@") >"$scratch/output" 2>&1 || status=$?
}

new_tree
launch run 'a b'
expect_status 0 "first start"
expect_output "program: run a b" "first start"
grep -q apt-get "$scratch/calls" && fail "first start: apt-get was called though nothing was missing"

: >"$scratch/calls"
launch doctor
expect_output "program: doctor" "second start"
[[ -s $scratch/calls ]] && fail "second start: something was built again"

touch "$scratch/tree/base/new.cc"
launch doctor
grep -q -- --build "$scratch/calls" || fail "a new source did not start a build"
: >"$scratch/calls"
rm "$scratch/tree/base/new.cc"
launch doctor
grep -q -- --build "$scratch/calls" || fail "a removed source did not start a build"

new_tree
ln -s tree/panicroom "$scratch/link"
launcher=$scratch/link launch check
expect_output "program: check" "through a symbolic link"

new_tree
fake dpkg-query <<<"echo 'installed qemu-new'"
launch run
expect_status 0 "missing package"
expect_output "installing 1 Debian packages" "missing package"
expect_output "  g++" "missing package"
grep -q 'install -y --no-install-recommends g++$' "$scratch/calls" || fail "g++ was not installed: $(cat "$scratch/calls")"

new_tree
fake dpkg-query <<<"echo 'installed g++'"
launch run
grep -q 'recommends qemu-new$' "$scratch/calls" || fail "the alternative that apt knows was not chosen"

new_tree
fake dpkg-query <<<"echo 'installed qemu-new'"
fake apt-get <<<"echo 'E: Unable to locate package g++'; exit 100"
launch run
expect_status 3 "apt-get fails"
expect_output "E: Unable to locate package g++" "apt-get fails"
expect_output "apt-get could not install the packages" "apt-get fails"

new_tree
rm "$scratch/bin/dpkg-query"
launch run
expect_output "this is not a Debian system" "not Debian"
expect_output "qemu-old | qemu-new  # engine" "not Debian"

new_tree
fake cmake <<<"echo '[1/2] a'; echo 'FAILED: base/a.o'; echo 'a.cc:1: error: no'; exit 1"
touch "$scratch/tree/build.ninja"
launch run
expect_status 3 "configuring fails"
expect_output "a.cc:1: error: no" "configuring fails"

# An update of the tree during the build replaces the very script that runs.
new_tree
mv "$scratch/bin/cmake" "$scratch/bin/real-cmake"
fake cmake <<<"yes ')' | head -c 20000 >'$scratch/tree/panicroom'; exec real-cmake \"\$@\""
ln -s "$(command -v yes)" "$(command -v head)" "$scratch/bin/"
launch run
expect_status 0 "the launcher changes under way"
expect_output "program: run" "the launcher changes under way"

new_tree
launch run
touch "$scratch/tree/base/new.cc"
fake cmake <<<"echo '[1/2] a'; echo 'FAILED: base/a.o'; echo 'a.cc:1: error: no'; exit 1"
launch run
expect_status 3 "building fails"
expect_output "a.cc:1: error: no" "building fails"
expect_output "logs/release.log" "building fails"
launch run
expect_status 3 "a build that failed must be tried again"

# The tests' two builds. The second is begun beside the tests of the first: here it hangs until it is ended, and is tried
# again once those tests are done.
new_tests() {
  new_tree
  local name
  for name in renice sleep; do ln -s "$(command -v "$name")" "$scratch/bin/$name"; done
  mkdir -p "$scratch/tree/tests"
  mkfifo "$scratch/began"
  mv "$scratch/bin/cmake" "$scratch/bin/real-cmake"
  fake cmake <<E2
if [[ "\$*" == "--build "*asan-ubsan* && ! -e '$scratch/beside' ]]; then
  echo "\$\$" >'$scratch/beside'
  echo begun >'$scratch/began'
  exec sleep infinity
fi
exec real-cmake "\$@"
E2
  cat >"$scratch/tree/tests/run" <<E2
#!/bin/bash
echo "tests: \$*" >>'$scratch/calls'
[[ \$1 == release ]] || exit 0
read -r <'$scratch/began'
exit ${1-0}
E2
  chmod +x "$scratch/tree/tests/run"
  fake python3 <<<"echo \"tally: \$2 \$3\""
}
expect_ended() {
  local state
  state=$(sed -n 's/^State:[[:space:]]*//p' "/proc/$(<"$scratch/beside")/status" 2>/dev/null) || state=gone
  [[ $state == gone || $state == Z* ]] || fail "$1: the build beside the tests outlives them"
  rm "$scratch/began" "$scratch/beside"
}
new_tests
launch test -R 'a b'
expect_status 0 "the tests"
expect_output "tally: $scratch/tree/build/release/test-results $scratch/tree/build/asan-ubsan/test-results" "the tests"
for call in "tests: release -R a b" "tests: asan-ubsan -R a b"; do
  grep -q -x -F "$call" "$scratch/calls" || fail "the tests: no call \"$call\" in: $(cat "$scratch/calls")"
done
built=$(grep -n -e '--build .*asan-ubsan' "$scratch/calls" | tail -n 1 | cut -d: -f1)
((built < $(grep -n 'tests: asan-ubsan' "$scratch/calls" | cut -d: -f1))) || fail "the tests: of a build that is not whole"
expect_ended "the tests"

new_tests 130
launch test
expect_status 130 "tests that are interrupted"
expect_ended "tests that are interrupted"

# libvirt's account, as root only.
if ((EUID == 0)); then
  new_tree
  touch "$scratch/no-account"
  launch
  rm "$scratch/no-account"
  expect_status 0 "no account"
  grep -q '^useradd .*libvirt-qemu$' "$scratch/calls" || fail "no account: it was not created"
fi

# As an ordinary user, where this runs as root.
if ((EUID == 0)) && command -v setpriv >/dev/null; then
  new_tree
  chmod 755 "$scratch"
  chown -R 65534 "$scratch/tree"
  touch "$scratch/calls"
  chmod 666 "$scratch/calls"
  as_user=$(command -v setpriv)
  fake dpkg-query <<<"echo 'installed qemu-new'"
  launch_as_user() {
    status=0
    (cd / && PATH=$scratch/bin "$as_user" --reuid 65534 --clear-groups "$scratch/tree/panicroom" "$@") \
      >"$scratch/output" 2>&1 || status=$?
  }
  launch_as_user run
  expect_status 0 "ordinary user"
  grep -q '^sudo apt-get$' "$scratch/calls" || fail "apt-get was not run by sudo"

  rm -rf "$scratch/bin/sudo" "$scratch/tree/build"
  launch_as_user run
  expect_status 3 "neither root nor sudo"
  expect_output "apt-get install -y --no-install-recommends g++" "neither root nor sudo"

  chown -R 0 "$scratch/tree"
  launch_as_user run
  expect_status 3 "another's tree"
  expect_output "cannot write to $scratch/tree/build/logs" "another's tree"
fi

if ((failures)); then exit 1; fi
echo "the launcher does as it should"
