"""decant doctor: alone, on two ranks, with a job file, as JSON; what it warns of and what it refuses."""
import fcntl
import json
import os

from _support import expect, have_mpirun, main, skip, tiny_job


def table(decant, *arguments, **options):
    return json.loads(decant.ok("doctor", "--json", "--seconds", "0.5", *arguments, **options))


def alone(decant):
    text = decant.ok("doctor")
    for part in ("LibTorch", "NCCL", "file_locks", "memory_free_mib", "disk_free_mib"):
        expect(part in text, f"{part} is not in\n{text}")
    expect(text.splitlines()[-1].startswith("verdict: "), text)
    expect("all_reduce" not in text, f"one rank has timed its exchange:\n{text}")
    # An allocation for two, of which only one was started.
    found = table(decant, env={"SLURM_NTASKS": "2"})
    expect(any("srun --mpi=pmix" in warning for warning in found["warnings"]), found["warnings"])
    # Two that do not find each other.
    decant.fails(2, "doctor", env={"SLURM_STEP_ID": "0", "SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "2"},
                 says=["srun --mpi=pmix"])
    decant.fails(2, "doctor", "--device", "gpu", says=["device", "'gpu'"])
    decant.fails(2, "doctor", "nothing.yaml", says=["nothing.yaml"])


def a_job(decant, job):
    found = table(decant, job)
    expect(found["started"]["folder"] == "run", found["started"])
    expect(found["ranks"][0]["threads"] == 1, found["ranks"])
    # A folder that cannot be: the name of a file is in the way.
    blocked = decant.run("doctor", job, "--json", "--set", "run.folder=/proc/nothing/run")
    problems = json.loads(blocked.stdout)["problems"]
    expect(blocked.returncode == 3 and "/proc" in problems[0], f"{blocked.returncode}: {problems}")


def locks(decant, job):
    """HDF5 takes no lock, whatever its own variable says."""
    decant.ok("import", job)
    part = next(decant.path("run/dataset").glob("*.h5"))
    with open(part, "r+b") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        decant.ok("inspect", "run/dataset", env={"HDF5_USE_FILE_LOCKING": "TRUE"})


def two_ranks(decant, job):
    found = table(decant, job, "--most-mib", 1, ranks=2)
    expect(found["started"]["by"] == "mpirun" and found["started"]["ranks"] == 2, found["started"])
    expect(found["mpi"]["thread_level"].startswith("MPI_THREAD_"), found["mpi"])
    expect([row["rank"] for row in found["ranks"]] == [0, 1], found["ranks"])
    expect([row["local"] for row in found["ranks"]] == [0, 1], found["ranks"])
    expect(len(found["hosts"]) == 1 and found["hosts"][0]["ranks"] == 2, found["hosts"])
    expect(abs(found["ranks"][1]["clock_ms"]) <= found["ranks"][1]["within_ms"] + 1e-3, found["ranks"])
    times = found["all_reduce"]
    sizes = [row["bytes"] for row in times]  # how many fit into the time depends on who else is at work
    expect(sizes[0] == 8 and sizes == sorted(set(sizes)), times)
    for row in times:
        expect(row["least_us"] <= row["median_us"] <= row["most_us"] and row["algbw_gb_s"] == row["busbw_gb_s"], row)
    expect(found["problems"] == [] and found["verdict"].startswith(("good", "usable")), found["verdict"])
    # The ranks share all cores: two threads each are too many.
    if os.cpu_count() == 2:
        found = table(decant, job, "--set", "run.threads=2", ranks=2)
        expect(any("4 threads on 2 cores" in warning for warning in found["warnings"]), found["warnings"])
    expect(not list(decant.folder.rglob(".decant-doctor*")), "the doctor has left a file behind")


def test(decant):
    alone(decant)
    job = tiny_job(decant)
    a_job(decant, job)
    locks(decant, job)
    if not have_mpirun():
        skip("no mpirun here: two ranks were not tried")
    two_ranks(decant, job)


main(test)
