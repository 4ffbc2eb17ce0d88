#!/bin/bash
# Fails if a C++ source is not as clang-format would have it. Arguments: the clang-format program, the source folder.
set -euo pipefail
cd "$2"
mapfile -d '' -t files < <(find . \( -path ./build -o -path ./.git -o -path ./panicroom-out \) -prune -o -type f \
  \( -name '*.cc' -o -name '*.h' -o -name '*.c' \) -print0 | sort -z)
if ((${#files[@]} == 0)); then
  echo "no sources found under $2"
  exit 1
fi
"$1" --dry-run -Werror "${files[@]}"
echo "${#files[@]} files are formatted"
