#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A file system that is really full, then really read-only, under a run: named, nothing lost, and it goes on with room.

   full_disk_test.py --program KERNELITES --data ROOT [--shim SO]

The run folder lies on a tmpfs of its own in a mount namespace of its own (root, or user namespaces). It grows step by
step: every session fills it up, ends with the reason, and the next one goes on. The dump is that of a run with room.
"""
import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import endurance_rig as rig  # noqa: E402

STEP_KIB, STEPS_MAX, CANDIDATES = 384, 40, 25


def enter_namespace():
    """Starts this script again where it may mount; returns if it has been."""
    if os.environ.get("KERNELITES_MAY_MOUNT"):
        return
    for options in (["-m"], ["-r", "-m"]):
        if subprocess.run(["unshare", *options, "true"], stderr=subprocess.DEVNULL, check=False).returncode == 0:
            os.environ["KERNELITES_MAY_MOUNT"] = "1"
            os.execvp("unshare", ["unshare", *options, sys.executable, "-B", *sys.argv])
    raise SystemExit("neither root nor user namespaces: nothing can be mounted here")


def mount(folder, options):
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], check=True)


class FullDiskTest:
    def __init__(self, options, folder):
        self.options, self.folder, self.log = options, folder, folder / "log"
        endpoint = rig.write_replies(folder / "replies", 3 * CANDIDATES, 1)
        self.arguments = ["--task", "rmsnorm", "--data", options.data, "--device", "vgpu", "--worker", rig.WORKER,
                          "--endpoint", endpoint, "--budget-candidates", CANDIDATES, "--patience", 0,
                          "--deterministic", "--in-flight", 4, "--operators", "refine=0.8", "tune=0.2"]
        self.problems, self.full = [], 0

    def session(self, run):
        """(exit code, what it said in the end)."""
        self.log.unlink(missing_ok=True)
        controller = rig.Controller(self.options.program, run, self.arguments, self.log)
        code = controller.wait(120)
        controller.kill()
        return code, self.log.read_text(errors="replace").strip().splitlines()[-1:]

    def expect(self, is_so, what):
        if not is_so:
            self.problems.append(what)

    def fill(self, disk, run):
        told = 0
        for step in range(1, STEPS_MAX):
            mount(disk, f"remount,size={step * STEP_KIB}k")
            code, said = self.session(run)
            if code == 0:
                return
            self.full += 1
            self.expect(code == 3 and any(word in str(said) for word in ("full", "disk I/O error", "No space")),
                        f"step {step}: exit code {code}, {said}")
            if not (run / "run.db").exists():
                continue
            whole, text = rig.ask(self.options.program, "archive", "verify", run)
            if whole != 0 and told:
                self.problems.append(f"step {step}: {text}")
            if whole == 0:
                now = rig.rows_of(run, "SELECT count(*) FROM candidate WHERE told IS NOT NULL")[0][0]
                self.expect(now >= told, f"step {step}: {told} were told, now {now}")
                told = now
        self.problems.append("the disk never sufficed")

    def main(self):
        code, said = self.session(self.folder / "with_room")
        self.expect(code == 0, f"with room: {code} {said}")
        disk = self.folder / "disk"
        disk.mkdir()
        mount(disk, f"size={STEP_KIB}k")
        run = disk / "run"
        self.fill(disk, run)
        self.expect(self.full >= 2, f"it was full only {self.full} times")
        mount(disk, "remount,ro")
        code, said = self.session(run)
        is_named = "disk/run" in str(said) and "read-only" in str(said)
        self.expect(code in (2, 3) and is_named, f"read-only: {code} {said}")
        mount(disk, "remount,rw")
        dumps = [rig.ask(self.options.program, "dump", one)[1] for one in (self.folder / "with_room", run)]
        self.expect(dumps[0] == dumps[1] and len(dumps[0]) > 2000, "the dumps differ")
        print(f"full {self.full} times, read-only once: {said}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--shim", type=Path, help="not used: this disk is real")
    options = parser.parse_args()
    enter_namespace()
    with tempfile.TemporaryDirectory(prefix="kernelites_full_") as folder:
        test = FullDiskTest(options, Path(folder))
        try:
            test.main()
        finally:
            subprocess.run(["umount", "-l", str(test.folder / "disk")], stderr=subprocess.DEVNULL, check=False)
        for problem in test.problems:
            print(problem)
        print("0 passed, 1 failed" if test.problems else "1 passed, 0 failed")
        return 1 if test.problems else 0


if __name__ == "__main__":
    sys.exit(main())
