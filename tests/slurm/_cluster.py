"""A Slurm of the test's own on this machine's loopback: munged, slurmctld and slurmd with configuration, keys, sockets,
ports and state below one folder, so that a Slurm that is installed here is left alone. Root only."""
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol", "squeue")

CONF = """ClusterName=decant
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmctldPort={controller}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmctldPidFile={folder}/slurmctld.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdSpoolDir={folder}/spool
SlurmdPidFile={folder}/slurmd.pid
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=1,batch_sched_delay=0
KillWait={kill_wait}
MpiDefault=none
ReturnToService=2
NodeName=node1 NodeHostname={host} NodeAddr=127.0.0.1 Port={node} CPUs={cpus} State=UNKNOWN
PartitionName=main Nodes=node1 Default=YES MaxTime=60 State=UP
"""


def why_not():
    """Why there can be no Slurm here, or ""."""
    if os.geteuid() != 0:
        return "a Slurm of one's own needs root"
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    return f"no {', '.join(missing)} here (apt-get install slurmctld slurmd slurm-client munge)" if missing else ""


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Cluster:
    """with Cluster(folder) as slurm: slurm.run("sbatch", ...). `cpus`: as many as Slurm is to believe in."""

    def __init__(self, folder, cpus=8, kill_wait=30):
        self.folder = pathlib.Path(folder)
        self.cpus, self.kill_wait, self.daemons = cpus, kill_wait, []
        self.env = {key: value for key, value in os.environ.items()
                    if not key.startswith(("SLURM_", "PMIX_", "PMI_", "OMPI_COMM"))}
        self.env.update(SLURM_CONF=str(self.folder / "slurm.conf"), OMPI_ALLOW_RUN_AS_ROOT="1",
                        OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_):
        self.stop()

    def start(self):
        host = socket.gethostname().split(".")[0]
        for name in ("state", "spool"):
            (self.folder / name).mkdir(parents=True)
        self.folder.chmod(0o755)  # munged refuses a folder that others may write
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(64))
        key.chmod(0o400)
        (self.folder / "slurm.conf").write_text(
            CONF.format(folder=self.folder, host=host, controller=free_port(), node=free_port(), cpus=self.cpus,
                        kill_wait=self.kill_wait))
        files = {name: self.folder / f"munge.{name}" for name in ("socket", "pid", "log", "seed")}
        self.daemon("munged", "--foreground", "--force", f"--key-file={key}", f"--socket={files['socket']}",
                    f"--pid-file={files['pid']}", f"--log-file={files['log']}", f"--seed-file={files['seed']}")
        self.wait_until(files["socket"].exists, "munged")
        self.daemon("slurmctld", "-D", "-c")
        self.daemon("slurmd", "-D", "-N", "node1")
        self.wait_until(lambda: self.run("sinfo", "-h", "-o", "%t", check=False).strip() == "idle", "slurmd")

    def daemon(self, *command):
        with open(self.folder / f"{command[0]}.out", "wb") as out:
            self.daemons.append(subprocess.Popen(command, env=self.env, stdin=subprocess.DEVNULL, stdout=out,
                                                 stderr=subprocess.STDOUT, start_new_session=True))

    def stop(self):
        for job in self.run("squeue", "-h", "-o", "%i", check=False).split():
            self.run("scancel", job, check=False)
        for daemon in reversed(self.daemons):
            daemon.send_signal(signal.SIGTERM)
        for daemon in self.daemons:
            try:
                daemon.wait(20)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()

    def run(self, *command, check=True, cwd=None, timeout=60):
        """What it printed."""
        done = subprocess.run(command, env=self.env, cwd=cwd, text=True, capture_output=True, timeout=timeout)
        if check and done.returncode != 0:
            raise RuntimeError(f"{' '.join(map(str, command))}: exit code {done.returncode}\n{done.stderr}")
        return done.stdout

    def fails(self, code, *command):
        """What it said on stderr."""
        done = subprocess.run(command, env=self.env, text=True, capture_output=True, timeout=60)
        if done.returncode != code:
            raise RuntimeError(f"{' '.join(map(str, command))}: exit code {done.returncode}, expected {code}\n{done.stderr}")
        return done.stderr

    def logs(self):
        return "\n".join(f"--- {path.name}\n{path.read_text(errors='replace')[-2000:]}"
                         for path in sorted(self.folder.glob("*.log")) + sorted(self.folder.glob("*.out")))

    def wait_until(self, condition, what, seconds=30):
        until = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > until:
                raise RuntimeError(f"{what} did not come up within {seconds} s\n{self.logs()}")
            time.sleep(0.1)

    def submit(self, *arguments, cwd=None):
        """The new job's number."""
        return self.run("sbatch", "--parsable", *map(str, arguments), cwd=cwd).strip().split(";")[0]

    def job(self, number):
        """What scontrol says of a job: {"JobState": "RUNNING", ...}."""
        words = self.run("scontrol", "-o", "show", "job", number).split()
        return dict(word.split("=", 1) for word in words if "=" in word)
