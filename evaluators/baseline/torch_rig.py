# SPDX-License-Identifier: Apache-2.0
"""Times proven candidates and a library's kernels as arms of one comparison, in one process of PyTorch.

All arms get the same tensors, in turn from several sets, and the same work around them: a read of twice the L2, a spin
of the device while the host enqueues, an event on either side. Before anything is timed the outputs of all arms are
held against those of the first candidate (agreement.py).
"""

import time

import torch

from agreement import share
from arm_rounds import Problem, input_sets, interleave
from cuda_plan import Driver, Module, PlannedKernels
from drawn_tensors import bytes_of, make_tensors

SPIN_CYCLES_PER_S = 2.0e9
SPIN_S_MIN, SPIN_S_MAX = 100e-6, 20e-3
EMPTY_RUNS = 20
WORDS_MAX = 600


class Flush:
    """Evicts the L2 by reading a buffer of twice its size."""

    def __init__(self):
        properties = torch.cuda.get_device_properties(0)
        self.buffer = torch.zeros(2 * properties.L2_cache_size // 4, dtype=torch.int32, device="cuda")

    def __call__(self):
        return self.buffer.sum()


def words(error):
    return f"{type(error).__name__}: {error}".strip().replace("\n", " ")[:WORDS_MAX]


def is_device_lost():
    """Whether an error has left the context unusable."""
    try:
        torch.cuda.synchronize()
        return False
    except RuntimeError:
        return True


class Rig:
    """One workload: tensors, arms, their agreement and their times."""

    def __init__(self, code, workload, sets_max, driver=None):
        self.code, self.workload, self.driver = code, workload, driver or Driver()
        properties = torch.cuda.get_device_properties(0)
        count = input_sets(bytes_of(workload["tensors"]), properties.L2_cache_size, properties.total_memory)
        self.sets = [make_tensors(workload["tensors"], seed) for seed in range(1, min(count, sets_max) + 1)]
        self.keep, self.arms, self.unavailable, self.agreement = [], {}, {}, {}
        self.names = [spec["name"] for spec in workload["tensors"]]
        self.flush = Flush()
        if workload["inputs"]:
            self._compute_inputs()
        self.spin_s = SPIN_S_MIN

    def _allocate(self, size):
        self.keep.append(torch.zeros(size, dtype=torch.uint8, device="cuda"))
        return self.keep[-1].data_ptr()

    def _addresses(self, tensors):
        return [tensors[name].data_ptr() for name in self.names]

    def _compute_inputs(self):
        """The task's own program writes computed inputs, in every set with another seed."""
        module = Module(self.driver, self.code["inputs"])
        for number, tensors in enumerate(self.sets):
            seed, *others = self.workload["inputs"]["draw"]
            draw = torch.tensor([seed + number, *others], dtype=torch.int64, device="cuda")
            plan = PlannedKernels(module, self.workload["inputs"]["plan"],
                                  [*self._addresses(tensors), draw.data_ptr()], self._allocate)
            plan(torch.cuda.current_stream().cuda_stream)
            torch.cuda.synchronize()

    def add_candidate(self, name):
        """A seed or another proven candidate; its outputs are the task's tensors."""
        module = Module(self.driver, self.code["arms"][name])
        plans = [PlannedKernels(module, self.workload["plans"][name], self._addresses(tensors), self._allocate)
                 for tensors in self.sets]
        self.arms[name] = [lambda plan=plan: plan(torch.cuda.current_stream().cuda_stream) for plan in plans]

    def add_baseline(self, name, function):
        """A function of baseline.py: prepares for each set what it wants and returns what is timed."""
        self.arms[name] = [function(Problem(tensors, self.workload["dims"], self.code["scalars"]))
                           for tensors in self.sets]

    def outputs_of(self, name):
        """Outputs of one run on the first set, by name."""
        result = self.arms[name][0]()
        torch.cuda.synchronize()
        return result or {output: self.sets[0][output] for output in self.workload["gates"]}

    def try_arm(self, name, add):
        """Adds an arm, runs it on every set and holds it against the first one; what fails is told by name."""
        try:
            add()
            outputs = self.outputs_of(name)
            gates = self.workload["gates"]
            if not self.agreement:
                self.expected = {output: outputs[output].clone() for output in gates}
            self.agreement[name] = {output: share(self.expected[output], outputs[output], gates[output])
                                    for output in gates if output in outputs}
            for run in self.arms[name]:
                run()
            torch.cuda.synchronize()
            self.spin_s = min(SPIN_S_MAX, max(self.spin_s, 1.5 * self._enqueue_s(name)))
        except Exception as error:  # a library that is missing or refuses the shape is a finding, not a failure
            self.arms.pop(name, None)
            self.unavailable[name] = words(error)

    def _enqueue_s(self, name):
        """Seconds of host time, so that the device never waits for the host: the best of three."""
        best = SPIN_S_MAX
        for _ in range(3):
            torch.cuda._sleep(int(SPIN_S_MAX * SPIN_CYCLES_PER_S))
            began = time.perf_counter()
            self.arms[name][0]()
            best = min(best, time.perf_counter() - began)
            torch.cuda.synchronize()
        return best

    def time_once(self, run):
        """Microseconds of one run behind a flush."""
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        self.flush()
        torch.cuda._sleep(int(self.spin_s * SPIN_CYCLES_PER_S))
        start.record()
        run()
        end.record()
        end.synchronize()
        return 1e3 * start.elapsed_time(end)

    def measure(self, seed, rounds_max, limit_s):
        """The result's part of this workload."""
        empty = sorted(self.time_once(lambda: None) for _ in range(EMPTY_RUNS))[EMPTY_RUNS // 2]
        times = interleave(self.arms, len(self.sets), lambda name, number: self.time_once(self.arms[name][number]),
                           seed, rounds_max, limit_s)
        return {"times_us": times, "agreement": self.agreement, "unavailable": self.unavailable,
                "empty_us": empty, "sets": len(self.sets), "spin_us": 1e6 * self.spin_s}
