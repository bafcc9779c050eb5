#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Kills runs at random instants and breaks what they stand on: nothing is lost, counted twice or corrupt.

   kill_test.py --program KERNELITES --data ROOT --shim SO [--kills N] [--seconds S] [--seed N]

Each run has scripted replies and a worker that computes nothing; a run without faults gives the dump that every
disturbed run must end with, byte for byte. After every fault that ended a session `archive verify` must find the run
whole and nothing that was told may be gone. Stops after N faults or S seconds, whichever is first.

With --real-worker the worker compiles and evaluates on the virtual GPU, with the replies of the golden run, and what is
killed is mostly one of its own children: compiler, referee, executor.
"""
import argparse
import errno
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import endurance_rig as rig  # noqa: E402

SESSION_S_MAX = 900
FEWEST = 8
ROLES = (b"compile", b"referee", b"executor")


class Disturber:
    """The faults, each a method that takes the controller; true if the session is to be over after it."""

    def __init__(self, draw, faults):
        self.draw, self.faults, self.roles = draw, faults, Counter()
        self.table = [(30, self.kill_controller), (8, self.stop_and_kill_controller), (8, self.pause_controller),
                      (16, self.kill_worker), (6, self.pause_worker), (8, self.fill_disk),
                      (6, self.make_disk_read_only), (4, self.break_disk), (8, self.jump_clock), (6, self.take_memory)]

    def use_real_worker(self):
        self.table = [(70, self.kill_child), (10, self.pause_child), (10, self.kill_controller), (10, self.kill_worker)]

    def draw_child(self, controller):
        """One of the worker's children, by pid."""
        worker = self.worker_of(controller)
        children = [child[0] for child in rig.children_of(worker)] if worker else []
        if not children:
            return None
        child = self.draw.choice(children)
        try:
            words = (Path("/proc") / str(child) / "cmdline").read_bytes().split(b"\0")
        except OSError:
            return None
        self.roles[next((word.decode() for word in words[1:] if word in ROLES), "other")] += 1
        return child

    def kill_child(self, controller):
        child = self.draw_child(controller)
        if child:
            self.signal(child, signal.SIGKILL)
        return False

    def pause_child(self, controller):
        child = self.draw_child(controller)
        if child:
            self.signal(child, signal.SIGSTOP)
            time.sleep(self.draw.uniform(0.01, 0.1))
            self.signal(child, signal.SIGCONT)
        return False

    @staticmethod
    def signal(pid, number):
        try:
            rig.os.kill(pid, number)
        except ProcessLookupError:
            pass

    def act(self, controller):
        fault = self.draw.choices([row[1] for row in self.table], [row[0] for row in self.table])[0]
        is_over = fault(controller)
        return fault.__name__, is_over

    def kill_controller(self, controller):
        controller.kill()
        return True

    def stop_and_kill_controller(self, controller):
        controller.signal(signal.SIGSTOP)
        time.sleep(self.draw.uniform(0, 0.03))
        controller.kill()
        return True

    def pause_controller(self, controller):
        controller.signal(signal.SIGSTOP)
        time.sleep(self.draw.uniform(0.01, 0.1))
        controller.signal(signal.SIGCONT)
        return False

    def worker_of(self, controller):
        children = [child for child in rig.children_of(controller.pid) if child[2] != "Z"]
        return children[0][0] if children else None

    def signal_worker(self, controller, number):
        worker = self.worker_of(controller)
        if worker:
            self.signal(worker, number)

    def kill_worker(self, controller):
        self.signal_worker(controller, signal.SIGKILL)
        return False

    def pause_worker(self, controller):
        self.signal_worker(controller, signal.SIGSTOP)
        time.sleep(self.draw.uniform(0.01, 0.1))
        self.signal_worker(controller, signal.SIGCONT)
        return False

    def fail_disk(self, controller, error):
        """The session must end by itself and say why; what ends it is any of the calls that follow."""
        self.faults.set(error=error, calls=self.draw.randrange(0, 12))
        if controller.wait(10) is None:
            controller.kill()
        return True

    def fill_disk(self, controller):
        return self.fail_disk(controller, errno.ENOSPC)

    def make_disk_read_only(self, controller):
        return self.fail_disk(controller, errno.EROFS)

    def break_disk(self, controller):
        return self.fail_disk(controller, errno.EIO)

    def jump_clock(self, controller):
        self.faults.set(jump_s=self.draw.choice([-86400, -3600, 3600, 86400 * 30]))
        return False

    def take_memory(self, controller):
        """No page more than it has: the next larger allocation fails."""
        try:
            used = int((Path("/proc") / str(controller.pid) / "statm").read_text().split()[0]) * resource.getpagesize()
            room = used + self.draw.randrange(0, 1 << 20)
            resource.prlimit(controller.pid, resource.RLIMIT_AS, (room, room))
        except (OSError, ValueError):
            return False
        if controller.wait(self.draw.uniform(0.1, 0.5)) is None:
            controller.kill()
        return True


