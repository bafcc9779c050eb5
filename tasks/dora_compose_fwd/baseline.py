# SPDX-License-Identifier: Apache-2.0
"""Libraries that compose the outputs of a DoRA layer, in float as the operator's precision asks."""

from torch_baselines import compiled


def _compose(base, lora, g, scale):
    return ((g - 1) * base + g * (scale * lora.float())).bfloat16()


def torch_eager(p):
    return lambda: {"y": _compose(p.base, p.lora, p.g, p.scale)}


def torch_compile(p):
    compose = compiled(_compose)
    return lambda: {"y": compose(p.base, p.lora, p.g, p.scale)}
