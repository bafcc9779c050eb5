# SPDX-License-Identifier: Apache-2.0
"""The order of a comparison: which arm runs when, on which inputs, and how long it goes on. Knows no device."""

import hashlib
import random
import sys
import time
import types

WARM_UP_RUNS = 3
ROUNDS_MIN = 8


def interleave(arms, sets, time_once, seed, rounds_max, limit_s, clock=time.monotonic):
    """Microseconds by arm, one of each round: every arm runs once in each round, in random order, on the same set.

    `arms` are names; `time_once(arm, set)` runs and times one. After ROUNDS_MIN rounds it ends when `limit_s` seconds
    are over, at the latest after `rounds_max` rounds.
    """
    arms = list(arms)
    for number in range(WARM_UP_RUNS):
        for arm in arms:
            time_once(arm, number % sets)
    dice, order = random.Random(seed), list(arms)
    times = {arm: [] for arm in arms}
    began = clock()
    for number in range(rounds_max):
        if number >= ROUNDS_MIN and clock() - began > limit_s:
            break
        dice.shuffle(order)
        for arm in order:
            times[arm].append(time_once(arm, number % sets))
    return times


def input_sets(set_bytes, l2_bytes, memory_bytes):
    """How many sets of inputs to rotate through: together three times the L2, within a quarter of the memory."""
    wanted = -(-3 * l2_bytes // max(set_bytes, 1))
    fitting = memory_bytes // 4 // max(set_bytes, 1)
    return max(1, min(max(2, wanted), 8, fitting))


class Problem:
    """What a baseline sees: the task's tensors, dims and scalars by name."""

    def __init__(self, tensors, dims, scalars):
        self.__dict__.update(dims, **scalars, **tensors)


def load_baselines(source):
    """Executes the text of a baseline.py, the user's own file, and returns its functions by name, in their order."""
    name = "baseline_" + hashlib.sha256(source.encode()).hexdigest()[:12]
    module = sys.modules[name] = types.ModuleType(name)  # where torch.compile looks for a function's globals
    exec(compile(source, f"{name}.py", "exec"), module.__dict__)
    return {word: value for word, value in vars(module).items()
            if isinstance(value, types.FunctionType) and value.__module__ == name and not word.startswith("_")}
