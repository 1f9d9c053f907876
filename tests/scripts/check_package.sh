#!/usr/bin/env bash
# check_package.sh CMAKE BUILD_DIR EXAMPLE_DIR: installs the build into a folder of its own, builds the example against
# it with find_package(decant), and runs the example's program with --help.
set -euo pipefail
cmake=$1 build=$2 example=$3
work=$build/tests/package
rm -rf "$work/install"
"$cmake" --install "$build" --prefix "$work/install" >/dev/null
"$cmake" -S "$example" -B "$work/build" -G Ninja -DCMAKE_PREFIX_PATH="$work/install" -DCMAKE_BUILD_TYPE=Release
"$cmake" --build "$work/build"
program=$(find "$work/build" -maxdepth 1 -type f -perm -u+x ! -name '*.so*' | head -1)
"$program" --help
