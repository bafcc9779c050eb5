#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Tests the adapter that times a library's kernels beside ours, without a device: launches, rounds, batches, deaths."""

import ctypes
import functools
import json
import re
import subprocess
import sys
import tempfile
import types
from pathlib import Path

ROOT = Path(__file__).parents[3]
sys.path.insert(0, str(ROOT / "evaluators" / "baseline"))

import arm_rounds  # noqa: E402
import baseline_batch  # noqa: E402
import cuda_plan  # noqa: E402


class FakeCuda:
    """Notes every call; modules hold what their image says."""

    def __init__(self, failing=""):
        self.calls, self.failing = [], failing

    def __getattr__(self, name):
        def call(*arguments):
            self.calls.append((name, arguments))
            if name == "cuGetErrorString":
                arguments[1]._obj.value = b"no such kernel"
            return 1 if name == self.failing else 0
        return call

    def named(self, name):
        return [arguments for called, arguments in self.calls if called == name]


LAUNCH = {"kernel": "k<1>", "grid": [4, 2, 1], "block": [128, 1, 1], "cluster": [1, 1, 1], "shared_bytes": 0,
          "is_cooperative": False, "is_programmatic": False, "is_prepare": False, "carveout_percent": -1, "priority": 0,
          "after": -1, "arguments": []}
MAP = {"is_workspace": False, "index": 1, "dtype": "bf16", "rank": 2, "extent": [64, 10, 0, 0, 0],
       "stride_bytes": [2, 128, 0, 0, 0], "box": [64, 8, 0, 0, 0], "element_stride": [1, 1, 1, 1, 1],
       "swizzle_bytes": 128, "l2_promotion_bytes": 256, "offset_bytes": 32}


def planned(launches, workspaces=(), maps=(), failing=""):
    """(plan ready to launch, the fake driver)."""
    cuda = FakeCuda(failing)
    module = cuda_plan.Module(cuda_plan.Driver(cuda), {"cubin": "00ff", "lowered": {"k<1>": "_Z1k"}})
    plan = {"launches": [{**LAUNCH, **launch} for launch in launches], "workspaces": list(workspaces),
            "tensor_maps": list(maps)}
    return cuda_plan.PlannedKernels(module, plan, [0x1000, 0x2000], lambda size: 0x9000 + size), cuda


def launched(cuda, number):
    """(configuration, values of the parameters' first 8 bytes) of one launch."""
    configuration, _, pointers, _ = cuda.named("cuLaunchKernelEx")[number]
    return configuration._obj, [ctypes.c_uint64.from_address(pointer).value for pointer in pointers if pointer]


def structures_are_laid_out_as_the_driver_reads_them():
    fields = cuda_plan.LaunchConfiguration
    return [fields.shared_bytes.offset, fields.stream.offset, fields.attributes.offset, fields.attribute_count.offset,
            ctypes.sizeof(fields), ctypes.sizeof(cuda_plan.LaunchAttribute), cuda_plan.LaunchAttribute.value.offset] \
        == [24, 32, 40, 48, 56, 72, 8]


def arguments_reach_the_kernel_in_their_layout():
    plan, cuda = planned([{"arguments": [{"tensor": 1}, {"workspace": 0}, {"f64": 1.5}, {"i64": -2}]}],
                         [{"bytes": 16, "alignment": 256, "kind": "poisoned"}])
    plan(7)
    configuration, values = launched(cuda, 0)
    return (values, configuration.stream, list(configuration.grid)) \
        == ([0x2000, 0x9010, 0x3FF8000000000000, 2**64 - 2], 7, [4, 2, 1])


def small_scalars_have_their_own_width():
    return (cuda_plan.argument_bytes({"f32": 0.1}, [], []), cuda_plan.argument_bytes({"i32": -1}, [], [])) \
        == (b"\xcd\xcc\xcc\x3d", b"\xff\xff\xff\xff")


def only_a_later_launch_may_begin_early():
    plan, cuda = planned([{"is_programmatic": True}, {"is_programmatic": True, "cluster": [2, 1, 1]}])
    plan(0)
    first, second = launched(cuda, 0)[0], launched(cuda, 1)[0]
    ids = [second.attributes[i].id for i in range(second.attribute_count)]
    return first.attribute_count == 0 and ids == [cuda_plan.CLUSTER, cuda_plan.PROGRAMMATIC] \
        and list(second.attributes[0].value[:3]) == [2, 1, 1]


def shared_memory_of_a_kernel_only_grows():
    _, cuda = planned([{"shared_bytes": 70000}, {"shared_bytes": 60000}, {"cluster": [16, 1, 1]}])
    return [(at[1], at[2]) for at in cuda.named("cuFuncSetAttribute")] \
        == [(cuda_plan.MAX_DYNAMIC_SHARED, 70000), (cuda_plan.NON_PORTABLE_CLUSTER, 1)]


