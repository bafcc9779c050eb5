#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A worker that behaves as told: fake_worker.py MODE STATE_FOLDER.

It counts its starts in STATE_FOLDER/starts. Modes, by what happens to the first request:
  good            every request is answered
  die_once        the first process dies on it, later ones answer
  die_always      every process dies on it
  die_on:ID       every process dies on the request with that id, others are answered
  garbage_once    the first process sends a line that is no reply
  hang_once       the first process never answers
  stranger        answers a request that it did not get
  version         greets with another protocol version
  problem         greets with a problem
  silent          never greets
  chatter         the first line is no greeting
  other_kind      has another device than the rest
  vanishes        dies on the first request; the second process has no device; later ones answer
  gone            dies on the first request; later processes end before they greet
  unfit_once      the first process says that its device is unfit
  disturbed:N     the first N processes say that their device is disturbed, before anything was evaluated
  spoiled         every process says that its device was disturbed while it evaluated
  slow:S          answers each request after S seconds of sleep, one at a time
  reverse         answers pairs of requests in reverse order
  stderr          writes to stderr, then as good
"""
import json
import os
import sys
import time

mode, folder = sys.argv[1], sys.argv[2]
path = os.path.join(folder, "starts")
with open(path, "a", encoding="ascii") as starts:
    starts.write("x")
start_number = os.path.getsize(path)
is_first = start_number == 1


def say(line):
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


PROVENANCE = {
    "task_digest": "", "harness_version": "1", "toolkit": "fake",
    "device": {
        "kind": "other device" if mode == "other_kind" else "fake device", "is_virtual": True,
        "architecture": "sm_90a", "compute_capability": 90, "sm_count": 132,
        "shared_bytes_per_block_max": 232448, "registers_per_sm": 65536, "l2_bytes": 52428800, "memory_bytes": 0,
        "driver_version": 0, "memory_gb_per_s": 1000.0},
}


def answer(request, error="fake", device_s=0.25):
    say(json.dumps({"kernelites_reply": 1, "id": request["id"], "error": error, "provenance": PROVENANCE,
                    "worker_s": 0.5, "device_s": device_s}))


if mode == "gone" and not is_first:
    sys.exit(4)
if mode == "silent":
    time.sleep(600)
if mode == "chatter":
    say("hello")
if mode == "stderr":
    sys.stderr.write("noise of a worker\n")
    sys.stderr.flush()
is_without_device = mode == "problem" or (mode == "vanishes" and start_number == 2)
say(json.dumps({"kernelites_worker": 2 if mode == "version" else 1, "provenance": PROVENANCE,
                "problem": "no CUDA driver" if is_without_device else ""}))

held = None
for line in sys.stdin:
    request = json.loads(line)
    if mode.startswith("slow:"):
        time.sleep(float(mode[5:]))
    is_dying = mode in ("die_once", "vanishes", "gone") and is_first
    if mode == "die_always" or is_dying or mode == "die_on:" + request["id"]:
        os._exit(3)
    if mode == "garbage_once" and is_first:
        say("Segmentation fault \x01 {")
        time.sleep(600)
    if mode == "hang_once" and is_first:
        time.sleep(600)
    if mode == "unfit_once" and is_first:
        answer(request, "device unfit: Xid 79: the device has fallen off the bus")
        time.sleep(600)
    is_disturbed = mode.startswith("disturbed:") and start_number <= int(mode[10:])
    if is_disturbed or mode == "spoiled":
        answer(request, "device unfit: for now: process 4711 uses 93 % of it", 0 if is_disturbed else 0.25)
        time.sleep(600)
    if mode == "stranger":
        request["id"] = "nobody"
    if mode == "reverse":
        if held is None:
            held = request
            continue
        answer(request)
        request, held = held, None
    answer(request)