class KillTest:
    def __init__(self, options, folder):
        self.options, self.folder = options, folder
        self.draw = random.Random(options.seed)
        self.faults = rig.Faults(folder / "faults")
        self.disturber = Disturber(self.draw, self.faults)
        self.kinds, self.ends, self.problems = Counter(), Counter(), []
        if options.real_worker:
            self.disturber.use_real_worker()
        self.runs = self.candidates = self.evaluations = self.checks = self.blamed = 0

    def arguments(self, seed):
        if self.options.real_worker:
            return ["--task", "rmsnorm", "--data", self.options.data, "--device", "vgpu", "--worker",
                    self.options.real_worker, "--endpoint", self.options.data / "tests" / "golden" / "endpoint.json",
                    "--budget-candidates", 5, "--deterministic", "--in-flight", 3, "--seed", seed]
        endpoint = rig.write_replies(self.folder / f"replies{seed}", 3 * self.options.candidates, seed)
        return ["--task", "rmsnorm", "--data", self.options.data, "--device", "vgpu", "--worker", rig.WORKER,
                "--endpoint", endpoint, "--budget-candidates", self.options.candidates, "--patience", 0,
                "--deterministic", "--in-flight", 4, "--seed", seed, "--operators", "refine=0.8", "tune=0.2"]

    def controller(self, run, arguments):
        self.faults.set()
        return rig.Controller(self.options.program, run, arguments, self.folder / "log", self.options.shim, self.faults)

    def dump(self, run):
        code, text = rig.ask(self.options.program, "dump", run)
        if code != 0:
            self.problems.append(f"{run.name}: dump failed: {text[-300:]}")
        return text

    def told(self, run):
        if not (run / "run.db").exists():
            return set()
        return set(rig.rows_of(run, "SELECT ordinal, told, outcome FROM candidate WHERE told IS NOT NULL"))

    def check(self, run, before, what):
        """After a session: whole, and what was told is told. Returns what is told now."""
        if not (run / "run.db").exists():
            if before:
                self.problems.append(f"{run.name} after {what}: run.db is gone, and {len(before)} candidates with it")
            return before
        self.checks += 1
        code, text = rig.ask(self.options.program, "archive", "verify", run)
        if code != 0 and before:
            self.problems.append(f"{run.name} after {what}: verify says {text[-400:]}")
        now = self.told(run) if code == 0 else before
        if not before <= now:
            self.problems.append(f"{run.name} after {what}: lost {sorted(before - now)[:5]}")
        return now

    def last_words(self):
        """What the session said in the end, without what differs between runs."""
        lines = (self.folder / "log").read_text(errors="replace").strip().splitlines()
        return re.sub(r"\d+", "N", lines[-1].replace(str(self.folder), ""))[-120:] if lines else ""

    def is_enough(self):
        """On a busy machine time is over before FEWEST faults were possible: then they take longer."""
        done = sum(self.kinds.values())
        return done >= self.options.kills or (time.monotonic() > self.deadline and done >= FEWEST)

    def disturb(self, run, arguments):
        """Sessions with faults until the run is over."""
        told, end = set(), time.monotonic() + SESSION_S_MAX
        controller, what = self.controller(run, arguments), "start"
        while time.monotonic() < end:
            pause_s = 60 if self.is_enough() else 0.01 + self.draw.expovariate(1 / self.options.pause_s)
            code = controller.wait(pause_s)
            if code is None and not self.is_enough():
                what, is_over = self.disturber.act(controller)
                self.kinds[what] += 1
                if not is_over:
                    continue
                code = controller.wait(0)
            if code is None:
                continue
            controller.kill()
            words = self.last_words() if code and (code > 0 or code == -signal.SIGABRT) else ""
            self.ends[f"{what}: {code} {words}"] += 1
            if code == -signal.SIGABRT or (what == "take_memory" and code in (2, 3) and not words):
                self.problems.append(f"{run.name}: ended without words after {what}: {code} {words}")
            told = self.check(run, told, what)
            if code == 0:
                return
            controller, what = self.controller(run, arguments), "start"
        controller.kill()
        said = (self.folder / "log").read_text()[-500:]
        self.problems.append(f"{run.name}: not over after {SESSION_S_MAX} s; {said}")

    def run(self):
        self.deadline = time.monotonic() + self.options.seconds
        seeds = max(1, min(4, self.options.kills // 100))
        expected = {}
        while not self.is_enough() and not self.problems:
            seed = self.options.seed + self.runs % seeds
            arguments = self.arguments(seed)
            if seed not in expected:
                run = self.folder / f"undisturbed{seed}"
                code = self.controller(run, arguments).wait(SESSION_S_MAX)
                if code != 0:
                    raise SystemExit(f"the undisturbed run ended with {code}: {(self.folder / 'log').read_text()}")
                expected[seed] = self.dump(run)
            run = self.folder / f"disturbed{self.runs}"
            self.disturb(run, arguments)
            if not self.problems:
                self.compare(run, expected[seed])
            if not self.problems:
                self.candidates += rig.rows_of(run, "SELECT count(*) FROM candidate")[0][0]
                self.evaluations += rig.rows_of(run, "SELECT count(*) FROM evaluation")[0][0]
                shutil.rmtree(run)
            self.runs += 1
        self.check_nothing_lives()

    def compare(self, run, expected):
        """Equal dumps, and nobody was blamed for what was done to the processes."""
        blamed = rig.rows_of(run, "SELECT ordinal, stage, reason, error FROM evaluation WHERE state = 'failed' "
                             "OR reason LIKE '%crash%' OR reason LIKE '%died%'")
        self.blamed += len(blamed)
        if blamed:
            self.problems.append(f"{run.name}: blamed for faults that it had no part in: {blamed[:5]}")
        if self.dump(run) != expected:
            self.problems.append(f"{run.name}: its dump is not that of the undisturbed run")

    def check_nothing_lives(self):
        """Workers of killed controllers see the end of their input and end."""
        mark, end = str(self.faults.file).encode(), time.monotonic() + 20
        while alive := [entry.name for entry in Path("/proc").iterdir()
                        if entry.name.isdigit() and entry.name != str(rig.os.getpid()) and self.has_mark(entry, mark)]:
            if time.monotonic() > end:
                self.problems.append(f"processes are left behind: {alive}")
                return
            time.sleep(0.1)

    @staticmethod
    def has_mark(entry, mark):
        try:
            return mark in (entry / "environ").read_bytes()
        except OSError:
            return False

    def report(self):
        print(f"{sum(self.kinds.values())} faults in {self.runs} runs, {self.candidates} candidates, "
              f"{self.evaluations} evaluations, {self.checks} verifications, {len(self.problems)} problems")
        for kind, count in sorted(self.kinds.items()):
            print(f"  {kind:28} {count}")
        for role, count in sorted(self.disturber.roles.items()):
            print(f"  of them at the child {role:12} {count}")
        print(f"  {self.blamed} evaluations were blamed for what was done to processes")
        for end, count in sorted(self.ends.items()):
            print(f"  session ended after {end} ({count})")
        for problem in self.problems:
            print(problem)
        wanted = min(self.options.kills, FEWEST)
        is_good = not self.problems and sum(self.kinds.values()) >= wanted and self.runs > 0
        print("1 passed, 0 failed" if is_good else "0 passed, 1 failed")
        return 0 if is_good else 1


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--shim", type=Path, required=True)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--candidates", type=int, default=60, help="of each run")
    parser.add_argument("--pause-s", type=float, default=0.15, help="mean time between two faults")
    parser.add_argument("--real-worker", type=Path, help="kernelites-worker; kills its children")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kernelites_kills_") as folder:
        test = KillTest(options, Path(folder))
        test.run()
        return test.report()


if __name__ == "__main__":
    sys.exit(main())
