#!/usr/bin/env bash
# clang-format over all sources. Ends with 77 (skipped) where there is no clang-format. With --fix, formats in place.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
format=${CLANG_FORMAT:-clang-format}
if ! command -v "$format" >/dev/null; then
  echo "format: skipped, no clang-format here (apt-get install clang-format)"
  exit 77
fi
folders=()
for folder in base data models dist trainer monitoring launch tests benchmarks examples cmake; do
  if [ -d "$folder" ]; then folders+=("$folder"); fi
done
mapfile -t files < <(find "${folders[@]}" -type f \( -name '*.h' -o -name '*.cpp' -o -name '*.cu' -o -name '*.cuh' \) | sort)
if [ ${#files[@]} -eq 0 ]; then
  echo "format: no sources"
  exit 0
fi
if [ "${1:-}" = --fix ]; then
  "$format" -i "${files[@]}"
  echo "format: ${#files[@]} files formatted"
  exit 0
fi
wrong=()
for file in "${files[@]}"; do
  "$format" --dry-run -Werror "$file" >/dev/null 2>&1 || wrong+=("$file")
done
if [ ${#wrong[@]} -gt 0 ]; then
  printf 'not formatted: %s\n' "${wrong[@]}"
  echo "format: ${#wrong[@]} of ${#files[@]} files differ; tests/scripts/check_format.sh --fix mends them"
  exit 1
fi
echo "format: ${#files[@]} files, $("$format" --version)"
