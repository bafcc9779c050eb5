# SPDX-License-Identifier: Apache-2.0
"""Gradients of the group-rational activation as a framework computes them."""

import torch
from torch_baselines import compiled


def _gradients(x, dy, a, b):
    groups, powers = a.shape
    rows = x.shape[0]
    x, dy = x.view(rows, groups, -1), dy.view(rows, groups, -1)
    a, b = a[:, :, None], b[:, :, None]
    size, sign = x.abs(), x.sign()
    numerator = sum(a[:, i] * x ** i for i in range(powers))
    slope = sum(i * a[:, i] * x ** (i - 1) for i in range(1, powers))
    denominator = 1 + sum(b[:, i].abs() * size ** (i + 1) for i in range(4))
    steepness = sign * sum((i + 1) * b[:, i].abs() * size ** i for i in range(4))
    over = dy / denominator
    lost = over * numerator / denominator
    dx = over * slope - lost * steepness
    da = torch.stack([(over * x ** i).sum((0, 2)) for i in range(powers)], -1)
    db = torch.stack([-(lost * size ** (i + 1)).sum((0, 2)) * b[:, i, 0].sign() for i in range(4)], -1)
    return dx.view(rows, -1), da, db


def _torch(p, wrap):
    gradients = wrap(_gradients)
    return lambda: dict(zip(("dx", "da", "db"), gradients(p.x, p.dy, p.a, p.b)))


def torch_eager(p):
    return _torch(p, lambda function: function)


def torch_compile(p):
    return _torch(p, compiled)
