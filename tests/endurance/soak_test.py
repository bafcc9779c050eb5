#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A day in minutes: one controller whose clocks run fast, a model server that fails now and then, workers that die.

   soak_test.py --program KERNELITES --data ROOT --shim SO [--seconds S] [--hours H] [--seed N]

The run's own budget of H hours (24) ends it after about S seconds. Meanwhile workers are killed and stopped, the
controller is stopped and its wall clock jumps. After a first quarter its memory and descriptors must be flat; the
database may grow with what was recorded alone; no zombie stays and nothing lives on.
"""
import argparse
import json
import random
import signal
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import endurance_rig as rig  # noqa: E402

RSS_GROWTH_KIB_MAX = 6 * 1024
PAGE_CACHE_KIB = 64 * 1024  # of SQLite, as the archive sets it: until it is full, memory grows with the database
BYTES_PER_CANDIDATE_MAX = 64 * 1024


class Model(BaseHTTPRequestHandler):
    """Answers chat completions with a new kernel each; one in fifteen requests goes wrong."""

    protocol_version = "HTTP/1.1"
    draw, lock, count = random.Random(5), threading.Lock(), 0

    def log_message(self, *_):
        pass

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        with Model.lock:
            Model.count += 1
            number, luck, salt = Model.count, Model.draw.random(), Model.draw.getrandbits(64)
        if luck < 0.02:
            return self.answer(429, {"error": {"message": "slow down"}}, {"Retry-After": "1"})
        if luck < 0.04:
            return self.answer(500, {"error": {"message": "oh"}})
        if luck < 0.06:  # hangs up in the middle
            self.send_response(200)
            self.send_header("Content-Length", "5000")
            self.end_headers()
            self.wfile.write(b'{"choices": [')
            self.close_connection = True
            return None
        text = "no code" if luck < 0.1 else (f"SUMMARY: number {number}\n```cuda\n// kernel {salt:x}\n"
                                             f"{'// what it does' * 100}\n__global__ void k() {{}}\n```\n")
        return self.answer(200, {"choices": [{"message": {"content": text}, "finish_reason": "stop"}],
                                 "usage": {"prompt_tokens": 900, "completion_tokens": 300}})

    def answer(self, code, body, headers=None):
        text = json.dumps(body).encode()
        self.send_response(code)
        all_headers = {"Content-Type": "application/json", "Content-Length": str(len(text)), **(headers or {})}
        for name, value in all_headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text)


def configuration(folder, port, hours):
    """Deadlines that the loaded machine cannot reach: seconds pass fast here."""
    (folder / "endpoint.json").write_text(json.dumps({
        "kind": "openai", "base_url": f"http://127.0.0.1:{port}/v1", "model": "scripted", "stream": False,
        "deadlines": {"connect_s": 80000, "first_byte_s": 80000, "idle_s": 80000, "total_s": 80000},
        "retry": {"attempts_max": 6, "backoff_first_s": 1, "backoff_max_s": 60}}))
    config = folder / "config.json"
    config.write_text(json.dumps({
        "task": "rmsnorm", "device": "vgpu", "examine_deadline_s": 86400, "duel_deadline_s": 86400, "in_flight": 8,
        "operators": {"refine": 0.8, "tune": 0.2}, "stagnation": {"is_on": False}, "barren_max": 1000,
        "stop_grace_s": 3600, "budget": {"minutes": 60 * hours},
        "workers": {"program": str(rig.WORKER), "count": 2, "greeting_s": 600000, "outage_s": 600000}}))
    return config


def number_in_status(pid, key):
    for line in (Path("/proc") / str(pid) / "status").read_text().splitlines():
        if line.startswith(key):
            return int(line.split()[1])
    return 0


class Soak:
    def __init__(self, options, folder):
        self.options, self.folder = options, folder
        self.draw = random.Random(options.seed)
        self.rows, self.problems, self.faults_done = [], [], 0
        self.zombies = {}

    def sample(self, pid, start):
        try:
            descriptors = len(list((Path("/proc") / str(pid) / "fd").iterdir()))
            self.rows.append((time.monotonic() - start, number_in_status(pid, "VmRSS"), descriptors))
        except (OSError, ValueError):
            return
        living = {child[0] for child in rig.children_of(pid) if child[2] == "Z"}
        self.zombies = {child: self.zombies.get(child, 0) + 1 for child in living}
        if max(self.zombies.values(), default=0) > 20:
            self.problems.append(f"zombies stay: {self.zombies}")

    def disturb(self, controller, faults):
        self.faults_done += 1
        act = self.draw.randrange(10)
        if act == 0:
            faults.set(rate=self.rate, jump_s=self.draw.choice([-3600, 3600, 0]))
        elif act == 1:
            controller.signal(signal.SIGSTOP)
            time.sleep(0.05)
            controller.signal(signal.SIGCONT)
        else:
            workers = [child[0] for child in rig.children_of(controller.pid) if child[2] != "Z"]
            if workers:
                try:
                    rig.os.kill(self.draw.choice(workers), signal.SIGKILL if act < 8 else signal.SIGSTOP)
                except ProcessLookupError:
                    return
                if act >= 8:  # goes on when it is killed by a later fault, or is continued here
                    time.sleep(0.05)
                    for worker in workers:
                        try:
                            rig.os.kill(worker, signal.SIGCONT)
                        except ProcessLookupError:
                            pass

    def run(self):
        server = ThreadingHTTPServer(("127.0.0.1", 0), Model)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.rate = 3600 * self.options.hours / self.options.seconds
        faults = rig.Faults(self.folder / "faults")
        run = self.folder / "run"
        config = configuration(self.folder, server.server_address[1], self.options.hours)
        controller = rig.Controller(
            self.options.program, run, ["--config", config, "--data", self.options.data, "--endpoint",
                                        self.folder / "endpoint.json"],
            self.folder / "log", self.options.shim, faults)
        start = time.monotonic()
        # Time flies once the run is under way: its first words to the model server have a deadline of their own.
        while not (run / "events.jsonl").exists() and controller.wait(0.02) is None:
            pass
        faults.set(rate=self.rate)
        next_fault = time.monotonic() + 0.1 * self.options.seconds
        while controller.wait(0.1) is None and time.monotonic() - start < 4 * self.options.seconds + 60:
            self.sample(controller.pid, start)
            if time.monotonic() > next_fault:
                self.disturb(controller, faults)
                next_fault = time.monotonic() + self.draw.expovariate(1 / self.options.pause_s)
        code = controller.wait(0)
        controller.kill()
        server.shutdown()
        if code != 0:
            self.problems.append(f"exit code {code}: {(self.folder / 'log').read_text(errors='replace')[-800:]}")
        else:
            self.judge(run, time.monotonic() - start)

    def judge(self, run, seconds):
        told, calls, wall_s = rig.rows_of(
            run, "SELECT (SELECT count(*) FROM candidate WHERE told IS NOT NULL), (SELECT count(*) FROM model_call), "
            "(SELECT wall_s FROM run)")[0]
        failed = rig.rows_of(run, "SELECT count(*) FROM evaluation WHERE state = 'failed'")[0][0]
        incidents = rig.rows_of(run, "SELECT count(*) FROM event WHERE event = 'incident'")[0][0]
        size = sum(f.stat().st_size for f in run.glob("run.db*"))
        log_size = (run / "events.jsonl").stat().st_size
        settled = [row for row in self.rows if row[0] > self.rows[-1][0] / 4]
        last = [row for row in self.rows if row[0] > self.rows[-1][0] * 3 / 4]
        rss = [sum(row[1] for row in settled[:5]) / len(settled[:5]), sum(row[1] for row in last[-5:]) / len(last[-5:])]
        descriptors = [max(row[2] for row in settled[:len(settled) // 3]), max(row[2] for row in last)]
        print(f"{wall_s / 3600:.1f} simulated hours in {seconds:.0f} s: {told} candidates, {calls} model calls, "
              f"{self.faults_done} faults, {incidents} incidents, {failed} evaluations given up")
        print(f"RSS {rss[0]:.0f} -> {rss[1]:.0f} KiB; descriptors at most {descriptors[0]} -> {descriptors[1]}; "
              f"database {size / told:.0f} bytes a candidate, events.jsonl {log_size / told:.0f}")
        code, text = rig.ask(self.options.program, "archive", "verify", run)
        twice = rig.rows_of(run, "SELECT told FROM candidate WHERE told IS NOT NULL GROUP BY told HAVING count(*) > 1")
        is_cache_full = size / 4 > 1024 * PAGE_CACHE_KIB  # after the first quarter
        room = RSS_GROWTH_KIB_MAX + (0 if is_cache_full else min(PAGE_CACHE_KIB, size / 1024))
        per_candidate = (rss[1] - rss[0]) / told
        for is_good, what in (
                (code == 0, text), (wall_s >= 3600 * self.options.hours * 0.99, f"only {wall_s} s have passed"),
                (told > 10, f"only {told} candidates"), (self.faults_done >= 1, f"only {self.faults_done} faults"),
                (rss[1] - rss[0] < room, f"memory grows: {per_candidate:.2f} KiB a candidate"),
                (descriptors[1] <= descriptors[0] + 4, f"descriptors grow: {descriptors}"),
                (size / told < BYTES_PER_CANDIDATE_MAX, f"the database takes {size / told:.0f} bytes a candidate"),
                (failed == 0, f"{failed} evaluations were given up"), (not twice, "something was told twice")):
            if not is_good:
                self.problems.append(what)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--shim", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--hours", type=float, default=24)
    parser.add_argument("--pause-s", type=float, default=0.7, help="mean time between two faults")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kernelites_soak_") as folder:
        soak = Soak(options, Path(folder))
        soak.run()
        for problem in soak.problems:
            print(problem)
        print("0 passed, 1 failed" if soak.problems else "1 passed, 0 failed")
        return 1 if soak.problems else 0


if __name__ == "__main__":
    sys.exit(main())