def workspaces_are_zeroed_before_the_launches():
    plan, cuda = planned([{}], [{"bytes": 8, "alignment": 256, "kind": "zeroed"},
                                {"bytes": 4, "alignment": 256, "kind": "self_clearing"}])
    plan(0)
    names = [name for name, _ in cuda.calls if name in ("cuMemsetD8Async", "cuLaunchKernelEx")]
    return names == ["cuMemsetD8Async", "cuLaunchKernelEx"] and cuda.named("cuMemsetD8Async")[0][0].value == 0x9008


def tensor_maps_are_encoded_over_their_tensor():
    plan, cuda = planned([{"arguments": [{"tensor_map": 0}]}], maps=[MAP])
    plan(0)
    address, dtype, rank, base, extents, strides, box, _, _, swizzle, promotion, _ = \
        cuda.named("cuTensorMapEncodeTiled")[0]
    pointer = cuda.named("cuLaunchKernelEx")[0][2][0]
    return (dtype, rank.value, base.value, list(extents), list(strides), list(box), swizzle, promotion) \
        == (9, 2, 0x2020, [64, 10], [128], [64, 8], 3, 3) and address.value % 128 == 0 and pointer == address.value


def a_failed_call_is_told_in_the_drivers_words():
    try:
        planned([{}], failing="cuModuleGetFunction")
    except cuda_plan.DriverError as error:
        return str(error) == "cuModuleGetFunction failed: no such kernel"
    return False


def every_round_runs_every_arm_on_one_set():
    seen = []
    times = arm_rounds.interleave(["a", "b", "c"], 2, lambda arm, number: seen.append((arm, number)) or 1.0, 3, 20, 100)
    rounds = [seen[i:i + 3] for i in range(3 * arm_rounds.WARM_UP_RUNS, len(seen), 3)]
    orders = {tuple(arm for arm, _ in one) for one in rounds}
    return len(rounds) == 20 and all(len(times[arm]) == 20 for arm in "abc") and len(orders) > 2 \
        and all({arm for arm, _ in one} == set("abc") and len({number for _, number in one}) == 1 for one in rounds) \
        and {one[0][1] for one in rounds} == {0, 1}


def rounds_end_when_their_time_is_over():
    clock = iter(range(1000))
    times = arm_rounds.interleave(["a"], 1, lambda arm, number: 1.0, 3, 500, 20, lambda: next(clock))
    return len(times["a"]) == arm_rounds.ROUNDS_MIN + 20


def few_rounds_are_done_in_any_case():
    clock = iter(range(0, 100000, 1000))
    return len(arm_rounds.interleave(["a"], 1, lambda *_: 1.0, 3, 500, 1, lambda: next(clock))["a"]) \
        == arm_rounds.ROUNDS_MIN


def sets_exceed_the_cache_and_fit_into_memory():
    sets = arm_rounds.input_sets
    return [sets(1 << 20, 50 << 20, 80 << 30), sets(60 << 20, 50 << 20, 80 << 30), sets(5 << 30, 50 << 20, 80 << 30),
            sets(30 << 30, 50 << 20, 80 << 30)] == [8, 3, 2, 1]


def the_functions_of_a_file_are_its_baselines():
    source = "import math\nfrom math import sqrt\ndef _own(p):\n  return p\ndef one(p):\n  return p.q + p.B + p.scale\n"
    found = arm_rounds.load_baselines(source + "def two(p):\n  return None\n")
    return list(found) == ["one", "two"] and found["one"](arm_rounds.Problem({"q": 1}, {"B": 2}, {"scale": 4})) == 7


def every_baseline_of_the_tasks_has_a_function():
    files = sorted((ROOT / "tasks").glob("*/baseline.py"))
    names = [set(compile(file.read_text(), str(file), "exec").co_names) - {"torch"} for file in files]
    return len(files) > 0 and all(any(name.islower() for name in of) for of in names)


JOB = {"request": {"id": "t", "device": "gpu", "task_document": {}, "reference_source": "",
                   "duel": {"arms": [{"label": "seed", "candidate": {"source": "s", "tuning": {}}}],
                            "workloads": ["small", "large"], "rounds": 4}}, "baseline_source": "", "limit_s": 1}


def what_has_a_result_is_not_measured_again():
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder) / "out.jsonl"
        results.write_text('{"id": "t", "workload": "small"}\n{"id": "t", "workl')
        return [name for _, name in baseline_batch.open_workloads([JOB], baseline_batch.read_lines(results))] \
            == ["large"]


