#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Fuzzes parsers in parallel for a given time, and tells processor seconds, executions and findings of each.

Needs the program parser_fuzz (tools/fuzz builds it) and nothing else. Whoever lacks most of the processor seconds that
it is to get comes next, and one that ended with a finding begins again. Corpora grow in WORK/corpus/PARSER, inputs that
are findings lie in WORK/findings/PARSER-*, and WORK/campaigns.jsonl gets one line a parser.
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

SLOTS = 3  # of each processor at least, so that little time is unused at the end
GRACE_S = 15
HOPELESS = 3  # processes in a row that ended at once: nothing is fuzzed that way
AT_ONCE_S = 5

EXECUTED = re.compile(r"^stat::number_of_executed_units:\s+(\d+)", re.MULTILINE)
PEAK = re.compile(r"^stat::peak_rss_mb:\s+(\d+)", re.MULTILINE)
PROGRESS = re.compile(r"^#(\d+)\s.*rss: (\d+)Mb", re.MULTILINE)


class Parser:
    """Sums over the processes of one parser."""

    def __init__(self, name, wanted_s):
        self.name, self.wanted_s = name, wanted_s
        self.cpu_s, self.executions, self.peak_mib, self.processes, self.ended_at_once = 0.0, 0, 0, 0, 0

    def add(self, usage, is_broken, log):
        self.processes += 1
        self.cpu_s += usage.ru_utime + usage.ru_stime
        # A process that was killed leaves its last line of progress, and no figures.
        counts, peaks = EXECUTED.findall(log), PEAK.findall(log)
        for count, peak in [] if counts else PROGRESS.findall(log)[-1:]:
            counts, peaks = [count], [peak]
        self.executions += sum(map(int, counts))
        self.peak_mib = max([self.peak_mib, *map(int, peaks)])
        self.ended_at_once = self.ended_at_once + 1 if is_broken else 0


class Process:
    """One libFuzzer process, its log and its end on the clock."""

    def __init__(self, options, parser, seconds, number):
        self.parser, self.seconds, self.start = parser, seconds, time.monotonic()
        corpus, findings, logs = (options.work / name for name in (f"corpus/{parser.name}", "findings", "logs"))
        for folder in (corpus, findings, logs):
            folder.mkdir(parents=True, exist_ok=True)
        self.log = logs / f"{parser.name}-{os.getpid()}-{number}.log"
        command = [str(options.program), str(corpus), str(options.seeds / parser.name), f"-max_total_time={seconds}",
                   f"-timeout={options.timeout}", "-rss_limit_mb=3000", "-malloc_limit_mb=1500",
                   "-print_final_stats=1", "-reload=5", "-max_len=65536", "-len_control=20",
                   f"-artifact_prefix={findings}/{parser.name}-", "-ignore_remaining_args=1", parser.name]
        environment = os.environ | {"ASAN_OPTIONS": "detect_stack_use_after_return=0:allocator_may_return_null=0",
                                    "UBSAN_OPTIONS": "print_stacktrace=1"}
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                                            env=environment)

    def is_reaped(self):
        """True: it has ended, and is counted."""
        if time.monotonic() > self.start + self.seconds + GRACE_S:
            os.kill(self.process.pid, signal.SIGKILL)  # not Popen's, which may reap it before it is counted
        pid, status, usage = os.wait4(self.process.pid, os.WNOHANG)
        if pid == 0:
            return False
        self.process.returncode = os.waitstatus_to_exitcode(status)  # reaped here
        is_broken = self.process.returncode != 0 and time.monotonic() - self.start < AT_ONCE_S
        self.parser.add(usage, is_broken, self.log.read_text(errors="replace"))
        if self.process.returncode == 0:
            self.log.unlink()
        return True


def neediest(parsers, running):
    """Who lacks most seconds beyond those that are under way; None: nobody lacks any."""
    lacks = {parser: parser.wanted_s - parser.cpu_s for parser in parsers if parser.ended_at_once < HOPELESS}
    for process in running:
        if process.parser in lacks:
            lacks[process.parser] -= process.seconds
    parser = max(lacks, key=lacks.get, default=None)
    return (parser, lacks[parser]) if parser and lacks[parser] >= 1 else (None, 0)


