# SPDX-License-Identifier: Apache-2.0
"""Makes the data files of tests/support/landscapes out of a worker's replies to landscape_requests.py.

  landscape_collect.py EXAMINED.jsonl TIMED.jsonl DATE COMMIT FOLDER

One JSON file per kernel: what all points share, then one row per point, whose fields `columns` names. A point whose
code and launches are those of an earlier point has its number as `twin` and shares its times. Times are microseconds,
one per workload; `again` holds the medians of further duels, where there were any."""

import json
import statistics
import sys
from pathlib import Path

from landscape_requests import passed_points, replies, spaces, timed_and_bad

COLUMNS = ["stage", "reason", "twin", "time_us", "time_us_p10", "time_us_p90", "again", "labels", "registers",
           "shared_bytes", "spill_bytes", "code_bytes", "launches", "blocks", "threads", "opcodes"]
EMPTY = {**dict.fromkeys(COLUMNS, 0), **dict.fromkeys(["time_us", "time_us_p10", "time_us_p90", "again", "labels",
                                                       "blocks", "threads", "opcodes"], []),
         "stage": "none", "reason": "not_measured", "twin": -1}
AXES = ["movement", "compute", "split"]


def timings(timed, name, workloads):
    """Point -> [its ArmTiming by workload, for every duel that it was in]."""
    found = {}
    for reply in replies(timed):
        duel = reply.get("duel")
        if reply["id"].split("/")[0] == name and duel and duel["verdict"]["is_passed"]:
            for arm, label in enumerate(duel["arms"]):
                found.setdefault(int(label), []).append([duel["timing"][w][arm] for w in workloads])
    return found


def rounded(timing, field):
    return [round(t[field], 3) for t in timing]


def row_of(reply, workloads, opcodes):
    """What the examination alone says of a point."""
    examination = reply["examination"]
    verdict, kernels = examination["verdict"], examination["kernels"]
    row = dict(EMPTY, stage=verdict["stage"], reason=verdict["reason"],
               labels=[examination["descriptors"].get(axis, "") for axis in AXES])
    if kernels:
        row.update(registers=max(k["registers"] for k in kernels), code_bytes=sum(k["code_bytes"] for k in kernels),
                   spill_bytes=sum(k["spill_store_bytes"] + k["spill_load_bytes"] for k in kernels))
    plans = [examination["plans"][w] for w in workloads if w in examination["plans"]]
    if plans and kernels:
        static = {k["kernel"]: k["static_shared_bytes"] for k in kernels}
        launches = [plan["launches"] for plan in plans]
        row.update(launches=len(launches[0]),
                   shared_bytes=max(one["shared_bytes"] + static[one["kernel"]] for plan in launches for one in plan),
                   blocks=[plan[0]["grid"][0] * plan[0]["grid"][1] * plan[0]["grid"][2] for plan in launches],
                   threads=[plan[0]["block"][0] for plan in launches])
    row["opcodes"] = [examination["counts"].get("opcodes", {}).get(op, 0) for op in opcodes]
    return row


def settle(rows, owners, times, name, bad):
    """Verdict and times of what passed its examination: those of the point with the same code that was timed."""
    for points in owners.values():
        owner = next((p for p in points if p in times), None)
        is_bad = any((name, p) in bad for p in points)
        for point in points:
            row = rows[point]
            row["twin"] = points[0]
            if is_bad or owner is None:
                row.update(stage="time", reason="arm_unusable" if is_bad else "not_measured")
                continue
            first, *others = times[owner]
            row.update(stage="all", reason="passed", time_us=rounded(first, "time_us_median"),
                       time_us_p10=rounded(first, "time_us_p10"), time_us_p90=rounded(first, "time_us_p90"),
                       again=[rounded(t, "time_us_median") for t in others])


def collect(examined, timed, date, commit, folder):
    passed = passed_points(examined)
    _, bad = timed_and_bad(timed)
    for name, space in spaces().items():
        workloads = space.space["workloads"]
        found = {int(r["id"].split("/")[1]): r for r in replies(examined)
                 if r["id"].split("/")[0] == name and r.get("examination")}
        opcodes = sorted({op for r in found.values() for op in r["examination"]["counts"].get("opcodes", {})})
        rows = {point: row_of(reply, workloads, opcodes) for point, reply in found.items()}
        times, owners = timings(timed, name, workloads), {}
        for point in sorted(rows):
            if (name, point) in passed:
                owners.setdefault(passed[name, point], []).append(point)
        settle(rows, owners, times, name, bad)
        some = next(iter(found.values()))["provenance"]
        device = next((r["provenance"] for r in replies(timed)), some)["device"]
        # The default was in every duel, and all speeds are relative to it: the median over duels.
        every = [rows[0]["time_us"], *rows[0]["again"]]
        usual = [round(statistics.median(t[w] for t in every), 3) for w in range(len(workloads))]
        for row in rows.values():
            if row["twin"] == 0:
                row["time_us"] = usual
        head = {"name": name, "task": name, "kernel": space.space["kernel"], "device": device["kind"], "date": date,
                "toolkit": some["toolkit"], "harness_version": some["harness_version"], "commit": commit,
                "rounds": space.space["rounds"], "tunables": space.tunables, "workloads": workloads, "axes": AXES,
                "opcodes": opcodes, "columns": COLUMNS}
        text = "{\n" + "".join(f" {json.dumps(key)}: {json.dumps(value)},\n" for key, value in head.items())
        lines = [json.dumps([rows.get(p, EMPTY)[c] for c in COLUMNS], separators=(",", ":"))
                 for p in range(len(space.tunings))]
        Path(folder, f"{name}_landscape.json").write_text(text + ' "points": [\n' + ",\n".join(lines) + "\n ]\n}\n")
        print(name, len(rows), "points,", sum(r["reason"] == "passed" for r in rows.values()), "passed")


if __name__ == "__main__":
    collect(*sys.argv[1:])