def a_result_says_of_which_task_and_candidates_it_is():
    digests = {"task": "ab", "arms": {"seed": "cd"}}
    told = baseline_batch.head_of_result({**JOB, "digests": digests}, {"device": {"kind": "H100"}}, "small", "2.11")
    plain = baseline_batch.head_of_result(JOB, {"error": "no code"}, "large", "2.11")
    return told["digests"] == digests and (told["workload"], told["device"]["kind"], told["error"]) \
        == ("small", "H100", "") and (plain["digests"], plain["error"]) == ({}, "no code")


def batch_of(child, folder, prove=False, verdict=None, warm=0):
    """Runs a batch whose children are scripts; (exit code, result lines)."""
    jobs, results, worker = Path(folder) / "in", Path(folder) / "out.jsonl", Path(folder) / "worker"
    jobs.write_text(json.dumps(JOB) + "\n")
    reply = {"id": "t:seed", "examination": {"verdict": verdict}}
    code = {"id": "t", "arms": {"seed": {"cubin": "00"}}}
    worker.write_text(f"#!/bin/sh\nif [ $3 = --batch ]; then echo '{json.dumps(reply)}' > $5; "
                      f"else echo '{json.dumps(code)}' > $7; fi\n")
    worker.chmod(0o755)
    options = types.SimpleNamespace(jobs=str(jobs), results=str(results), worker=str(worker), limit_s=20, stall_s=10,
                                    prove=prove, warm=warm)
    original = baseline_batch.start_child
    baseline_batch.start_child = lambda options, code, progress, further: subprocess.Popen(
        [sys.executable, "-c", child, str(progress), str(results), further[1], str(code)])
    try:
        return baseline_batch.run_batch(options), baseline_batch.read_lines(results)
    finally:
        baseline_batch.start_child = original


DIES_ONCE = """
import json, os, sys
progress, results, excluded, code = sys.argv[1:]
def done(name, **more):
    open(results, "a").write(json.dumps({"id": "t", "workload": name, **more}) + "\\n")
if json.loads(excluded):
    done("large", unavailable=json.loads(excluded))
else:
    done("small")
    open(progress, "w").write(json.dumps(["t", "large", "wild"]))
    os._exit(70)
"""


def an_arm_that_kills_the_process_is_left_out_the_next_time():
    with tempfile.TemporaryDirectory() as folder:
        code, lines = batch_of(DIES_ONCE, folder)
    return code == 0 and [line["workload"] for line in lines] == ["small", "large"] \
        and lines[1]["unavailable"] == [["t", "large", "wild", "its process ended with code 70"]]


DIES_ALWAYS = """
import json, os, sys
open(sys.argv[1], "w").write(json.dumps(["t", "small" if not os.path.exists(sys.argv[2]) else "large", ""]))
os._exit(9)
"""


def a_workload_that_kills_the_process_is_an_error():
    with tempfile.TemporaryDirectory() as folder:
        _, lines = batch_of(DIES_ALWAYS, folder)
    return [(line["workload"], line["error"]) for line in lines] \
        == [("small", "its process ended with code 9"), ("large", "its process ended with code 9")]


def a_python_without_pytorch_ends_the_batch_at_once():
    with tempfile.TemporaryDirectory() as folder:
        return batch_of("import sys; sys.exit(71)", folder) == (baseline_batch.NO_PYTORCH, [])


NOTES_ITS_PART = """
import json, sys
if "/" in sys.argv[3]:
    open(sys.argv[2] + ".part" + sys.argv[3][0], "w").write("warm")
else:
    import glob
    parts = sorted(glob.glob(sys.argv[2] + ".part*"))
    for name in ("small", "large"):
        open(sys.argv[2], "a").write(json.dumps({"id": "t", "workload": name, "parts": len(parts)}) + "\\n")
"""


def arms_are_warmed_before_anything_is_timed():
    with tempfile.TemporaryDirectory() as folder:
        code, lines = batch_of(NOTES_ITS_PART, folder, warm=3)
    return code == 0 and [line["parts"] for line in lines] == [3, 3]


TELLS_CODE = """
import json, sys
for name in ("small", "large"):
    open(sys.argv[2], "a").write(json.dumps({"id": "t", "workload": name, "arms": json.load(open(sys.argv[4]))["arms"]})
                                 + "\\n")
"""


def candidates_that_fail_their_proof_have_no_code():
    with tempfile.TemporaryDirectory() as folder:
        _, refused = batch_of(TELLS_CODE, folder, True, {"is_passed": False, "message": "wrong rows"})
    with tempfile.TemporaryDirectory() as folder:
        _, passed = batch_of(TELLS_CODE, folder, True, {"is_passed": True})
    return refused[0]["arms"] == {"seed": {"refused": "wrong rows"}} and passed[0]["arms"] == {"seed": {"cubin": "00"}}


