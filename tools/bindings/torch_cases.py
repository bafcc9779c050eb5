# SPDX-License-Identifier: Apache-2.0
"""Inputs, references and times for the test beside this file; nothing here is needed to use the operator."""

import json
import math
from pathlib import Path

import torch
from references import REFERENCES  # noqa: F401

DTYPES = {"f16": torch.float16, "bf16": torch.bfloat16, "f32": torch.float32, "f64": torch.float64,
          "e4m3": torch.float8_e4m3fn, "e5m2": torch.float8_e5m2, "i8": torch.int8, "u8": torch.uint8,
          "i32": torch.int32, "i64": torch.int64}


def load():
    return json.loads((Path(__file__).resolve().parent / "cases.json").read_text())


def fill(tensor, generator, device, is_full):
    """One input tensor; None for a kind that this file cannot draw. `is_full`: every length is the greatest."""
    shape, dtype, kind = tensor["shape"], DTYPES[tensor["dtype"]], tensor.get("kind", "")
    if dtype.is_floating_point:
        values = torch.randn(shape, generator=generator, device=device, dtype=torch.float32)
        return values.to(dtype)
    if kind.startswith("lengths"):
        bound = tensor["bound"]
        values = torch.randint(bound if is_full else 1, bound + 1, shape, generator=generator, device=device)
        values.view(-1)[0] = bound
        return values.to(dtype)
    if kind.startswith("offsets"):
        count, bound = shape[0] - 1, tensor["bound"]
        return torch.tensor([bound * i // count for i in range(count + 1)], dtype=dtype, device=device)
    if kind == "page_table":
        count = math.prod(shape)
        return (torch.randperm(count, generator=generator, device=device) + 1).view(shape).to(dtype)
    return None


def inputs_of(case, device="cuda", seed=1, is_full=False):
    """name -> tensor, without the outputs; None if some kind cannot be drawn here."""
    generator = torch.Generator(device=device).manual_seed(seed)
    drawn = {t["name"]: fill(t, generator, device, is_full) for t in case["tensors"] if t["role"] != "output"}
    return None if any(value is None for value in drawn.values()) else drawn


# --- times ---


def microseconds(calls, launches=20, rounds=15, host_us=100):
    """name -> (median, low, high) of one call of each, as the search times: caches cold, the device kept busy while the
    host enqueues, events around the call, calls interleaved in every round, a sample the mean of the middle half."""
    junk = torch.zeros(40 << 20, dtype=torch.float32, device="cuda")  # only read: no lines are left to write
    events = [[torch.cuda.Event(enable_timing=True) for _ in range(2)] for _ in range(launches)]

    def sample(call):
        for begin, end in events:
            junk.sum()
            torch.cuda._sleep(host_us * 2000)  # cycles
            begin.record()
            call()
            end.record()
        torch.cuda.synchronize()
        times = sorted(begin.elapsed_time(end) * 1e3 for begin, end in events)
        middle = times[launches // 4:launches - launches // 4]
        return sum(middle) / len(middle)

    samples = {name: [] for name in calls}
    for call in calls.values():
        sample(call)
    for turn in range(rounds):
        names = list(calls)
        for name in names[turn % len(names):] + names[:turn % len(names)]:
            samples[name].append(sample(calls[name]))
    return {name: (sorted(of)[rounds // 2], min(of), max(of)) for name, of in samples.items()}


def graph_of(call):
    """One call as a CUDA graph; what replays it."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        call()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        call()
    return graph.replay


def host_microseconds(call, calls=2000):
    """Of the host, per call, with the device kept from falling behind: dispatch, checks, launch."""
    import time
    for _ in range(50):
        call()
    torch.cuda.synchronize()
    spent = 0.0
    for _ in range(calls // 50):
        begin = time.perf_counter()
        for _ in range(50):
            call()
        spent += time.perf_counter() - begin
        torch.cuda.synchronize()
    return spent / calls * 1e6
