#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Fuzzes parsers in parallel for a given time, and tells processor seconds, executions and findings of each.

Needs the program parser_fuzz (tools/fuzz builds it) and nothing else. Corpora grow in WORK/corpus/PARSER, inputs that
are findings lie in WORK/findings/PARSER-*, and WORK/campaigns.jsonl gets one line a parser.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

ROUNDS = 3  # of each processor at least, so that a parser that ends early leaves little time unused
GRACE_S = 15

EXECUTED = re.compile(r"^stat::number_of_executed_units:\s+(\d+)", re.MULTILINE)
PEAK = re.compile(r"^stat::peak_rss_mb:\s+(\d+)", re.MULTILINE)


class Parser:
    """Sums over the processes of one parser."""

    def __init__(self, name):
        self.name = name
        self.cpu_s, self.executions, self.peak_mib, self.processes = 0.0, 0, 0, 0

    def add(self, usage, log):
        self.processes += 1
        self.cpu_s += usage.ru_utime + usage.ru_stime
        self.executions += sum(map(int, EXECUTED.findall(log)))
        self.peak_mib = max([self.peak_mib, *map(int, PEAK.findall(log))])


def start(program, parser, seeds, work, seconds, number):
    """One libFuzzer process, its log and its end on the clock."""
    corpus = work / "corpus" / parser.name
    findings = work / "findings"
    logs = work / "logs"
    for folder in (corpus, findings, logs):
        folder.mkdir(parents=True, exist_ok=True)
    log = logs / f"{parser.name}-{number}.log"
    command = [str(program), str(corpus), str(seeds / parser.name), f"-max_total_time={seconds}", "-timeout=10",
               "-rss_limit_mb=3000", "-malloc_limit_mb=1500", "-print_final_stats=1", "-reload=5", "-max_len=65536",
               "-len_control=20", f"-artifact_prefix={findings}/{parser.name}-", "-ignore_remaining_args=1",
               parser.name]
    environment = os.environ | {"ASAN_OPTIONS": "detect_stack_use_after_return=0:allocator_may_return_null=0",
                                "UBSAN_OPTIONS": "print_stacktrace=1"}
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=open(log, "wb"), stderr=subprocess.STDOUT,
                               env=environment)
    return process, log, time.monotonic() + seconds + GRACE_S


def campaign(program, parsers, seeds, work, seconds, jobs):
    """Runs processes of all parsers in turn, each parser as often as any other."""
    turns = len(parsers) * -(-ROUNDS * jobs // len(parsers))
    slot = max(1, seconds // -(-turns // jobs))
    end = time.monotonic() + seconds
    running, begun = [], 0
    while running or (begun < turns and time.monotonic() < end - slot / 2):
        while len(running) < jobs and begun < turns and time.monotonic() < end - slot / 2:
            parser = parsers[begun % len(parsers)]
            left = min(slot, max(1, int(end - time.monotonic())))
            running.append((parser, *start(program, parser, seeds, work, left, f"{os.getpid()}-{begun}")))
            begun += 1
        time.sleep(0.2)
        for entry in list(running):
            parser, process, log, give_up = entry
            if time.monotonic() > give_up:
                process.kill()
            pid, _, usage = os.wait4(process.pid, os.WNOHANG)
            if pid == 0:
                continue
            process.returncode = 0  # reaped here
            parser.add(usage, log.read_text(errors="replace"))
            running.remove(entry)


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--program", type=Path, required=True, help="parser_fuzz")
    options.add_argument("--seeds", type=Path, required=True, help="folder with a folder of inputs for each parser")
    options.add_argument("--work", type=Path, required=True, help="where corpora, findings and figures go")
    options.add_argument("--seconds", type=int, default=60, help="on the clock, for all of them together")
    options.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes at once")
    options.add_argument("parsers", nargs="*", help="all by default")
    chosen = options.parse_args()
    chosen.work.mkdir(parents=True, exist_ok=True)
    known = sorted(folder.name for folder in chosen.seeds.iterdir() if folder.is_dir())
    unknown = set(chosen.parsers) - set(known)
    if unknown:
        sys.exit(f"unknown parser {', '.join(sorted(unknown))}; known: {' '.join(known)}")
    parsers = [Parser(name) for name in chosen.parsers or known]
    before = set((chosen.work / "findings").glob("*"))
    campaign(chosen.program.resolve(), parsers, chosen.seeds, chosen.work, chosen.seconds, chosen.jobs)
    findings = sorted(set((chosen.work / "findings").glob("*")) - before)
    print(f"{'parser':12} {'processor s':>12} {'executions':>12} {'inputs':>7} {'peak MiB':>9}")
    with open(chosen.work / "campaigns.jsonl", "a") as figures:
        for parser in parsers:
            inputs = len(list((chosen.work / "corpus" / parser.name).glob("*")))
            print(f"{parser.name:12} {parser.cpu_s:12.1f} {parser.executions:12} {inputs:7} {parser.peak_mib:9}")
            figures.write(json.dumps(vars(parser) | {"inputs": inputs}) + "\n")
    for finding in findings:
        print(f"finding: {finding}")
    print(f"{len(findings)} findings")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
