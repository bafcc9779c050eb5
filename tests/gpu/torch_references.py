#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Holds references against PyTorch, where PyTorch has the operator.

    tests/gpu/torch_references.py WORKER [--device gpu] [--python PYTHON] [--task NAME]...

The same kernel, inputs and gates are measured twice (a calibration of one draw with one key): against the task's
reference.cu on the device, and against float64 PyTorch on the CPU as a reference.py. What a kernel errs must come out
alike: an error is some 1e-3 of a row, so that shares of gates which agree to 1e-6 mean references that agree to 1e-8.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

ATTENTION = """
import torch
from torch.nn.functional import scaled_dot_product_attention

def attend(q, k, v, visible, scale):
    # q [B, H, queries, D] over k, v [B, Hkv, keys, D]; visible: what a query sees, or None.
    k, v = (x.repeat_interleave(q.shape[1] // x.shape[1], dim=1) for x in (k, v))
    scores = scale * q @ k.transpose(-1, -2)
    if visible is not None:
        scores = scores.masked_fill(~visible, -torch.inf)
    lse = torch.logsumexp(scores, -1)
    o = scaled_dot_product_attention(q, k, v, attn_mask=visible, scale=scale)
    return torch.where(torch.isinf(lse)[..., None], torch.zeros_like(o), o), lse
"""

# Task -> the good seed, and the operator as PyTorch has it.
REFERENCES = {
    "rmsnorm": ("vectorised.cu", """
import torch
def reference(p):
    return {"y": torch.nn.functional.rms_norm(p.x, (p.N,), p.w, p.eps)}
"""),
    "softmax_row": ("vectorised.cu", """
import torch
def reference(p):
    return {"y": torch.nn.functional.softmax(p.x, dim=-1)}
"""),
    "mha_prefill_full": ("mma_sync.cu", ATTENTION + """
def reference(p):
    o, lse = attend(p.q.transpose(1, 2), p.k.transpose(1, 2), p.v.transpose(1, 2), None, p.scale)
    return {"o": o.transpose(1, 2), "lse": lse.transpose(1, 2)}
"""),
    "gqa_prefill_causal": ("mma_sync.cu", ATTENTION + """
def reference(p):
    visible = torch.arange(p.Sk)[None, :] <= torch.arange(p.Sq)[:, None] + p.Sk - p.Sq
    o, lse = attend(p.q.transpose(1, 2), p.k.transpose(1, 2), p.v.transpose(1, 2), visible, p.scale)
    return {"o": o.transpose(1, 2), "lse": lse.transpose(1, 2)}
"""),
    "gqa_decode_splitkv": ("split_kv.cu", ATTENTION + """
def reference(p):
    visible = (torch.arange(p.S)[None, :] < p.len[:, None])[:, None, None, :]
    o, lse = attend(p.q[:, :, None], p.k.transpose(1, 2), p.v.transpose(1, 2), visible, p.scale)
    return {"o": o[:, :, 0], "lse": lse[:, :, 0]}
"""),
}


def document_of(task):
    text = (ROOT / "tasks" / task / "task.json").read_text()
    return json.loads(re.sub(r'("(?:[^"\\]|\\.)*")|//[^\n]*', lambda match: match[1] or "", text))


def requests(task, device, python):
    seed, torch_source = REFERENCES[task]
    source = (ROOT / "kernels_seed" / task / seed).read_text()
    tuning = {name: int(values.split("|")[0]) for name, values in re.findall(r"^// tune: (\w+) = (.*)$", source, re.M)}
    calibrate = {"candidate": {"source": source, "tuning": tuning}, "draws": 1, "key": "5" * 64}
    own = (ROOT / "tasks" / task / "reference.cu").read_text()
    for name, extra, reference in (("cuda", {}, own), ("torch", {"python": python}, torch_source)):
        yield {"kernelites_request": 1, "id": f"{task} {name}", "device": device, "deadline_s": 900,
               "task_document": {**document_of(task), **extra}, "reference_source": reference, "calibrate": calibrate}


def differences(task, own, other):
    """Of every family and output: how far the shares of the gates lie apart."""
    rows = {(row["family"], row["output"]): row for row in other["rows"]}
    assert own["rows"] and len(own["rows"]) == len(rows), f"{task}: other families"
    for row in own["rows"]:
        against = rows[row["family"], row["output"]]
        worst = max(abs(row[key] - against[key]) for key in ("row_p50", "row_max", "element_p50", "element_max"))
        yield worst if row["mismatches"] == against["mismatches"] == 0 else float("inf"), row


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("worker")
    parser.add_argument("--device", default="gpu")
    parser.add_argument("--python", default="python3", help="an interpreter with PyTorch")
    parser.add_argument("--task", action="append", choices=sorted(REFERENCES))
    arguments = parser.parse_args()
    tasks = arguments.task or list(REFERENCES)
    with tempfile.TemporaryDirectory() as folder:
        lines, out = Path(folder) / "in.jsonl", Path(folder) / "out.jsonl"
        lines.write_text("".join(json.dumps(request) + "\n" for task in tasks
                                 for request in requests(task, arguments.device, arguments.python)))
        subprocess.run([arguments.worker, "--device", arguments.device, "--batch", lines, out], check=True)
        replies = {reply["id"]: reply for reply in map(json.loads, out.read_text().splitlines())}
    failed = 0
    for task in tasks:
        pair = [replies[f"{task} {name}"] for name in ("cuda", "torch")]
        problem = next((reply.get("error") for reply in pair if reply.get("error")), "")
        if "PyTorch cannot be imported" in problem:
            print(f"skipped {task}: {problem}")
            continue
        if problem:
            failed += 1
            print(f"FAILED {task}: {problem}")
            continue
        found = list(differences(task, *(reply["calibration"] for reply in pair)))
        worst, row = max(found, key=lambda pair: pair[0])
        compared = sum(entry["rows"] for _, entry in found)
        is_alike = worst <= 1e-6
        failed += not is_alike
        print(f"{'passed' if is_alike else 'FAILED'} {task}: {compared} rows, shares of gates differ by at most"
              f" {worst:.1e} ({row['family']}, {row['output']}), {pair[0]['provenance']['device']['kind']}")
    print(f"{len(tasks) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