def campaign(options, parsers):
    end = time.monotonic() + options.seconds
    slot = max(1, options.seconds // SLOTS)
    running, begun = [], 0
    try:
        while True:
            while len(running) < options.jobs and end - time.monotonic() >= 1:
                parser, lack = neediest(parsers, running)
                if parser is None:
                    break
                seconds = min(slot, int(end - time.monotonic()), max(AT_ONCE_S, round(lack)))
                running.append(Process(options, parser, max(1, seconds), begun))
                begun += 1
            if not running:
                return
            time.sleep(0.2)
            running = [process for process in running if not process.is_reaped()]
    finally:  # interrupted: they say what they did
        for process in running:
            os.kill(process.process.pid, signal.SIGTERM)
            process.seconds = time.monotonic() - process.start
        while running:
            running = [process for process in running if not process.is_reaped()]
            time.sleep(0.1)


def wanted_seconds(options, names):
    """Processor seconds of each: those of the file, or equal shares of the time."""
    if options.wanted:
        table = json.loads(options.wanted.read_text())
        if missing := sorted(set(names) - set(table)):
            print(f"not in {options.wanted.name}, so not fuzzed: {' '.join(missing)}", flush=True)
        return {name: float(table.get(name, 0)) for name in names}
    return {name: options.seconds * options.jobs / len(names) for name in names}


def arguments():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--program", type=Path, required=True, help="parser_fuzz")
    options.add_argument("--seeds", type=Path, required=True, help="folder with a folder of inputs for each parser")
    options.add_argument("--work", type=Path, required=True, help="where corpora, findings and figures go")
    options.add_argument("--seconds", type=int, default=60, help="on the clock, for all of them together")
    options.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes at once")
    options.add_argument("--wanted", type=Path, help="JSON, processor seconds by parser: ends when all have theirs")
    options.add_argument("--timeout", type=int, default=10, help="an input that takes so many seconds is a finding")
    options.add_argument("parsers", nargs="*", help="all by default")
    chosen = options.parse_args()
    chosen.program = chosen.program.resolve()
    return chosen


def main():
    options = arguments()
    options.work.mkdir(parents=True, exist_ok=True)
    known = sorted(folder.name for folder in options.seeds.iterdir() if folder.is_dir())
    named = {*options.parsers, *(json.loads(options.wanted.read_text()) if options.wanted else ())}
    if unknown := named - set(known):
        sys.exit(f"unknown parser {', '.join(sorted(unknown))}; known: {' '.join(known)}")
    wanted = wanted_seconds(options, options.parsers or known)
    parsers = [Parser(name, seconds) for name, seconds in wanted.items()]
    before = set((options.work / "findings").glob("*"))
    campaign(options, parsers)
    findings = sorted(set((options.work / "findings").glob("*")) - before)
    print(f"{'parser':12} {'processor s':>12} {'executions':>12} {'inputs':>7} {'findings':>8} {'peak MiB':>9}")
    with open(options.work / "campaigns.jsonl", "a") as figures:
        for parser in parsers:
            inputs = len(list((options.work / "corpus" / parser.name).glob("*")))
            found = [path.name for path in findings if path.name.startswith(parser.name + "-")]
            print(f"{parser.name:12} {parser.cpu_s:12.1f} {parser.executions:12} {inputs:7} {len(found):8} "
                  f"{parser.peak_mib:9}")
            figures.write(json.dumps(vars(parser) | {"inputs": inputs, "findings": found}) + "\n")
            if parser.ended_at_once >= HOPELESS:
                print(f"{parser.name}: given up, it ends at once ({options.work / 'logs'})")
    for finding in findings:
        print(f"finding: {finding}")
    print(f"{len(findings)} findings")
    return 1 if findings or any(parser.ended_at_once >= HOPELESS for parser in parsers) else 0


if __name__ == "__main__":
    sys.exit(main())
