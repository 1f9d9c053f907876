"""On a real Slurm: a job of launch/decant.sbatch is requeued in the middle, told that its time is over, and continues to
the same end as one that nobody disturbed. What srun and mpirun do with signals and exit codes is checked on the way."""
import concurrent.futures
import getpass
import json
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "cli"))
from _cluster import Cluster, why_not
from _job import JOB, Run, expect_same, flip, make_log
from _support import Failed, expect, main, skip

# Long enough to be met in the middle of the teacher and of the student.
LONG = JOB.replace("max_steps: 12", "max_steps: 120").replace("max_epochs: 2", "max_epochs: 10")
SCRIPT = pathlib.Path(__file__).resolve().parent.parent.parent / "launch" / "decant.sbatch"


class Submitted:
    """A job in the queue: decant.sbatch, two ranks."""

    def __init__(self, slurm, run, program, *options, slurm_options=()):
        self.slurm, self.run = slurm, run
        self.number = slurm.submit(*slurm_options, SCRIPT, "--program", program, "--no-doctor", *options, "job.yaml",
                                   cwd=run.decant.folder)

    def log(self):
        path = self.run.decant.path(f"decant-{self.number}.log")
        return path.read_text(errors="replace") if path.exists() else ""

    def logs(self):
        """Of this and all other jobs of the folder."""
        return "\n".join(path.read_text(errors="replace") for path in sorted(self.run.decant.folder.glob("decant-*.log")))

    def wait_until(self, condition, what, seconds=120):
        until = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > until:
                raise Failed(f"{what}: not within {seconds} s\n{self.log()}\n{self.slurm.logs()}")
            time.sleep(0.1)

    def state(self):
        return self.slurm.job(self.number)["JobState"]

    def wait_for_stage(self, stage):
        self.wait_until((self.run.folder / stage / "checkpoints").exists, f"{stage} begins")

    def finish(self, starts):
        self.wait_until(lambda: self.state() in ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT"), "the job ends")
        job = self.slurm.job(self.number)
        expect(job["JobState"] == "COMPLETED" and job["ExitCode"] == "0:0",
               f"job {self.number} ended as {job['JobState']} {job['ExitCode']}\n{self.log()}")
        expect(job["Restarts"] == str(starts - 1), f"{job['Restarts']} restarts, expected {starts - 1}\n{self.log()}")


def refusals(slurm, program, folder):
    """Two tasks that do not find each other, and two that do."""
    told = slurm.fails(2, "srun", "-n", "2", "--mpi=none", program, "doctor")
    expect(told.count("srun --mpi=pmix") == 1, f"the cure is not told, or not once:\n{told}")
    found = json.loads(slurm.run("srun", "-n", "2", "--mpi=pmix", program, "doctor", "--json", "--seconds", "0.3", cwd=folder))
    expect(found["started"]["by"] == "srun" and len(found["ranks"]) == 2 and not found["problems"], found)


def requeued(slurm, run, program):
    """As a preemption does it: Slurm ends the job with SIGTERM and queues it again."""
    job = Submitted(slurm, run, program)
    job.wait_for_stage("teacher")
    slurm.run("scontrol", "requeue", job.number)
    job.wait_until(lambda: job.state() != "COMPLETING", "the ranks leave", seconds=30)
    job.finish(starts=2)
    expect("exit code 7" in job.log() and "run the same command again to continue" in job.log(), job.log())
    return job


def out_of_time(slurm, run, program, launcher):
    """As `--signal=B:USR1@120` does it: the batch script is told, and queues itself again."""
    job = Submitted(slurm, run, program, "--launcher", launcher)
    job.wait_for_stage("student")
    slurm.run("scancel", "--batch", "--signal=USR1", job.number)
    job.finish(starts=2)
    expect("back into the queue" in job.log(), job.log())
    return job


def cancelled(slurm, run, program):
    """A job that was cancelled stays so."""
    job = Submitted(slurm, run, program)
    job.wait_for_stage("teacher")
    slurm.run("scancel", job.number)
    job.wait_until(lambda: job.state() == "CANCELLED", "the job is cancelled")
    expect("exit code 7" in job.log() and "back into the queue" not in job.log(), job.log())


def seeds_on_local_disks(slurm, run, program):
    """An array job on a copy of the dataset; a copy that is damaged is made anew."""
    shared, local = run.decant.path("shared"), run.decant.path("local")
    run.decant.ok("import", "--format", "sequences", "--out", shared, "../log.txt")
    copy = local / f"decant-{getpass.getuser()}" / "shared"
    for array in ("3-4", "5"):
        job = Submitted(slurm, run, program, "--seeds", "runs", "--dataset", shared, "--local", local, slurm_options=[f"--array={array}"])
        job.wait_until(lambda: not slurm.run("squeue", "-h", "-j", job.number), "the seeds end")
        for seed in array.split("-"):
            folder = run.decant.path(f"runs/seed-{seed}")
            expect((folder / "report.json").exists(), f"seed {seed} has no report\n{job.logs()}")
            resolved = (folder / "job.yaml").read_text()
            expect(f"seed: {seed}" in resolved and str(copy) in resolved, resolved)
        run.decant.ok("inspect", copy)
        flip(next(copy.glob("*.h5")))
    expect(run.decant.run("inspect", copy).returncode == 3, "the flipped byte was not seen: this test proves nothing")


def test(decant):
    why = why_not()
    if why:
        skip(why)
    make_log(decant)
    undisturbed = Run(decant, "undisturbed", 2, LONG).run()
    with Cluster(decant.path("slurm")) as slurm:
        if "pmix" not in slurm.run("srun", "--mpi=list"):
            skip("this Slurm has no pmix plug-in")
        refusals(slurm, decant.binary, decant.folder)

        def try_one(name, disturb):
            run, began = Run(decant, name, 2, JOB if name == "seeds" else LONG), time.monotonic()
            job = disturb(slurm, run, decant.binary)
            if job:
                expect_same(run, undisturbed, name)
                print(f"{name}: two starts, the same report, {time.monotonic() - began:.0f} s\n{job.log()}", flush=True)

        # Side by side: most of it is waiting.
        with concurrent.futures.ThreadPoolExecutor() as pool:
            tries = [pool.submit(try_one, name, disturb) for name, disturb in (
                ("requeued", requeued), ("time-srun", lambda *what: out_of_time(*what, "srun")),
                ("time-mpirun", lambda *what: out_of_time(*what, "mpirun")), ("cancelled", cancelled), ("seeds", seeds_on_local_disks))]
            for one in tries:
                one.result()


main(test)
