#!/bin/bash
# Fails if ShellCheck finds fault with a shell script. Arguments: the shellcheck program, the source folder.
set -euo pipefail
cd "$2"
mapfile -d '' -t files < <(find . \( -path ./build -o -path ./.git -o -path ./panicroom-out \) -prune -o -type f -print0 |
  xargs -0 awk 'FNR == 1 { if (/^#!.*(bash|\/sh)/) printf "%s%c", FILENAME, 0; nextfile }' | sort -z)
if ((${#files[@]} == 0)); then
  echo "no scripts found under $2"
  exit 1
fi
"$1" --external-sources "${files[@]}"
echo "${#files[@]} scripts are clean"
