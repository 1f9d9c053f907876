#!/usr/bin/env python3
"""Checks that the sources include only what docs/architecture.md allows. Prints every wrong include; exit status 1.

  * which folder may include which;
  * third-party headers only where their owner is;
  * no LibTorch header in base, data, monitoring, in .cu files, or in *.isa.cpp files;
  * no include cycle between headers.
`--self-test` checks the checker on a small wrong tree.
"""
import pathlib
import re
import sys
import tempfile

FOLDERS = {  # folder: folders it may include besides itself
    "base": set(),
    "data": {"base"},
    "models": {"base"},
    "dist": {"base"},
    "monitoring": {"base"},
    "trainer": {"base", "data", "models", "dist", "monitoring"},
    "launch": {"base", "data", "models", "dist", "monitoring", "trainer"},
}
EVERYTHING = set(FOLDERS)
FREE = ("tests", "benchmarks", "examples")  # may include everything of ours
OWNERS = [  # header pattern, folders that may include it (tests may include all of these)
    (r"(hdf5|H5\w+)\.h$", {"data"}),
    (r"(zlib|zstd)\.h$", {"data"}),
    (r"sodium\.h$", {"data"}),
    (r"(arrow|parquet)/", {"data"}),
    (r"mpi\.h$", {"dist"}),
    (r"nccl\.h$", {"dist"}),
    (r"prometheus/|httplib", {"monitoring"}),
    (r"CLI/", {"launch"}),
    (r"yaml-cpp/", {"launch"}),
    (r"nlohmann/", EVERYTHING),
    (r"xxhash\.h$", {"base"}),
    (r"(torch|ATen|c10|caffe2)/", {"models", "dist", "trainer", "launch"}),
]
TORCH = re.compile(r"(torch|ATen|c10|caffe2)/")
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.MULTILINE)
SUFFIXES = {".h", ".cpp", ".cu", ".cuh"}


def sources(root):
    for folder in (*FOLDERS, *FREE):
        for path in sorted((root / folder).rglob("*")):
            if path.suffix in SUFFIXES and path.is_file():
                yield folder, path


def check_include(folder, path, kind, header, root):
    """Yields what is wrong with one include."""
    first = header.split("/")[0]
    kernel = path.suffix in {".cu", ".cuh"} or path.name.endswith(".isa.cpp")
    if kernel and TORCH.match(header):
        yield "a kernel source includes LibTorch"
    if first in EVERYTHING and "/" in header:
        if not (root / header).is_file():
            yield "no such header"
        if kind == "<":
            yield "our own headers are included with quotes"
        if folder in FOLDERS and first != folder and first not in FOLDERS[folder]:
            yield f"{folder} may not include {first}"
    elif folder in FOLDERS:
        if kind == '"' and "/" not in header and (path.parent / header).is_file():
            yield f'include it from the root: "{path.parent.relative_to(root)}/{header}"'
        for pattern, owners in OWNERS:
            if re.match(pattern, header) and folder not in owners:
                yield f"only {', '.join(sorted(owners))} may include it"
                break


def find_cycle(graph):
    """Returns a list of headers that include each other in a ring, or None."""
    done, stack = set(), []

    def visit(node):
        if node in stack:
            return stack[stack.index(node):] + [node]
        if node in done:
            return None
        stack.append(node)
        for following in graph.get(node, ()):
            cycle = visit(following)
            if cycle:
                return cycle
        stack.pop()
        done.add(node)
        return None

    for node in graph:
        cycle = visit(node)
        if cycle:
            return cycle
    return None


def check(root):
    wrong, graph, count = [], {}, 0
    for folder, path in sources(root):
        count += 1
        name = path.relative_to(root).as_posix()
        text = path.read_text(encoding="utf-8")
        for match in INCLUDE.finditer(text):
            kind, header = match.groups()
            line = text.count("\n", 0, match.start(2)) + 1
            wrong += [f"{name}:{line}: {header}: {why}" for why in check_include(folder, path, kind, header, root)]
            if path.suffix == ".h":
                graph.setdefault(name, []).append(header)
    cycle = find_cycle(graph)
    if cycle:
        wrong.append("include cycle: " + " -> ".join(cycle))
    return wrong, count


def self_test():
    tree = {
        "base/a.h": '#include "base/b.h"\n',
        "base/b.h": '#include "base/a.h"\n#include <torch/types.h>\n',
        "data/a.h": '#include "models/a.h"\n#include <hdf5.h>\n',
        "models/a.h": "#include <mpi.h>\n#include <torch/types.h>\n",
        "models/ops/k.cu": "#include <ATen/ATen.h>\n",
        "trainer/a.h": '#include "launch/none.h"\n',
    }
    expected = ["include cycle", "base/b.h:2", "data/a.h:1", "models/a.h:1", "k.cu:1", "trainer/a.h:1: launch/none.h: tr",
                "no such header"]
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        for name, text in tree.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text)
        wrong, _ = check(root)
    missed = [text for text in expected if not any(text in line for line in wrong)]
    if missed or len(wrong) != len(expected):
        sys.exit(f"self-test failed: missed {missed}, found {wrong}")


def main():
    self_test()
    if sys.argv[1:] == ["--self-test"]:
        return
    wrong, count = check(pathlib.Path(__file__).resolve().parents[2])
    for line in wrong:
        print(line)
    if wrong:
        sys.exit(f"{len(wrong)} includes go the wrong way (docs/architecture.md)")
    print(f"{count} files, every include goes the right way")


if __name__ == "__main__":
    main()
