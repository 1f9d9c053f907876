"""Under mpirun: a wrong job is told once and ends with 2; tasks that do not find each other, or that have different jobs
or data, are refused."""
import time

from _support import have_mpirun, main, skip, tiny_job


def test(decant):
    if not have_mpirun():
        skip("no mpirun here")
    job = tiny_job(decant)
    decant.fails(2, "run", job, "--set", "labels.temperature=3", ranks=2, says=["--set labels.temperature=3", "did you mean 'temperatures'?"])
    decant.fails(2, "run", "nothing.yaml", ranks=3, says=["nothing.yaml"])
    decant.ok("run", job, "--dry-run", ranks=2)

    # Each of two tasks that believe to be alone: as when a job is started by another MPI's launcher.
    decant.fails(2, "run", job, env={"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": "0"}, says=["started 2 tasks"])
    decant.fails(2, "run", job, env={"PMI_SIZE": "2", "PMI_RANK": "0"}, says=["started 2 tasks"])
    decant.fails(2, "run", job, env={"SLURM_STEP_ID": "0", "SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "2"},
                 says=["srun --mpi=pmix"])

    # Ranks that were not given the same, each by its own command line or folder.
    other = [":", "-n", 1]
    decant.fails(2, "run", job, "--set", "run.seed=5", *other, decant.binary, "run", job, "--set", "run.seed=6", ranks=1,
                 says=["ranks 0 and 1 have different jobs: 'seed: 5' and 'seed: 6'"])
    for name, users in (("a", 200), ("b", 210)):
        decant.path(name).mkdir()
        decant.ok("synthesize", "--out", f"{name}/log.txt", "--users", users, "--items", 60, "--categories", 5)
        decant.ok("import", f"{name}/log.txt", "--out", f"{name}/data")
    work = ["train-teacher", decant.path("job.yaml"), "--set", "data.dataset=data"]
    decant.fails(2, *work, *other, "-wdir", "b", decant.binary, *work, ranks=1, flags=("-wdir", "a"),
                 says=["[rank 1/2 ", "stage 'teacher' has key ", " of 210 rows here, and ", " of 200 rows on rank 0"])

    # One rank fails in the middle: its message, its code, and nobody left hanging.
    began = time.monotonic()
    decant.fails(3, "import", job, "--set", "data.import.files=[nothing.txt]", ranks=2, says=["nothing.txt"], timeout=60)
    if time.monotonic() - began > 30:
        raise SystemExit("FAILED: a failed job took more than 30 s to end")


main(test)
