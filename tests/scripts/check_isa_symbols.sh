#!/usr/bin/env bash
# check_isa_symbols.sh NM OBJECT...: an object compiled for AVX2 or AVX512 must define no weak symbol. The linker keeps
# one copy of an inline function, from whichever object comes first; an AVX512 copy would end the program elsewhere.
set -euo pipefail
nm=$1
shift
weak=$("$nm" -A -C --defined-only "$@" | awk '$2 ~ /^[WVu]$/ && $3 !~ /^DW\.ref\./' || true)
if [ -n "$weak" ]; then
  echo "weak symbols in objects of one instruction set (make them static, or move them out of the *.isa.cpp file):"
  echo "$weak"
  exit 1
fi
echo "$# objects, no weak symbol"
