# SPDX-License-Identifier: Apache-2.0
"""Libraries that compute the gradients of causal attention; their own forward pass is outside the timing."""

import torch
from torch_baselines import BACKENDS


def _gradients(p, backend):
    inputs = [t.detach().requires_grad_() for t in (p.q, p.k, p.v)]
    out = BACKENDS[backend](*(t.transpose(1, 2) for t in inputs), True, p.scale)[0].transpose(1, 2)
    return lambda: dict(zip(("dq", "dk", "dv"), torch.autograd.grad(out, inputs, p.dout, retain_graph=True)))


def cudnn_sdpa(p):
    return _gradients(p, "cudnn")


def flash_sdpa(p):
    return _gradients(p, "flash")
