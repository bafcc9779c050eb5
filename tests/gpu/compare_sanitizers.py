#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The planted bugs under compute-sanitizer's four tools on this machine's GPU, beside what the virtual GPU finds.

  compare_sanitizers.py run --vgpu PROGRAM --out FOLDER   builds the kernels, runs all of them under every tool; writes
                                                          FOLDER/results.json (PROGRAM: build/.../vgpu_planted). With
                                                          --go-on RESULTS.json: only what is not in there.
  compare_sanitizers.py table RESULTS.json                the tables of docs/planted_bugs.md, on standard output

  compare_sanitizers.py table RESULTS.json                the tables of docs/planted_bugs.md, on stdout
the reported lines is a marked one. The twins run too: what a tool reports for one of them is a false alarm. Starting a
context is what takes the time (0.35 s, one after the other): the times are of a few kernels that run alone.
"""

import argparse
import concurrent.futures
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PTX = ROOT / "tests" / "vgpu" / "ptx"
FILES = ["planted_bugs", "planted_memory", "planted_races", "planted_sync", "planted_grid"]
ASYNC_FILES = ["planted_async", "planted_bulk", "planted_wgmma", "planted_cluster", "planted_registers"]
HONEST = ["honest", "honest_patterns"]
TOOLS = {"memcheck": ["--padding", "256"], "racecheck": [], "initcheck": [], "synccheck": []}
# A kernel of these kinds may never end: it runs after all others, so that it slows nobody down.
ENDLESS = ("divergent_barrier", "deadlock", "budget_exceeded", "invalid_shuffle")
KERNEL_SECONDS = 3
TIMED = 3  # kernels that are run alone for the times
LOG_BYTES = 4000


def find_cuda_program(name):
    home = Path(os.environ.get("CUDA_HOME", "/usr/local/cuda"))
    for place in (shutil.which(name), home / "bin" / name, home / "compute-sanitizer" / name):
        if place and Path(place).exists():
            return str(place)
    sys.exit(f"no {name} here")


def read_kernels(files):
    """[{name, file, lines, job}] of all kernels, in order."""
    kernels = []
    for file in files:
        for number, text in enumerate((PTX / f"{file}.cu").read_text().splitlines(), 1):
            if text.startswith("KERNEL "):
                facts = text.partition("// launch:")[2]
                count = lambda key, otherwise: int((re.search(key + r" (\d+)", facts) or [0, otherwise])[1])
                name = text[7:text.index("(")]
                shape = [count("grid", 4), count("block", 64), count("shared", 0), int("cooperative" in facts)]
                job = ":".join(map(str, [name, *shape]))
                kernels.append({"name": name, "file": file, "lines": [], "job": job})
            if "<- bug" in text and kernels:
                kernels[-1]["lines"].append(number)
    return kernels


def run_limited(command, seconds):
    """(output, seconds it took, did it end by itself?)"""
    start = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                               start_new_session=True)
    try:
        output, _ = process.communicate(timeout=seconds)
        is_over = True
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        is_over = False
    return output.decode(errors="replace"), time.monotonic() - start, is_over


def command_of(tool, launcher, cubin, jobs, seconds):
    plain = [str(launcher), str(cubin), str(seconds), *jobs]
    if tool == "none":
        return plain
    # Errors of API calls are the device's own and are seen without a tool.
    return [find_cuda_program("compute-sanitizer"), "--tool", tool, "--report-api-errors", "no", "--print-limit", "4",
            *TOOLS[tool], *plain]


def build(out):
    launcher = out / "planted_launch"
    nvcc = find_cuda_program("nvcc")
    commands = [[nvcc, "-O1", "-std=c++20", "-o", str(launcher), str(ROOT / "tests/gpu/planted_launch.cu"), "-lcuda"]]
    for file in FILES + HONEST:
        for is_mended in (False, True) if file in FILES else (True,):
            commands.append([nvcc, "-cubin", "-arch=sm_90a", "-lineinfo", *(["-DMENDED"] if is_mended else []), "-o",
                             str(cubin_of(out, file, is_mended)), str(PTX / f"{file}.cu")])
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for command, result in zip(commands, pool.map(lambda c: subprocess.run(c, capture_output=True), commands)):
            if result.returncode:
                sys.exit(f"{' '.join(command)}\n{result.stderr.decode()}")
    return launcher


def cubin_of(out, file, is_mended):
    return out / (file + (".mended" if is_mended else "") + ".cubin")


def run_honest(out, launcher, tool):
    """Honest kernels of one file share a process: none may fault, and the start of a tool costs more than a kernel."""
    runs = []
    for file in FILES + HONEST:
        jobs = [kernel["job"] for kernel in read_kernels([file])]
        command = command_of(tool, launcher, cubin_of(out, file, True), jobs, 20)
        output, seconds, is_over = run_limited(command, 60)
        runs.append({"tool": tool, "file": file, "mended": True, "seconds": seconds, "is_over": is_over,
                     "kernels": len(jobs), "log": output[-40 * LOG_BYTES:]})
    return runs


def run_planted(out, launcher, kernel, tool, is_alone=False):
    command = command_of(tool, launcher, cubin_of(out, kernel["file"], False), [kernel["job"]], KERNEL_SECONDS)
    output, seconds, is_over = run_limited(command, 30)
    return {"tool": tool, "kernel": kernel["name"], "mended": False, "seconds": seconds, "is_over": is_over,
            "is_alone": is_alone, "lines": kernel["lines"],
            "log": output[:LOG_BYTES] + ("\n...\n" + output[-600:] if len(output) > LOG_BYTES else "")}


def key_of(run):
    return run["tool"], run.get("kernel") or run["file"], run["mended"], run.get("is_alone", False)


class Campaign:
    """All runs of one comparison, within a limit of seconds; what has been run before is not run again."""

    def __init__(self, out, jobs, seconds, earlier):
        self.out, self.jobs, self.runs = out, jobs, earlier
        self.start = time.monotonic()
        self.end = self.start + seconds
        self.done = {key_of(run) for run in earlier}

    def collect(self, jobs, tasks, write):
        """tasks: [(key, function, arguments...)]"""
        def guarded(function, *arguments):
            return function(*arguments) if time.monotonic() < self.end else []

        with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
            futures = [pool.submit(guarded, *task) for key, *task in tasks if key not in self.done]
            for future in concurrent.futures.as_completed(futures):
                done = future.result()
                self.runs += done if isinstance(done, list) else [done]
        write(self.runs)
        print(f"{len(self.runs)} runs after {time.monotonic() - self.start:.0f} s", flush=True)


def run(arguments):
    out = Path(arguments.out).resolve()
    out.mkdir(parents=True, exist_ok=True)
    kernels = read_kernels(FILES)
    found = subprocess.run([arguments.vgpu, str(PTX)], capture_output=True, check=True, text=True).stdout
    results = {"vgpu": [json.loads(line) for line in found.splitlines()],
               "device": subprocess.run(["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"],
                                        capture_output=True, text=True).stdout.strip(),
               "tool": subprocess.run([find_cuda_program("compute-sanitizer"), "--version"], capture_output=True,
                                      text=True).stdout.strip().splitlines()[-1:]}
    earlier = json.loads(Path(arguments.go_on).read_text())["runs"] if arguments.go_on else []
    campaign = Campaign(out, arguments.jobs, arguments.seconds, earlier)
    launcher = build(out)
    write = lambda runs: (out / "results.json").write_text(json.dumps({**results, "runs": runs}))
    tools = ["none", *TOOLS]
    planted = lambda chosen: [((tool, kernel["name"], False, False), run_planted, out, launcher, kernel, tool)
                              for kernel in chosen for tool in tools]
    quick = [kernel for kernel in kernels if not kernel["name"].startswith(ENDLESS)]
    campaign.collect(1, [((tool, kernel["name"], False, True), run_planted, out, launcher, kernel, tool, True)
                         for kernel in quick[::len(quick) // TIMED][:TIMED] for tool in tools], write)
    campaign.collect(arguments.jobs, [((tool, FILES[0], True, False), run_honest, out, launcher, tool)
                                      for tool in tools], write)
    campaign.collect(arguments.jobs, planted(quick), write)
    campaign.collect(arguments.jobs, planted([kernel for kernel in kernels if kernel not in quick]), write)
    for file in [*out.glob("*.cubin"), launcher]:
        file.unlink()


# ---- the tables

def lines_reported(log):
    return {int(number) for number in re.findall(r"planted\w*\.cu:(\d+)", log)}


def reports(log):
    """How many findings a log holds."""
    total = 0
    for number in re.findall(r"ERROR SUMMARY: (\d+) errors?$", log, re.MULTILINE):
        total += int(number)
    for number in re.findall(r"RACECHECK SUMMARY: (\d+) hazard", log):
        total += int(number)
    return total


def false_alarms(runs):
    """{tool: honest kernels that it complains about}"""
    alarms = {tool: set() for tool in ["none", *TOOLS]}
    for run in runs:
        if run["mended"] and reports(run["log"]):
            alarms[run["tool"]] |= set(re.findall(r" at (\w+)\+0x", run["log"]))
    return alarms


def outcome(run, kernel, alarms):
    """'place', 'found', 'hang', 'error' (the device itself), 'alarm' (the twin is reported too) or ''."""
    if run is None:
        return "-"
    if run["tool"] != "none" and reports(run["log"]):
        if kernel["name"] in alarms[run["tool"]]:
            return "alarm"
        return "place" if not run["lines"] or lines_reported(run["log"]) & set(run["lines"]) else "found"
    if " timeout" in run["log"] or not run["is_over"]:
        return "hang"
    if re.search(r"^end \S+ error", run["log"], re.MULTILINE):
        return "error"
    return ""


WORDS = {"place": "line", "found": "found", "hang": "hangs", "error": "fails", "": "", "-": "not run",
         "alarm": "twin too"}


def table(arguments):
    results = json.loads(Path(arguments.results).read_text())
    kernels = read_kernels(FILES)
    vgpu = {line["kernel"]: line for line in results["vgpu"] if not line["mended"]}
    runs = {(run["tool"], run["kernel"]): run for run in results["runs"]
            if "kernel" in run and not run.get("is_alone")}
    tools = ["none", *TOOLS]
    kinds = list(dict.fromkeys(kernel["name"].split("__")[0] for kernel in kernels))
    alarms = false_alarms(results["runs"])
    cell = {(tool, k["name"]): outcome(runs.get((tool, k["name"])), k, alarms) for tool in tools for k in kernels}
    is_found = lambda tool, name: cell[tool, name] in ("place", "found")
    print(f"{results['device']}, {' '.join(results['tool'])}. Found, of which at the marked line.\n")
    print("| kind | kernels | vgpu | " + " | ".join(TOOLS) + " | any of the four | device alone |")
    print("| --- " * (len(TOOLS) + 5) + "|")
    for kind in [*kinds, "all"]:
        chosen = [k for k in kernels if kind == "all" or k["name"].startswith(kind + "__")]
        row = [kind, str(len(chosen)), str(sum(vgpu[k["name"]]["is_right"] for k in chosen))]
        for tool in TOOLS:
            found = sum(is_found(tool, k["name"]) for k in chosen)
            row.append(f"{found} ({sum(cell[tool, k['name']] == 'place' for k in chosen)})" if found else "0")
        row.append(str(sum(any(is_found(tool, k["name"]) for tool in TOOLS) for k in chosen)))
        fails = sum(cell["none", k["name"]] == "error" for k in chosen)
        hangs = sum(cell["none", k["name"]] == "hang" for k in chosen)
        row.append(", ".join(filter(None, [f"{fails} fail" if fails else "", f"{hangs} hang" if hangs else ""])))
        print("| " + " | ".join(row) + " |")
    def median_ms(tool):
        times = [1e3 * run["seconds"] for run in results["runs"] if run["tool"] == tool and run.get("is_alone")]
        return f"{statistics.median(times):.0f} ms" if times else "-"
    own = f"{statistics.median(line['ms'] for line in vgpu.values()):.2f} ms"
    times = [own, *(median_ms(tool) for tool in TOOLS)]
    print("| median time | | " + " | ".join(times) + f" | | {median_ms('none')} |")
    own = sum(line["kind"] != "" for line in results["vgpu"] if line["mended"])
    counts = [own, *(len(alarms[tool]) for tool in TOOLS)]
    print("| honest kernels reported | | " + " | ".join(map(str, counts)) + " | | |\n")
    print("| kernel | vgpu | " + " | ".join(tools[1:]) + " | device alone |")
    print("| --- " * (len(TOOLS) + 3) + "|")
    for k in kernels:
        own = "line" if vgpu[k["name"]]["is_right"] else vgpu[k["name"]]["kind"] or ""
        words = [WORDS[cell[tool, k["name"]]] for tool in [*TOOLS, "none"]]
        print(f"| {k['name']} | {own} | " + " | ".join(words) + " |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(required=True)
    verb = verbs.add_parser("run")
    verb.add_argument("--vgpu", required=True)
    verb.add_argument("--out", required=True)
    verb.add_argument("--jobs", type=int, default=os.cpu_count())
    verb.add_argument("--seconds", type=float, default=400, help="start nothing after this time")
    verb.add_argument("--go-on", metavar="RESULTS")
    verb.set_defaults(action=run)
    verb = verbs.add_parser("table")
    verb.add_argument("results")
    verb.set_defaults(action=table)
    arguments = parser.parse_args()
    arguments.action(arguments)


if __name__ == "__main__":
    main()
