"""File systems of the test's own: what is mounted is seen by the test and its children only, and gone with them."""
import os
import subprocess
import sys

from _support import skip

INSIDE = "DECANT_TEST_MOUNTS"


def private_mounts():
    """Starts this test again where it may mount; skips it where nobody lets it."""
    if os.environ.get(INSIDE):
        return
    for flags in (["--mount"], ["--user", "--map-root-user", "--mount"]):
        command = ["unshare", *flags, "--propagation", "private"]
        try:
            tried = subprocess.run([*command, "mount", "-t", "tmpfs", "-o", "size=1m", "none", "/mnt"], capture_output=True)
        except FileNotFoundError:
            skip("no unshare here (util-linux)")
        if tried.returncode == 0:
            os.environ[INSIDE] = "1"
            os.execvp(command[0], [*command, sys.executable, *sys.argv])
    skip(f"may not mount a file system here: {tried.stderr.decode().strip()}")


MOUNTED = []


def mount(*arguments):
    subprocess.run(["mount", *map(str, arguments)], check=True)
    if "remount,bind,ro" not in arguments:
        MOUNTED.append(arguments[-1])


def small_disk(folder, mebibytes):
    folder.mkdir(parents=True, exist_ok=True)
    mount("-t", "tmpfs", "-o", f"size={mebibytes}m", "none", folder)


def fill(folder):
    """Leaves no room; returns what to remove to have room again."""
    ballast = folder / "ballast"
    with open(ballast, "wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                pass
    return ballast


def read_only(folder):
    """The folder, though not what is above it, as a file system that lets nobody write any more."""
    aside = folder.parent.parent / "read-only"  # a mount where somebody is writing just now cannot be turned
    aside.mkdir(exist_ok=True)
    mount("--bind", folder, aside)
    mount("-o", "remount,bind,ro", aside)
    mount("--bind", aside, folder)
    unmount(aside)


def unmount(folder):
    subprocess.run(["umount", str(folder)], check=True)
    MOUNTED.remove(folder)


def unmount_all():
    """At the end of a test that failed, whose folder is to be removed."""
    for folder in reversed(MOUNTED):
        subprocess.run(["umount", "--lazy", str(folder)], check=False)
