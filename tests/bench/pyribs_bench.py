#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The candidates of `archive_bench insertions --stream FILE` into the archive of pyribs, one by one and in batches.

pip install ribs; python3 tests/bench/pyribs_bench.py build/tests/bench/archive_bench
"""
import json
import subprocess
import sys
import tempfile
import time

import numpy
from ribs import __version__
from ribs.archives import GridArchive

LABELS = (4, 3, 4, 4)  # of the axes of the family "decode"
BATCH = 1000


def archive():
    return GridArchive(solution_dim=1, dims=LABELS, ranges=[(0, n) for n in LABELS], qd_score_offset=0.0)


def figures(filled):
    stats = filled.stats
    return {
        "num_elites": int(stats.num_elites),
        "coverage": float(stats.coverage),
        "qd_score": float(stats.qd_score),
        "norm_qd_score": float(stats.norm_qd_score),
        "obj_max": float(stats.obj_max),
        "obj_mean": float(stats.obj_mean),
    }


def timed(name, count, filled, add):
    begin = time.perf_counter()
    add(filled)
    seconds = time.perf_counter() - begin
    row = {"measure": name, "n": count, "seconds": seconds, "per_second": count / seconds}
    return row | figures(filled)


def main():
    bench = sys.argv[1]
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 200_000
    with tempfile.NamedTemporaryFile("r") as stream:
        command = [bench, "insertions", "--count", str(count), "--stream", stream.name]
        ours = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        cells, lines = map(int, stream.readline().split())
        assert cells == numpy.prod(LABELS) and lines == count, "the stream is of another grid"
        cell, objective = numpy.loadtxt(stream, unpack=True)
    measures = numpy.stack(numpy.unravel_index(cell.astype(int), LABELS), axis=1) + 0.5
    solution = numpy.zeros((count, 1))

    def one_by_one(filled):
        for i in range(count):
            filled.add_single(solution[i], objective[i], measures[i])

    def in_batches(filled):
        for i in range(0, count, BATCH):
            filled.add(solution[i : i + BATCH], objective[i : i + BATCH], measures[i : i + BATCH])

    rows = [
        ours,
        timed(f"pyribs {__version__} add_single", count, archive(), one_by_one),
        timed(f"pyribs {__version__} add, {BATCH} at once", count, archive(), in_batches),
    ]
    for row in rows:
        print(json.dumps(row))
    for row in rows[1:]:
        for key in ("num_elites", "coverage", "qd_score", "norm_qd_score", "obj_max", "obj_mean"):
            assert abs(row[key] - ours[key]) <= 1e-6 * abs(row[key]), f"{key}: {ours[key]} is not {row[key]}"
    print(f"all six figures agree to 1e-6; one by one {ours['per_second'] / rows[1]['per_second']:.0f} times as fast, "
          f"beside batches {ours['per_second'] / rows[2]['per_second']:.1f} times")


if __name__ == "__main__":
    main()
