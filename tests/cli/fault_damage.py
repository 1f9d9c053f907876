"""A flipped bit in a file that is read: the right exit code, and the file's name in the one line that is said."""
import shutil

from _job import Run, flip, make_log
from _support import expect, have_mpirun, main


def test(decant):
    make_log(decant)
    whole = Run(decant, "whole", 1).run()
    copy = Run(decant, "copy", 1)

    def damage(name, at=None, without=()):
        """Flips a bit of `name` in a copy of the run from which `without` was taken, so that it is made again."""
        shutil.rmtree(copy.folder, ignore_errors=True)
        shutil.copytree(whole.folder, copy.folder)
        for gone in without:
            path = copy.folder / gone
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        path = next(copy.folder.glob(name))
        flip(path, at)
        return path

    def check(name, code, command="evaluate", at=None, without=(), ranks=0):
        path = damage(name, at, without)
        print(copy.decant.fails(code, command, "job.yaml", ranks=ranks, alone=command == "evaluate",
                                says=[str(path.relative_to(copy.decant.folder))]), flush=True)

    def inspected(name, target):
        """What was damaged last is found by `inspect` too."""
        line = copy.decant.fails(3, "inspect", copy.folder / target)
        expect(name in line, f"inspect did not name {name}: {line}")

    sides = ("student", "control")
    for at in (None, 100, -1):
        check("teacher/weights.safetensors", 3, at=at)
    inspected("weights.safetensors", "teacher/weights.safetensors")
    check("student/weights.safetensors", 3)
    check("dataset/part-00000.h5", 3)
    inspected("part-00000.h5", "dataset")
    damage("dataset/catalogue.h5")  # training does not ask for names
    inspected("catalogue.h5", "dataset")
    check("dataset/manifest.json", 3)
    check("labels/teacher/part-00001.h5", 3, command="distill", without=sides)
    inspected("part-00001.h5", "labels/teacher")
    check("labels/teacher/manifest.json", 3, command="distill", without=sides)
    check("stages/labels/teacher.json", 3, command="label")
    if have_mpirun():
        check("labels/teacher/part-00001.h5", 3, command="distill", without=sides, ranks=2)
        check("teacher/weights.safetensors", 3, ranks=2)

    # A checkpoint to continue from, as if the student had not finished yet.
    newest = max((copy.folder / "student/checkpoints").iterdir()).relative_to(copy.folder)
    for name in ("tensors-0-of-1.safetensors", "manifest.json"):
        for at in (None, 100):
            check(f"{newest}/{name}", 6, command="distill", at=at, without=["stages/student.json"])
    inspected("manifest.json", newest)

    # Whole again, it is taken as the finished training that it is: the report stays the same.
    shutil.rmtree(copy.folder)
    shutil.copytree(whole.folder, copy.folder)
    (copy.folder / "stages/student.json").unlink()
    (copy.folder / "report.json").unlink()
    copy.run()
    stopped = [run.report()["student"]["train"]["stopped_by"] for run in (copy, whole)]
    expect(stopped[0] == stopped[1] == "max_epochs", f"stopped by {stopped}")


main(test)
