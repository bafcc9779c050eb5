# SPDX-License-Identifier: Apache-2.0
"""Times candidates beside a library's kernels: a file of jobs in, a file of results out (docs/baselines.md).

  baseline_batch.py --worker kernelites-worker [--prove] IN.jsonl OUT.jsonl

A job, one line: {"kernelites_baseline_job": 1, "id", "request": a duel's request (evaluators/protocol/protocol.h),
"digests": {"task", "arms": {arm: candidate's id}}, handed through; "baseline_source": text of a baseline.py,
"baselines": [names; all if empty], "limit_s": seconds for each workload}.
A result, one line per workload:
{"kernelites_baseline": 1, "id", "workload", "device", "torch", "date", "error", "times_us": {arm: [one per round]},
"baselines": [arms that are baselines], "agreement": {arm: {output: share of the gates}}, "unavailable": {arm: why},
"digests", "empty_us", "sets", "spin_us", "wall_s"}. What is in OUT already is not measured again.

Candidates are proven ones; with --prove the worker examines them first, and those that fail are left out. The work is
done by a child, which is started again after a crash: the arm that it died with is left out then. With --warm N the
arms are first made by N processes at a time, for the caches of what compiles when it is called.
"""

import argparse
import json
import os
import secrets
import subprocess
import sys
import time
from pathlib import Path

DEVICE_LOST = 70  # exit code of a child whose context is gone
NO_PYTORCH = 71  # or that cannot begin at all
DEATHS_MAX = 20
SETS_MAX = 8


def read_lines(path):
    """Whole lines of JSON; a torn last one is left out."""
    lines = []
    for line in Path(path).read_text().splitlines() if Path(path).exists() else ():
        try:
            lines.append(json.loads(line))
        except json.JSONDecodeError:
            pass
    return lines


def open_workloads(jobs, results):
    """[(job, workload name)] without a result, in the jobs' order."""
    done = {(result["id"], result["workload"]) for result in results}
    return [(job, name) for job in jobs for name in job["request"]["duel"]["workloads"]
            if (job["request"]["id"], name) not in done]


def append(path, line):
    with open(path, "a", encoding="utf-8") as stream:
        stream.write(json.dumps(line) + "\n")


class Progress:
    """A small file that says what the child is at: what it died with, and whether it still moves."""

    def __init__(self, path):
        self.path = Path(path)

    def tell(self, ident, workload, arm):
        self.path.write_text(json.dumps([ident, workload, arm]))

    def read(self):
        try:
            return json.loads(self.path.read_text())
        except (OSError, json.JSONDecodeError):
            return ["", "", ""]

    def age_s(self):
        return time.time() - self.path.stat().st_mtime if self.path.exists() else 0.0


def chosen_baselines(job):
    """The functions of the job's baseline.py that it asks for."""
    from arm_rounds import load_baselines
    functions, wanted = load_baselines(job["baseline_source"]), job.get("baselines")
    return {name: function for name, function in functions.items() if not wanted or name in wanted}


def make_arms(job, code, workload, excluded, progress, sets_max):
    """A rig with all arms that can be had."""
    from torch_rig import Rig, is_device_lost
    ident, name = job["request"]["id"], workload["name"]
    rig, baselines = Rig(code, workload, sets_max), chosen_baselines(job)
    candidates = [arm["label"] for arm in job["request"]["duel"]["arms"]]
    adds = {arm: lambda arm=arm: rig.add_candidate(arm) for arm in candidates}
    adds.update({arm: lambda arm=arm: rig.add_baseline(arm, baselines[arm]) for arm in baselines})
    for arm, add in adds.items():
        progress.tell(ident, name, arm)
        if arm in excluded:
            rig.unavailable[arm] = excluded[arm]
        elif "refused" in code["arms"].get(arm, {}):
            rig.unavailable[arm] = code["arms"][arm]["refused"]
        else:
            rig.try_arm(arm, add)
            if is_device_lost():
                os._exit(DEVICE_LOST)
    progress.tell(ident, name, "")
    return rig


