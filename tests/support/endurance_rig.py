# SPDX-License-Identifier: Apache-2.0
"""What the endurance tests share: scripted replies, a controller under faults, and what its run folder says."""

import contextlib
import json
import mmap
import os
import random
import signal
import sqlite3
import struct
import subprocess
from pathlib import Path

WORKER = Path(__file__).with_name("cheap_worker.py")


def write_replies(folder, count, seed):
    """An endpoint file of `count` scripted replies, used in turn: kernels that differ, some that are none."""
    draw = random.Random(seed)
    calls = []
    for number in range(count):
        code = f"```cuda\n// kernel {seed}.{number}\n__global__ void k() {{ /* {draw.getrandbits(64):x} */ }}\n```\n"
        text = "I have no idea today." if draw.random() < 0.08 else f"SUMMARY: variant {number}\n{code}"
        calls.append({"id": f"{number}-0", "ordinal": number, "digest": "0" * 64, "model": "scripted", "text": text,
                      "usage": {"input_tokens": 100, "output_tokens": 50}})
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "replies.json").write_text(json.dumps({"version": 1, "calls": calls}))
    endpoint = folder / "endpoint.json"
    endpoint.write_text(json.dumps({"kind": "replay", "recording": "replies.json", "match": "cycle"}))
    return endpoint


class Faults:
    """The file that the preloaded shim obeys (tests/support/fault_shim.cpp)."""

    LAYOUT = "iiqdq"

    def __init__(self, file):
        file.write_bytes(bytes(struct.calcsize(self.LAYOUT)))
        self.file = file
        self.handle = open(file, "r+b")
        self.map = mmap.mmap(self.handle.fileno(), 0)
        self.set()

    def set(self, error=0, calls=0, jump_s=0, rate=1.0):
        self.map[:] = struct.pack(self.LAYOUT, error, calls, jump_s, rate, 0)

    def failed(self):
        return struct.unpack(self.LAYOUT, self.map[:])[4]

    def close(self):
        self.map.close()
        self.handle.close()


class Controller:
    """`kernelites run` as a process of its own session, preloaded with the shim."""

    def __init__(self, program, run, arguments, log, shim=None, faults=None, environment=None):
        env = dict(os.environ) | (environment or {})
        if shim:
            env |= {"LD_PRELOAD": str(shim), "KERNELITES_FAULTS": str(faults.file)}
        self.log = open(log, "ab")
        self.process = subprocess.Popen(
            [str(program), "run", "--out", str(run), "--plain", *map(str, arguments)], stdin=subprocess.DEVNULL,
            stdout=self.log, stderr=self.log, env=env)

    @property
    def pid(self):
        return self.process.pid

    def has_ended(self):
        return self.process.poll() is not None

    def wait(self, seconds):
        """The exit code, or None after so long."""
        try:
            return self.process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            return None

    def signal(self, number):
        if not self.has_ended():
            os.kill(self.pid, number)

    def kill(self):
        """SIGKILL, and what it left behind is to end by itself."""
        self.signal(signal.SIGKILL)
        self.process.wait()
        self.log.close()


def children_of(pid):
    """[(pid, command name, state)] of the living and the zombies below `pid`, directly or further down."""
    rows = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            stat = (entry / "stat").read_text()
        except OSError:
            continue
        name = stat[stat.index("(") + 1:stat.rindex(")")]
        state, parent = stat[stat.rindex(")") + 2:].split()[:2]
        rows[int(entry.name)] = (int(parent), name, state)
    found, level = [], {pid}
    while level:
        level = {child for child, row in rows.items() if row[0] in level}
        found += [(child, rows[child][1], rows[child][2]) for child in level]
    return found


def ask(program, *arguments):
    """(exit code, output) of a command that only reads."""
    done = subprocess.run([str(program), *map(str, arguments)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=120, check=False)
    return done.returncode, done.stdout.decode(errors="replace")


def rows_of(run, sql):
    with contextlib.closing(sqlite3.connect(f"file:{run / 'run.db'}?mode=ro", uri=True, timeout=10)) as database:
        return database.execute(sql).fetchall()
