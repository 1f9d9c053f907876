"""Job files: what is wrong is told with file, line and column, or with the --set that brought it."""
from _support import TINY_JOB, expect, main


def test(decant):
    def fails(text, *says, sets=(), command="run"):
        path = decant.write("job.yaml", text)
        flags = [word for assignment in sets for word in ("--set", assignment)]
        decant.fails(2, command, path, *flags, says=says)

    decant.write("log.txt", "u a b c d\n")
    fails(TINY_JOB.replace("losses:", "lossess:"), "job.yaml:7:1", "unknown key 'lossess'", "did you mean 'losses'?")
    fails(TINY_JOB.replace("temperature: 2", "temprature: 2"), "job.yaml:7:", "losses.kl_tail.temprature", "'temperature'")
    fails(TINY_JOB.replace("kl_tail", "kl_tial"), "job.yaml:7:", "kl_tial", "did you mean 'kl_tail'?")
    fails(TINY_JOB.replace("k: 10", "k: ten"), "job.yaml:8:", "labels.k", "'ten'")
    fails(TINY_JOB.replace("k: 10", "k: 0"), "job.yaml:8:", "labels.k", "out of range")
    fails(TINY_JOB.replace("type: sasrec", "type: sasrek"), "job.yaml:5:", "'sasrek'", "did you mean 'sasrec'?")
    fails(TINY_JOB.replace("labels: {k: 10}", "labels: {k: 10"), "job.yaml:9:", "no valid YAML")
    fails(TINY_JOB + "labels: {k: 5}\n", "job.yaml:10:1", "'labels'", "twice")
    fails(TINY_JOB.replace("version: 1", "version: 2"), "job.yaml:1:1", "version 2", "reads version 1")
    fails(TINY_JOB.replace("version: 1\n", ""), "version: 1")
    fails("", "is empty")
    fails(TINY_JOB.replace("folder: run, ", ""), "run.folder")
    fails(TINY_JOB, "--set labels.temperature=3", "did you mean 'temperatures'?", sets=["labels.temperature=3"])
    fails(TINY_JOB, "--set labels.k", "key=value", sets=["labels.k"])
    fails(TINY_JOB, "--set labels.k=[1", sets=["labels.k=[1"])
    decant.fails(2, "run", "nothing.yaml", says=["nothing.yaml", "No such file"])
    expect(not decant.path("run").exists(), "a job that is wrong made its run folder")


main(test)
