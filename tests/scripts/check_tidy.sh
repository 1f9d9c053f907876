#!/usr/bin/env bash
# check_tidy.sh [--all | FILE...]: clang-tidy over the sources that differ from the main branch (or all, or those named),
# with the flags of build/release. Warnings are errors. About half a minute for a source that includes LibTorch.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
tidy=${CLANG_TIDY:-clang-tidy}
database=build/release/compile_commands.json
if ! command -v "$tidy" >/dev/null; then
  echo "tidy: skipped, no clang-tidy here (apt-get install clang-tidy)"
  exit 77
fi
if [ ! -f $database ]; then
  echo "tidy: no $database; run cmake --preset release first"
  exit 1
fi
pattern='^(base|data|models|dist|trainer|monitoring|launch)/.*\.cpp$'
if [ "${1:-}" = --all ]; then
  mapfile -t files < <(git ls-files -co --exclude-standard | grep -E "$pattern" || true)
elif [ $# -gt 0 ]; then
  files=("$@")
else
  base=$(git merge-base HEAD origin/main 2>/dev/null || git rev-parse HEAD)
  mapfile -t files < <({ git diff --name-only --diff-filter=d "$base"; git ls-files -o --exclude-standard; } |
    grep -E "$pattern" | sort -u || true)
fi
if [ ${#files[@]} -eq 0 ]; then
  echo "tidy: no changed source"
  exit 0
fi
# clang cannot read GCC's precompiled header, nor does it know every flag.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
sed -E 's| -Winvalid-pch| |; s| -include [^ ]*cmake_pch[^ ]*| |; s| -Wno-restrict| |' $database >"$work/compile_commands.json"
printf '%s\n' "${files[@]}" | xargs -P "$(nproc)" -n 1 "$tidy" -p "$work" --quiet 2> >(grep -v "warnings generated" >&2)
echo "tidy: ${#files[@]} files"
