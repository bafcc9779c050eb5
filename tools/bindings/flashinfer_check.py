# SPDX-License-Identifier: Apache-2.0
"""Has FlashInfer-Bench read this folder: python check.py. With --run it builds and times the solution too (GPU)."""

import sys
from pathlib import Path

from flashinfer_bench.data import Definition, Solution, Trace, TraceSet
from flashinfer_bench.data.json_utils import load_json_file, load_jsonl_file

root = Path(__file__).resolve().parent


def check():
    """Every file through the class that it is meant for, and all of them together."""
    counts = {}
    for folder, suffix, load in (("definitions", "json", lambda file: [load_json_file(Definition, file)]),
                                 ("solutions", "json", lambda file: [load_json_file(Solution, file)]),
                                 ("workloads", "jsonl", lambda file: load_jsonl_file(Trace, file)),
                                 ("traces", "jsonl", lambda file: load_jsonl_file(Trace, file))):
        counts[folder] = sum(len(load(file)) for file in sorted((root / folder).rglob(f"*.{suffix}")))
    traces = TraceSet.from_path(str(root))
    for name, definition in traces.definitions.items():
        for trace in traces.workloads[name] + traces.traces[name]:
            definition.get_input_shapes(trace.workload.axes)
            assert set(trace.workload.inputs) == set(definition.inputs), trace.workload.uuid
    print(", ".join(f"{count} {kind}" for kind, count in counts.items()), "are valid", flush=True)
    return traces


def run(traces):
    """FlashInfer-Bench's own runner; how many workloads did not pass."""
    from flashinfer_bench.bench import Benchmark, BenchmarkConfig

    failed = 0
    results = Benchmark(traces, BenchmarkConfig(warmup_runs=3, iterations=20, num_trials=2)).run_all(False)
    for found in results.traces.values():
        for trace in found:
            evaluation = trace.evaluation
            if "by the harness of Kernelites" in evaluation.log:
                continue  # what the folder brought along
            failed += evaluation.status.value != "PASSED"
            told = evaluation.performance.latency_ms if evaluation.performance else evaluation.log[-2000:]
            print(trace.workload.axes, evaluation.status.value, told, flush=True)
    return failed


if __name__ == "__main__":  # the runner starts processes that import this file
    found = check()
    if "--run" in sys.argv[1:]:
        sys.exit(1 if run(found) else 0)
