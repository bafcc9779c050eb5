#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Four workers on a real single-node Slurm; workers are killed and slurmctld is restarted: nothing lost, nothing twice.

   slurm_test.py --program KERNELITES --data ROOT [--seed N]

Sets up munged, slurmctld and slurmd with a configuration of their own in a temporary folder (root is needed: slurmd
starts steps). The workers compute nothing but wait, so that two processors are enough; four of them must do at least
3.5 times the work of one.
"""
import argparse
import os
import random
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import endurance_rig as rig  # noqa: E402

CONFIGURATION = """\
ClusterName=kernelites
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmdPort={daemon_port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SwitchType=switch/none
SchedulerType=sched/builtin
ReturnToService=2
# A launcher that was killed without a word: its step is ended, or it would hold the processor for ever.
InactiveLimit=5
KillWait=2
SlurmdParameters=config_overrides
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs=8 RealMemory=1000 Gres=gpu:{gpus} State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""
LAUNCH = "srun --ntasks=1 --gpus=1 --cpus-per-task=1 --unbuffered --quiet"
GPUS = 4


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Slurm:
    """The three daemons, from a folder that is removed with them."""

    def __init__(self, folder):
        self.folder = folder
        self.environment = os.environ | {"SLURM_CONF": str(folder / "slurm.conf")}
        for name in ("state", "spool"):
            (folder / name).mkdir()
        key = folder / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        # Slurm hands out devices; what they are is the worker's business, and this one computes nothing.
        for number in range(GPUS):
            os.mknod(folder / f"gpu{number}", stat.S_IFCHR | 0o600, os.makedev(1, 3))
        (folder / "gres.conf").write_text(f"Name=gpu File={folder}/gpu[0-{GPUS - 1}]\n")
        (folder / "slurm.conf").write_text(CONFIGURATION.format(
            host=socket.gethostname().split(".")[0], port=free_port(), daemon_port=free_port(), folder=folder,
            gpus=GPUS))
        self.processes = {}
        self.start("munged", "--foreground", "--force", f"--key-file={key}", f"--socket={folder}/munge.socket",
                   f"--pid-file={folder}/munged.pid", f"--log-file={folder}/munged.log",
                   f"--seed-file={folder}/munged.seed")
        self.wait_for(lambda: (folder / "munge.socket").exists(), "munged")
        self.start_controller()
        self.start("slurmd", "-D")
        self.wait_for(lambda: "idle" in self.said("sinfo", "-h", "-o", "%T"), "an idle node")

    def start_controller(self):
        self.start("slurmctld", "-D")

    def start(self, name, *arguments):
        log = open(self.folder / f"{name}.out", "ab")
        self.processes[name] = subprocess.Popen([name, *arguments], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                                env=self.environment, start_new_session=True)

    def said(self, *command):
        done = subprocess.run(command, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              timeout=60, check=False)
        return done.stdout.decode()

    def wait_for(self, is_so, what, seconds=60):
        end = time.monotonic() + seconds
        while not is_so():
            if time.monotonic() > end:
                logs = "\n".join(f.read_text(errors="replace")[-500:] for f in sorted(self.folder.glob("*.log")))
                raise SystemExit(f"Slurm: {what} did not come within {seconds} s\n{logs}")
            time.sleep(0.1)

    def kill(self, name):
        self.processes[name].kill()
        self.processes[name].wait()

    def close(self):
        self.said("scancel", "--user=root")
        time.sleep(0.5)
        for name in ("slurmd", "slurmctld", "munged"):
            if name in self.processes:
                self.processes[name].terminate()
                try:
                    self.processes[name].wait(timeout=15)
                except subprocess.TimeoutExpired:
                    self.kill(name)


class SlurmTest:
    def __init__(self, options, folder, slurm):
        self.options, self.folder, self.slurm = options, folder, slurm
        self.draw = random.Random(options.seed)
        self.log = folder / "log"
        self.problems = []

    def arguments(self, workers, candidates, wait_s, is_golden):
        endpoint = rig.write_replies(self.folder / "replies", 400, 1)
        launch = f"{LAUNCH} {rig.WORKER} --wait {wait_s} --log {self.folder}/answered"
        return ["--task", "rmsnorm", "--data", self.options.data, "--device", "vgpu", "--worker", "kernelites-worker",
                "--launch", launch, "--workers", workers, "--endpoint", endpoint, "--budget-candidates", candidates,
                "--patience", 0, "--in-flight", 16, "--operators", "refine",
                *(["--deterministic"] if is_golden else [])]

    def run(self, name, workers, candidates, wait_s, disturb=None, is_golden=True):
        """Seconds from the first candidate on, of a run that must end by itself."""
        run = self.folder / name
        controller = rig.Controller(self.options.program, run, self.arguments(workers, candidates, wait_s, is_golden),
                                    self.log, environment=self.slurm.environment)
        end = time.monotonic() + 240
        while controller.wait(0.5) is None and time.monotonic() < end:
            if disturb:
                disturb(run, controller)
        code = controller.wait(0)
        controller.kill()
        if code != 0:
            raise SystemExit(f"{name}: exit code {code}\n{self.log.read_text()[-2000:]}")
        return run

    def seconds_of(self, run):
        """From the first told variation to the last: starting workers is not part of it."""
        (first, last), = rig.rows_of(run, "SELECT min(told_unix_s), max(told_unix_s) FROM candidate WHERE told > 4")
        return last - first

    def disturb(self, run, controller):
        """One thing in turn: a worker, its launcher, slurmctld."""
        acts = [self.kill_worker, self.kill_launcher, self.restart_controller, self.kill_worker, self.kill_worker]
        if self.acts < len(acts) and (run / "events.jsonl").exists() and time.monotonic() > self.next_act:
            acts[self.acts](controller)
            self.acts += 1
            self.next_act = time.monotonic() + 1.5

    def kill_one(self, pids):
        if pids:
            os.kill(self.draw.choice(pids), signal.SIGKILL)
            self.killed += 1

    def kill_worker(self, _):
        mark = str(self.folder / "answered").encode()
        pids = []
        for entry in Path("/proc").iterdir():
            try:
                words = (entry / "cmdline").read_bytes() if entry.name.isdigit() else b""
            except OSError:
                continue
            if mark in words and b"srun" not in words and b"run\0" not in words:
                pids.append(int(entry.name))
        self.kill_one(pids)

    def kill_launcher(self, controller):
        self.kill_one([child[0] for child in rig.children_of(controller.pid) if child[1] == "srun"])

    def restart_controller(self, _):
        self.slurm.kill("slurmctld")
        time.sleep(1)
        self.slurm.start_controller()
        self.slurm.wait_for(lambda: "node" not in self.slurm.said("sinfo", "-h", "-o", "%T") and
                            self.slurm.said("sinfo", "-h", "-o", "%T").strip() != "", "slurmctld again")

    def check(self, run, workers):
        code, text = rig.ask(self.options.program, "archive", "verify", run)
        if code != 0:
            self.problems.append(f"{run.name}: {text}")
        told, candidates, doubled, failed = rig.rows_of(
            run, "SELECT (SELECT count(*) FROM candidate WHERE told IS NOT NULL), (SELECT count(*) FROM candidate), "
            "(SELECT count(*) - count(DISTINCT request_id) FROM evaluation), "
            "(SELECT count(*) FROM evaluation WHERE state = 'failed')")[0]
        if told != candidates or doubled or failed:
            self.problems.append(f"{run.name}: {told} of {candidates} told, {doubled} doubled, {failed} failed")
        print(f"{run.name}: {workers} workers, {candidates} candidates, {self.seconds_of(run):.1f} s")

    def main(self):
        one = self.run("one", 1, 100, 0.1, is_golden=False)
        four = self.run("four", 4, 100, 0.1, is_golden=False)
        self.check(one, 1)
        self.check(four, 4)
        gain = self.seconds_of(one) / self.seconds_of(four)
        print(f"four workers do {gain:.2f} times the work of one")
        if gain < 3.5:
            self.problems.append(f"four workers do only {gain:.2f} times the work of one")
        gpus = {line.split()[1] for line in (self.folder / "answered").read_text().splitlines()}
        print(f"workers were given the GPUs {' '.join(sorted(gpus))}")
        if len(gpus - {"none"}) != GPUS or "none" in gpus:
            self.problems.append(f"{GPUS} workers have not one GPU each")
        self.acts, self.killed, self.next_act = 0, 0, time.monotonic() + 3
        disturbed = self.run("disturbed", 4, 150, 0.2, self.disturb)
        self.check(disturbed, 4)
        undisturbed = self.run("undisturbed", 4, 150, 0.02)
        dumps = [rig.ask(self.options.program, "dump", run)[1] for run in (undisturbed, disturbed)]
        if dumps[0] != dumps[1]:
            self.problems.append("the disturbed run's dump is another")
        print(f"{self.killed} killed, slurmctld restarted, {self.acts} acts of 5")
        if self.acts < 5 or self.killed < 3:
            self.problems.append("the run was over before everything had been killed")
        self.slurm.wait_for(lambda: self.slurm.said("squeue", "-h").strip() == "", "an empty queue", 30)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    if os.geteuid() != 0 or not all(map(shutil.which, ("munged", "slurmctld", "slurmd", "srun"))):
        print("Slurm's daemons are not here or this is not root (tools/setup all installs them)")
        return 1
    with tempfile.TemporaryDirectory(prefix="kernelites_slurm_") as name:
        folder = Path(name)
        (folder / "slurm").mkdir()
        slurm = Slurm(folder / "slurm")
        try:
            test = SlurmTest(options, folder, slurm)
            test.main()
        finally:
            slurm.close()
        for problem in test.problems:
            print(problem)
        print("0 passed, 1 failed" if test.problems else "1 passed, 0 failed")
        return 1 if test.problems else 0


if __name__ == "__main__":
    sys.exit(main())
