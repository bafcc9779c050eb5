# SPDX-License-Identifier: Apache-2.0
"""Has FlashInfer-Bench read this folder: python check.py. With --run it builds and times the solution too (GPU)."""

import sys
from pathlib import Path

from flashinfer_bench.data import Definition, Solution, Trace, TraceSet
from flashinfer_bench.data.json_utils import load_json_file, load_jsonl_file

root = Path(__file__).resolve().parent
counts = {}
for kind, folder, suffix, load in (("definitions", "definitions", "json", lambda f: [load_json_file(Definition, f)]),
                                   ("solutions", "solutions", "json", lambda f: [load_json_file(Solution, f)]),
                                   ("workloads", "workloads", "jsonl", lambda f: load_jsonl_file(Trace, f)),
                                   ("traces", "traces", "jsonl", lambda f: load_jsonl_file(Trace, f))):
    counts[kind] = sum(len(load(file)) for file in sorted((root / folder).rglob(f"*.{suffix}")))
traces = TraceSet.from_path(str(root))
for name, definition in traces.definitions.items():
    for trace in traces.workloads[name] + traces.traces[name]:
        definition.get_input_shapes(trace.workload.axes)
        assert set(trace.workload.inputs) == set(definition.inputs), trace.workload.uuid
print(", ".join(f"{count} {kind}" for kind, count in counts.items()), "are valid")

if "--run" in sys.argv[1:]:
    from flashinfer_bench.bench import Benchmark, BenchmarkConfig

    results = Benchmark(traces, BenchmarkConfig(warmup_runs=3, iterations=20, num_trials=2)).run_all(False)
    failed = 0
    for name, found in results.traces.items():
        for trace in found:
            evaluation = trace.evaluation
            if "by the harness of Kernelites" in evaluation.log:
                continue  # what the folder brought along
            failed += evaluation.status.value != "PASSED"
            told = evaluation.performance.latency_ms if evaluation.performance else evaluation.log[-2000:]
            print(trace.workload.axes, evaluation.status.value, told)
    sys.exit(1 if failed else 0)