def measure_workload(job, code, workload, excluded, progress):
    """One result line, without what the caller knows."""
    rig = make_arms(job, code, workload, excluded, progress, SETS_MAX)
    result = rig.measure(1, job["request"]["duel"]["rounds"], job["limit_s"])
    result["baselines"] = list(chosen_baselines(job))
    return result


def warm(options):
    """The child of --warm: makes the arms of every N-th workload once. What fails will fail again, and be told."""
    progress = Progress(options.progress)
    codes = {code["id"]: code for code in read_lines(options.code)}
    number, count = map(int, options.part.split("/"))
    for job, name in open_workloads(read_lines(options.jobs), read_lines(options.results))[number::count]:
        code = codes.get(job["request"]["id"], {"error": "no code"})
        for workload in [] if code["error"] else [w for w in code["workloads"] if w["name"] == name]:
            try:
                make_arms(job, code, workload, {}, progress, 1)
            except Exception as error:  # told by the child that measures
                print(f"baseline_batch: warming {name}: {error}", file=sys.stderr)


def head_of_result(job, code, workload, torch_version):
    """What a result line says besides what was measured: of what, where and when."""
    return {"kernelites_baseline": 1, "id": job["request"]["id"], "workload": workload,
            "device": code.get("device", {}), "torch": torch_version, "date": time.strftime("%Y-%m-%d"),
            "digests": job.get("digests", {}), "error": code.get("error", "")}


def lacking():
    """What this Python lacks, in words; empty: nothing."""
    try:
        import torch
    except ImportError as error:
        return f"{sys.executable} cannot import PyTorch: {error}"
    return "" if torch.cuda.is_available() else "PyTorch sees no CUDA device"


def work(options):
    """The child: all open workloads, one after the other."""
    if lack := lacking():
        print(f"baseline_batch: {lack}", file=sys.stderr)
        return NO_PYTORCH
    import torch
    progress = Progress(options.progress)
    codes = {code["id"]: code for code in read_lines(options.code)}
    excluded = json.loads(options.excluded)
    for job, name in open_workloads(read_lines(options.jobs), read_lines(options.results)):
        ident, began = job["request"]["id"], time.time()
        progress.tell(ident, name, "")
        code = codes.get(ident, {"error": "the worker gave no code"})
        result = head_of_result(job, code, name, torch.__version__)
        if not result["error"]:
            try:
                workload = next(w for w in code["workloads"] if w["name"] == name)
                left_out = {arm: why for at_id, at, arm, why in excluded if (at_id, at) == (ident, name)}
                result.update(measure_workload(job, code, workload, left_out, progress))
            except Exception as error:  # this workload's trouble; the others go on
                from torch_rig import is_device_lost, words
                if is_device_lost():
                    os._exit(DEVICE_LOST)
                result["error"] = words(error)
        result["wall_s"] = time.time() - began
        append(options.results, result)
        torch.cuda.empty_cache()


def watch(child, progress, stall_s, ends):
    """Waits for the child; why it was ended, empty if it ended by itself."""
    while child.poll() is None:
        time.sleep(0.1)
        if time.time() > ends:
            child.kill()
            return "the batch's time is over"
        if progress.age_s() > stall_s:
            child.kill()
            return f"no progress for {stall_s:.0f} s"
    return ""


def start_child(options, code, progress, further):
    return subprocess.Popen([sys.executable, __file__, "--child", "--code", str(code), "--progress", str(progress),
                             *further, options.jobs, options.results])


def warm_all(options, code, ends):
    """Runs the children of --warm, for half of the batch's time at most."""
    until = (time.time() + ends) / 2
    paths = [Path(options.results).with_suffix(f".warm{i}") for i in range(options.warm)]
    children = [start_child(options, code, path, ["--part", f"{i}/{options.warm}"]) for i, path in enumerate(paths)]
    for child, path in zip(children, paths):
        watch(child, Progress(path), options.stall_s, until)
        path.unlink(missing_ok=True)


