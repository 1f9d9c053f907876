"""import under mpirun: the ranks share the reading, and dataset, summary and messages are those of one process."""
import gzip
import json
import re

from _support import expect, have_mpirun, main, skip

try:
    import pyarrow as pa
    import pyarrow.parquet as pq
except ImportError:
    pa = None

FLAGS = ["--format", "interactions", "--event", "kind", "--keep-time", "true", "--k-core", 2]


def rows(count, first):
    return [(f"u{n * 7 % 211}", f"i{n * n % 83}", 1_600_000_000 + n * 37 % 9000, f"k{n % 4}") for n in range(first, first + count)]


def csv(table, note='"two\nlines"'):
    return "user,item,time,kind,note\n" + "".join(f"{u},{i},{t},{k},{note}\n" for u, i, t, k in table)


def files_in(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def logs(decant):
    decant.write("a.csv", csv(rows(4000, 0)))
    decant.write("b.csv.gz", gzip.compress(csv(rows(1500, 4000)).encode()))
    names = ["a.csv", "b.csv.gz"]
    if pa:
        columns = dict(zip(("user", "item", "time", "kind"), map(list, zip(*rows(1000, 5500)))))
        pq.write_table(pa.table(columns), decant.path("c.parquet"))
        names.append("c.parquet")
    decant.write("d.csv", csv(rows(3000, 6500), note=""))
    return [*names, "d.csv"]


def check_same(decant, names):
    alone = decant.ok("import", *FLAGS, "--out", "alone", *names)
    for ranks in (1, 2, 3):
        said = decant.ok("import", *FLAGS, "--out", f"by-{ranks}", *names, ranks=ranks)
        expect(said == alone, f"{ranks} ranks: the summary differs:\n{said}\n{alone}")
        expect(files_in(decant.path(f"by-{ranks}")) == files_in(decant.path("alone")), f"{ranks} ranks: other bytes")
        expect(not decant.path(f"by-{ranks}.tmp").exists(), f"{ranks} ranks: something is left")


def check_errors(decant):
    lines = csv(rows(4000, 0), note="").splitlines()
    for place in (2, 1000, 4000):
        decant.write("bad.csv", "\n".join([*lines[:place], "u1,i1,soon,k1,", *lines[place:]]) + "\n")
        wanted = decant.fails(3, "import", *FLAGS, "--out", "e", "d.csv", "bad.csv", says=[f"bad.csv: line {place + 1}: time 'soon'"])
        for ranks in (2, 3):
            told = decant.fails(3, "import", *FLAGS, "--out", "e", "d.csv", "bad.csv", ranks=ranks)
            expect(re.sub(r"\[rank 0/\d \S+\] ", "", told) == wanted, f"{ranks} ranks: {told}")
    expect(not decant.path("e").exists() and not decant.path("e.tmp").exists(), "a failed import left something")


def check_starts(decant):
    """Ranks that cannot import together are refused."""
    alone = {"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": "0"}
    decant.fails(2, "import", *FLAGS, "--out", "e", "d.csv", env=alone, says=["started 2 tasks"])
    step = {"SLURM_STEP_ID": "0", "SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "2"}
    decant.fails(2, "import", *FLAGS, "--out", "e", "d.csv", env=step, says=["srun --mpi=pmix"])
    decant.fails(2, "import", "--out", "e", "--k-core", "many", "d.csv", ranks=2, says=["k_core"])
    other = ["import", *FLAGS, "--out", "e", "d.csv"]
    decant.fails(2, *other, "--min-events", 2, ":", "-n", 1, decant.binary, *other, "--min-events", 3, ranks=1,
                 says=["different options", "'\"min_events\": 2", "'\"min_events\": 3"])
    decant.path("elsewhere").mkdir()
    decant.write("elsewhere/d.csv", csv(rows(2999, 6500), note=""))
    decant.fails(3, *other, ":", "-n", 1, "-wdir", "elsewhere", decant.binary, *other, ranks=1,
                 says=["d.csv: rank 1 sees ", "all ranks must see the same files"])


def check_job(decant, names):
    job = {"version": 1, "run": {"folder": "run", "device": "cpu", "threads": 1}, "monitoring": {"enabled": False},
           "data": {"import": {"format": "interactions", "files": names, "k_core": 2, "interactions": {"event": "kind", "keep_time": True}}}}
    decant.write("job.yaml", json.dumps(job))
    decant.ok("import", "job.yaml", ranks=2)
    expect(files_in(decant.path("run/dataset")).keys() - {"stage.json"} == files_in(decant.path("alone")).keys(), "files of the job's dataset")
    for name, content in files_in(decant.path("alone")).items():
        expect((decant.path("run/dataset") / name).read_bytes() == content, f"a job's {name} differs")


def test(decant):
    if not have_mpirun():
        skip("no mpirun here")
    names = logs(decant)
    check_same(decant, names)
    check_errors(decant)
    check_starts(decant)
    check_job(decant, names)


main(test)