def exported(worker):
    """The worker's line for one honest arm and one that does not compile, at a small shape with computed metadata."""
    folder, seed = ROOT / "tasks" / "block_sparse_prefill", ROOT / "kernels_seed/block_sparse_prefill/naive.cu"
    document = re.sub(r'("(?:[^"\\]|\\.)*")|//[^\n]*', lambda match: match.group(1) or "",
                      (folder / "task.json").read_text())
    task = json.loads(document)
    arms = [{"label": "honest", "candidate": {"source": seed.read_text(), "tuning": {}}},
            {"label": "broken", "candidate": {"source": "int x", "tuning": {}}}]
    request = {"kernelites_request": 1, "id": "t", "device": "vgpu", "deadline_s": 60, "task_document": task,
               "reference_source": (folder / "reference.cu").read_text(),
               "duel": {"arms": arms, "workloads": [task["check"][0]["name"]], "rounds": 4, "confidence": 0.9,
                        "may_stop_early": False, "key": "00" * 32}}
    with tempfile.TemporaryDirectory() as where:
        jobs, code = Path(where) / "in", Path(where) / "out"
        jobs.write_text(json.dumps(request) + "\n")
        subprocess.run([worker, "--device", "vgpu", "--code", jobs, code], check=True, timeout=60)
        return task, json.loads(code.read_text())


def the_worker_gives_all_that_a_launch_needs(worker):
    task, line = exported(worker)
    workload = line["workloads"][0]
    plan, kinds = workload["plans"]["honest"], {spec["name"]: spec.get("fill") for spec in workload["tensors"]}
    cuda = FakeCuda()
    module = cuda_plan.Module(cuda_plan.Driver(cuda), line["arms"]["honest"])
    addresses = [0x1000 * (i + 1) for i in range(len(workload["tensors"]) + 1)]
    cuda_plan.PlannedKernels(module, plan, addresses, lambda size: 0x90000)(0)
    inputs = cuda_plan.Module(cuda_plan.Driver(cuda), line["inputs"])
    cuda_plan.PlannedKernels(inputs, workload["inputs"]["plan"], addresses, lambda size: 0x90000)(0)
    launches = len(plan["launches"]) + len(workload["inputs"]["plan"]["launches"])
    return line["error"] == "" and module.image[:4] == b"\x7fELF" \
        and "plan_not_constant" in line["arms"]["broken"]["refused"] and "broken" not in workload["plans"] \
        and len(cuda.named("cuLaunchKernelEx")) == launches > 1 \
        and kinds["q"]["kind"] == "normal" and kinds["indices"] == {"kind": "computed", "variant": 0.0} \
        and len(workload["inputs"]["draw"]) == 4 and workload["gates"]["o"]["row"] == task["precision"]["o"]["row"] \
        and line["scalars"] == {"scale": task["scalars"]["scale"]["value"]}


CASES = [structures_are_laid_out_as_the_driver_reads_them, arguments_reach_the_kernel_in_their_layout,
         small_scalars_have_their_own_width, only_a_later_launch_may_begin_early, shared_memory_of_a_kernel_only_grows,
         workspaces_are_zeroed_before_the_launches, tensor_maps_are_encoded_over_their_tensor,
         a_failed_call_is_told_in_the_drivers_words, every_round_runs_every_arm_on_one_set,
         rounds_end_when_their_time_is_over, few_rounds_are_done_in_any_case, sets_exceed_the_cache_and_fit_into_memory,
         the_functions_of_a_file_are_its_baselines, every_baseline_of_the_tasks_has_a_function,
         what_has_a_result_is_not_measured_again, an_arm_that_kills_the_process_is_left_out_the_next_time,
         a_workload_that_kills_the_process_is_an_error, a_python_without_pytorch_ends_the_batch_at_once,
         a_result_says_of_which_task_and_candidates_it_is,
         arms_are_warmed_before_anything_is_timed, candidates_that_fail_their_proof_have_no_code]


def main():
    cases = list(CASES)
    if len(sys.argv) > 1:  # the worker
        cases.append(functools.partial(the_worker_gives_all_that_a_launch_needs, sys.argv[1]))
    names = [getattr(case, "func", case).__name__.replace("_", " ") for case in cases]
    failed = [name for name, case in zip(names, cases) if not case()]
    for name in failed:
        print(f"FAILED: {name}")
    print(f"{len(cases) - len(failed)} passed, {len(failed)} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
