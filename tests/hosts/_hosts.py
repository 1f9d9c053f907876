"""Two hosts in network namespaces of this machine, a link between them that can be slowed down and cut, and mpirun across
it. Root only; needs ip and tc (iproute2)."""
import contextlib
import os
import pathlib
import shutil
import signal
import subprocess

NAMES = ("decant-a", "decant-b")  # what the hosts believe to be called
NETWORK = "10.77.0"
DEVICE = "va"

# mpirun itself learns by these that a host does not answer any more, in about ten seconds; it would wait for minutes.
KEEPALIVE = ("--mca", "oob_tcp_keepalive_time", "5", "--mca", "oob_tcp_keepalive_intvl", "1", "--mca", "oob_tcp_keepalive_probes", "5")


def run(*command, **options):
    return subprocess.run(command, check=True, text=True, **options)


def why_not():
    """Why there can be no two hosts here, or ""."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    missing = [program for program in ("ip", "tc", "mpirun") if shutil.which(program) is None]
    if missing:
        return f"no {', '.join(missing)} here (apt-get install iproute2 openmpi-bin)"
    try:
        with TwoHosts(None):
            return ""
    except subprocess.CalledProcessError as error:
        return f"network namespaces cannot be made here: {error.stderr.strip()}"


def environment():
    dropped = ("SLURM_", "PMIX_", "PMI_", "OMPI_COMM")
    return {**{key: value for key, value in os.environ.items() if not key.startswith(dropped)},
            "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}


class TwoHosts:
    """with TwoHosts(folder) as hosts: hosts.across("decant", "doctor"). `folder`: where the stand-in for ssh is kept."""

    def __init__(self, folder):
        self.folder = folder and pathlib.Path(folder)
        self.spaces = [f"{name}-{os.getpid()}" for name in NAMES]  # of the namespaces; not those of another test

    def __enter__(self):
        try:
            for space in self.spaces:
                run("ip", "netns", "add", space, stderr=subprocess.PIPE)
            run("ip", "link", "add", DEVICE, "netns", self.spaces[0], "type", "veth", "peer", "name", DEVICE, "netns",
                self.spaces[1], stderr=subprocess.PIPE)
            for number, space in enumerate(self.spaces, 1):
                run("ip", "-n", space, "address", "add", f"{NETWORK}.{number}/24", "dev", DEVICE, stderr=subprocess.PIPE)
                for device in (DEVICE, "lo"):
                    run("ip", "-n", space, "link", "set", device, "up", stderr=subprocess.PIPE)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for host, space in enumerate(self.spaces):
            self.kill(host)
            subprocess.run(["ip", "netns", "del", space], stderr=subprocess.DEVNULL)

    def processes(self, host, name=""):
        """Of that host, by default all."""
        found = subprocess.run(["ip", "netns", "pids", self.spaces[host]], text=True, capture_output=True).stdout.split()
        return [pid for pid in map(int, found) if not name or name_of(pid) == name[:15]]

    def kill(self, host):
        """Whatever runs there: ranks of a job that was broken off, and mpirun's daemon."""
        for pid in self.processes(host):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def slow_down(self, rate):
        """Both directions; "" for as fast as it goes. Large packets and checksums are as on a real card."""
        for space in self.spaces:
            subprocess.run(["tc", "-n", space, "qdisc", "del", "dev", DEVICE, "root"], stderr=subprocess.DEVNULL)
            if rate:
                run("tc", "-n", space, "qdisc", "add", "dev", DEVICE, "root", "tbf", "rate", rate, "burst", "256kb", "latency", "20ms")

    def set_link(self, state):
        """"down": a cable that is pulled out."""
        run("ip", "-n", self.spaces[0], "link", "set", DEVICE, state)

    def agent(self):
        """What mpirun calls in place of ssh: AGENT HOST COMMAND..."""
        path = self.folder / "agent"
        lines = "".join(f"{NETWORK}.{number}) space={space} name={name} ;;\n"
                        for number, (space, name) in enumerate(zip(self.spaces, NAMES), 1))
        path.write_text(f'#!/bin/bash\ncase $1 in\n{lines}esac\nshift\n'
                        f'exec ip netns exec $space unshare --uts bash -c "hostname $name; $*"\n')
        path.chmod(0o755)
        return path

    def across(self, *command, flags=()):
        """The command line of mpirun on the first host with one rank on each. `flags`: more of mpirun's."""
        enter = ["ip", "netns", "exec", self.spaces[0], "unshare", "--uts", "bash", "-c", f'hostname {NAMES[0]}; exec "$@"', "enter"]
        hosts = ",".join(f"{NETWORK}.{number}:1" for number in (1, 2))
        return [*enter, "mpirun", "--allow-run-as-root", "--mca", "plm_rsh_agent", str(self.agent()), "--host", hosts,
                "--mca", "btl", "tcp,self", "--mca", "btl_tcp_if_include", f"{NETWORK}.0/24", "--mca", "oob_tcp_if_include",
                f"{NETWORK}.0/24", "--bind-to", "none", *flags, *map(str, command)]


def name_of(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""
