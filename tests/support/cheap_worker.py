#!/usr/bin/env -S python3 -S -E -B
# SPDX-License-Identifier: Apache-2.0
"""A worker that speaks the protocol and computes nothing: what it finds is drawn from the candidate's text.

   cheap_worker.py [--wait S] [--pace FACTOR] [--log FILE] ...      other arguments are ignored

--wait: sleeps so long before each reply, one at a time. --pace: this device is so much slower than others of its kind.
--log: appends the id of each request that it answers, and the GPU that it was given, if any. The same candidate always
gets the same verdict, cell and ratios.
"""
import hashlib
import json
import math
import os
import sys
import time

AXES = {
    "movement": ("direct", "shared", "cp_async", "tma"), "compute": ("fma", "mma_sync", "wgmma"),
    "split": ("tile", "split_kv", "persistent", "specialised"), "scope": ("thread", "warp", "block", "blocks"),
    "occupancy": ("occ12", "occ25", "occ50", "occ100"), "registers": ("reg64", "reg128", "reg192", "reg255"),
    "access": ("access4", "access8", "access16", "bulk"), "intensity": ("flop1", "flop8", "flop64", "flop_more")}


def option(name, fallback):
    return sys.argv[sys.argv.index(name) + 1] if name in sys.argv else fallback


WAIT_S, PACE, LOG = float(option("--wait", "0")), float(option("--pace", "1")), option("--log", "")
GPU = os.environ.get("CUDA_VISIBLE_DEVICES", "none")
PROVENANCE = {
    "task_digest": "", "harness_version": "4", "toolkit": "none",
    "device": {
        "kind": "a device that computes nothing", "is_virtual": True, "architecture": "sm_90a",
        "compute_capability": 90, "sm_count": 132, "shared_bytes_per_block_max": 232448, "registers_per_sm": 65536,
        "l2_bytes": 52428800, "memory_bytes": 0, "driver_version": 0, "memory_gb_per_s": 1000.0}}


def numbers(candidate):
    text = candidate["source"] + json.dumps(candidate.get("tuning", {}), sort_keys=True)
    return hashlib.sha256(text.encode()).digest()


def time_us(candidate):
    drawn = numbers(candidate)
    return 100 * math.exp((drawn[0] + drawn[1] / 256) / 256 - 0.5)


def examination(candidate):
    drawn = numbers(candidate)
    is_passed = drawn[2] >= 40
    verdict = {"is_passed": is_passed, "stage": "" if is_passed else "check",
               "reason": "" if is_passed else "numerical_mismatch", "message": "", "diagnostics": []}
    return {"verdict": verdict, "kernels": [], "plans": {}, "counts": {"opcodes": {}, "sass": {}}, "checks": [],
            "modelled_us": {}, "notes": [], "code_digest": drawn.hex(), "stage_ms": {}, "stages": [], "counters": {},
            "descriptors": {axis: labels[drawn[3 + i] % len(labels)] for i, (axis, labels) in enumerate(AXES.items())}}


def duel(request):
    times = [time_us(arm["candidate"]) for arm in request["arms"]]
    rounds = request["rounds"]
    timing, ratios = {}, {}
    for workload in request["workloads"]:
        timing[workload] = [{"time_us_median": us * PACE, "time_us_p10": us * PACE, "time_us_p90": us * PACE,
                             "samples": rounds, "is_modelled": True} for us in times]
        ratios[workload] = [{"log_ratio_median": math.log(times[0] / us), "log_ratio_low": math.log(times[0] / us),
                             "log_ratio_high": math.log(times[0] / us), "confidence": request["confidence"],
                             "rounds": rounds} for us in times[1:]]
    return {"verdict": {"is_passed": True, "stage": "", "reason": "", "message": "", "diagnostics": []},
            "arms": [arm["label"] for arm in request["arms"]], "timing": timing, "ratio": ratios, "modelled": {},
            "notes": [], "stage_ms": {}}


def say(line):
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


say({"kernelites_worker": 1, "provenance": PROVENANCE, "problem": ""})
for line in sys.stdin:
    request = json.loads(line)
    time.sleep(WAIT_S)
    reply = {"kernelites_reply": 1, "id": request["id"], "error": "", "provenance": PROVENANCE, "worker_s": 0.001,
             "device_s": 0.0005}
    if "examine" in request:
        reply["examination"] = examination(request["examine"]["candidate"])
    else:
        reply["duel"] = duel(request["duel"])
    if LOG:
        with open(LOG, "a", encoding="ascii") as log:
            log.write(f"{request['id']} {GPU}\n")
    say(reply)