def examine_requests(jobs):
    """One request to prove each candidate, by "job:arm"."""
    requests = []
    for job in jobs:
        request = {key: value for key, value in job["request"].items() if key != "duel"}
        for arm in job["request"]["duel"]["arms"]:
            requests.append({**request, "id": f'{request["id"]}:{arm["label"]}',
                             "examine": {"candidate": arm["candidate"], "key": secrets.token_hex(32),
                                         "is_reexamination": False, "is_thorough": False}})
    return requests


def prove(options, jobs, results, code):
    """Has the worker examine all candidates; the code of those that fail is taken out of the file."""
    requests, replies = results.with_suffix(".examine"), results.with_suffix(".verdicts")
    requests.write_text("".join(json.dumps(request) + "\n" for request in examine_requests(jobs)))
    subprocess.run([options.worker, "--device", "gpu", "--batch", requests, replies], check=True,
                   timeout=options.limit_s)
    verdicts = {reply["id"]: reply for reply in read_lines(replies) if "id" in reply}
    lines = read_lines(code)
    for line in lines:
        for arm in line.get("arms", {}):
            reply = verdicts.get(f'{line["id"]}:{arm}', {"error": "it was not examined"})
            verdict = reply.get("examination", {}).get("verdict", {})
            if not verdict.get("is_passed"):
                line["arms"][arm] = {"refused": verdict.get("message") or reply.get("error") or "it did not pass"}
    code.write_text("".join(json.dumps(line) + "\n" for line in lines))
    requests.unlink()
    replies.unlink()


def run_batch(options):
    """The parent. Returns the exit code."""
    ends = time.time() + options.limit_s
    jobs, results = read_lines(options.jobs), Path(options.results)
    requests, code = results.with_suffix(".requests"), results.with_suffix(".code")
    requests.write_text("".join(json.dumps(job["request"]) + "\n" for job in jobs))
    code.unlink(missing_ok=True)
    subprocess.run([options.worker, "--device", "gpu", "--jobs", str(os.cpu_count()), "--code", requests, code],
                   check=True, timeout=options.limit_s)
    if options.prove:
        prove(options, jobs, results, code)
    progress, excluded = Progress(results.with_suffix(".progress")), []
    if options.warm:
        warm_all(options, code, ends)
    for _ in range(DEATHS_MAX):
        if not open_workloads(jobs, read_lines(results)):
            break
        progress.tell("", "", "")
        child = start_child(options, code, progress.path, ["--excluded", json.dumps(excluded)])
        why = watch(child, progress, options.stall_s, ends)
        if child.returncode == NO_PYTORCH:
            return NO_PYTORCH
        if child.returncode == 0 or time.time() > ends:
            break
        ident, workload, arm = progress.read()
        why = why or f"its process ended with code {child.returncode}"
        if arm:
            excluded.append([ident, workload, arm, why])
        elif ident:
            append(results, {"kernelites_baseline": 1, "id": ident, "workload": workload, "error": why})
        else:
            print(f"baseline_batch: {why}", file=sys.stderr)
            return 3
    for path in (requests, code, progress.path):
        path.unlink(missing_ok=True)
    return 0 if not open_workloads(jobs, read_lines(results)) else 1


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("jobs")
    parser.add_argument("results")
    parser.add_argument("--worker", default="kernelites-worker")
    parser.add_argument("--limit-s", type=float, default=3600, help="for the whole batch")
    parser.add_argument("--stall-s", type=float, default=90, help="an arm that takes longer is left out")
    parser.add_argument("--prove", action="store_true", help="examine the candidates first")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--code", help=argparse.SUPPRESS)
    parser.add_argument("--progress", help=argparse.SUPPRESS)
    parser.add_argument("--excluded", default="[]", help=argparse.SUPPRESS)
    parser.add_argument("--part", help=argparse.SUPPRESS)
    parser.add_argument("--warm", type=int, default=0, metavar="N", help="make the arms in N processes beforehand")
    options = parser.parse_args()
    if not options.child:
        return run_batch(options)
    return warm(options) if options.part else work(options)


if __name__ == "__main__":
    sys.exit(main())
