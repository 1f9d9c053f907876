"""Wrong commands and flags: code 2 and one line that names the nearest; every --help has an example; --version."""
from _support import expect, main

COMMANDS = ["run", "import", "train-teacher", "train-control", "label", "distill", "evaluate", "sweep", "compare", "synthesize", "inspect", "doctor", "config"]


def test(decant):
    decant.fails(2, "trian-teacher", "job.yaml", says=["'trian-teacher'", "did you mean 'train-teacher'?"])
    decant.fails(2, "run", "job.yaml", "--dryrun", says=["'--dryrun'", "did you mean '--dry-run'?"])
    decant.fails(2, "import", "--out", "d", "--kcore", 3, "a.txt", says=["did you mean '--k-core'?"])
    decant.fails(2, "synthesize", "--out", "a.txt", "--users", "many", says=["users", "'many'"])
    decant.fails(2, "synthesize", "--out", "a.txt", "--noise", "1.5", says=["noise", "1.5"])
    decant.fails(2, says=["decant --help"])
    decant.fails(2, "run", says=["job file"])
    decant.fails(2, "run", "a.yaml", "b.yaml", says=["'b.yaml'"])

    for command in COMMANDS:
        text = decant.ok(command, "--help")
        expect("Example:\n  " in text and f"decant {command}" in text, f"{command} --help has no example:\n{text}")
        expect("--fault" not in text, f"{command} --help shows the hidden option")
    overview = decant.ok("--help")
    for command in COMMANDS:
        expect(f"\n  {command} " in overview, f"--help does not list {command}")

    version = decant.ok("--version")
    for part in ["decant ", "LibTorch", "CUDA", "NCCL", "MPI", "HDF5", "prometheus-cpp", "cpp-httplib", "yaml-cpp", "CLI11",
                 "nlohmann-json", "xxHash", "compiler"]:
        expect(part in version, f"--version does not name {part}:\n{version}")
    expect("unknown" not in version.split("\n", 1)[1], f"--version does not know a part:\n{version}")

    full = decant.run("--help")
    expect(full.stderr == "", "help belongs on stdout")


main(test)
