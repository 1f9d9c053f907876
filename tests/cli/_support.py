"""What the tests of the program share: run it, look at what it says, fail with a clear line."""
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

SKIPPED = 77


class Failed(Exception):
    pass


def skip(why):
    print(f"skipped: {why}")
    sys.exit(SKIPPED)


def expect(condition, message):
    if not condition:
        raise Failed(message)


class Program:
    """decant in a folder of its own."""

    def __init__(self, binary, folder):
        self.binary, self.folder = os.path.abspath(binary), pathlib.Path(folder)

    def path(self, name):
        return self.folder / name

    def write(self, name, text):
        path = self.path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(path)

    def start(self, *arguments, ranks=0, env=None, flags=()):
        """`flags`: more of mpirun's, and what it starts in decant's place, which is then given decant's command line."""
        launcher = ["mpirun", "-n", str(ranks), "--oversubscribe", "--bind-to", "none", *flags] if ranks else []
        # A launcher's variables of our own surroundings would be taken for those of the test.
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM_", "PMIX_", "PMI_", "OMPI_COMM"))}
        return subprocess.Popen(
            [*launcher, self.binary, *map(str, arguments)], cwd=self.folder, stdin=subprocess.DEVNULL, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, errors="replace",
            env={**kept, "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1", **(env or {})})

    def run(self, *arguments, ranks=0, env=None, timeout=300, flags=()):
        process = self.start(*arguments, ranks=ranks, env=env, flags=flags)
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            raise Failed(f"decant {' '.join(map(str, arguments))}: still running after {timeout} s")
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    def ok(self, *arguments, **options):
        """Returns what it printed."""
        result = self.run(*arguments, **options)
        expect(result.returncode == 0,
               f"decant {' '.join(map(str, arguments))}: exit code {result.returncode}\n{result.stderr[-3000:]}")
        return result.stdout

    def fails(self, code, *arguments, says=(), alone=True, **options):
        """It ends with `code` and exactly one line of its own, which contains every text of `says`; `alone`: without
        lines of progress before it."""
        result = self.run(*arguments, **options)
        what = f"decant {' '.join(map(str, arguments))}"
        expect(result.returncode == code, f"{what}: exit code {result.returncode}, expected {code}\n{result.stderr[-3000:]}")
        lines = [line for line in result.stderr.splitlines() if line.startswith("decant: ")]
        expect(len(lines) == 1, f"{what}: expected one line 'decant: ...', found:\n{result.stderr[-3000:]}")
        if alone and not options.get("ranks"):
            expect(result.stderr.strip() == lines[0], f"{what}: more than one line:\n{result.stderr[-3000:]}")
        for text in says:
            expect(text in lines[0], f"{what}: '{text}' is not in: {lines[0]}")
        return lines[0]


def have_mpirun():
    return shutil.which("mpirun") is not None


# A job that takes seconds: generated data, two small models, of which one epoch makes no teacher worth the name.
TINY_JOB = """version: 1
run: {folder: run, device: cpu, threads: 1}
data: {import: {files: [log.txt]}}
batch: {sequences: 32}
teacher: {gate: warn, model: {type: sasrec, dim: 16, layers: 1, heads: 1, max_length: 10}, train: {max_epochs: 1}}
student: {model: {type: sasrec, dim: 4, layers: 1, heads: 1, max_length: 10}, train: {max_epochs: 1}}
losses: {ce: {weight: 1}, kl_tail: {weight: 1, temperature: 2}}
labels: {k: 10}
monitoring: {enabled: false}
"""


def tiny_job(program, name="job.yaml", text=TINY_JOB):
    program.ok("synthesize", "--out", "log.txt", "--users", 200, "--items", 60, "--categories", 5)
    return program.write(name, text)


def main(test):
    """Runs test(program) in a temporary folder; argv[1] is the program."""
    if len(sys.argv) != 2:
        sys.exit("usage: <test>.py <decant>")
    with tempfile.TemporaryDirectory(prefix="decant_cli_") as folder:
        try:
            test(Program(sys.argv[1], folder))
        except Failed as failure:
            sys.exit(f"FAILED: {failure}")
    print("passed")
