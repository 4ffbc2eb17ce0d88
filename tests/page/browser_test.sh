#!/bin/bash
# Runs browser_test.mjs where there is a browser, Node.js and the two npm packages of package-lock.json, which are installed
# below the build folder. Exits with 77, after a line that says what is missing, where there is not.
#
#   browser_test.sh PANICROOM SCRATCH
set -euo pipefail

here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
program=$1
scratch=$2

skip() {
  printf '%s\n' "$*"
  exit 77
}

chromium=$(command -v chromium) || skip "there is no chromium: apt-get install chromium"
command -v node >/dev/null || skip "there is no node: apt-get install nodejs"
command -v npm >/dev/null || skip "there is no npm: apt-get install npm"
major=$(node -p 'process.versions.node.split(".")[0]')
((major >= 20)) || skip "playwright-core needs Node.js 20 or newer; this is $(node --version)"

mkdir -p "$scratch"
cp "$here"/package.json "$here"/package-lock.json "$scratch"
# Each package's hash stands in the lock file; what does not fit it is refused.
(cd "$scratch" && npm ci --ignore-scripts --no-audit --no-fund) >"$scratch/npm.log" 2>&1 ||
  skip "npm could not install playwright-core and axe-core: $(grep -m1 'npm error' "$scratch/npm.log" || tail -n 1 "$scratch/npm.log")"
exec node "$here/browser_test.mjs" "$program" "$chromium" "$scratch"
