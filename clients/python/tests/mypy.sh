#!/bin/bash
# Checks the types of the built Python package and of its examples: mypy.sh PACKAGE EXAMPLES
set -euo pipefail

package=$1
examples=$2

# Debian's, which finds Debian's modules.
mypy=/usr/bin/mypy
[[ -x $mypy ]] || mypy=$(command -v mypy) || {
  echo "there is no mypy: apt-get install mypy"
  exit 77
}
cd "$package"
"$mypy" --config-file pyproject.toml panicroom_client
# Each by itself: both are programs.
for example in "$examples"/*.py; do
  MYPYPATH=. "$mypy" --config-file pyproject.toml "$example"
done
