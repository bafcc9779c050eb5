# SPDX-License-Identifier: Apache-2.0
"""Libraries that compute one decode step over packed sequences of uneven lengths."""

import torch
from torch_baselines import flash_varlen


def flash_varlen_packed(p):
    starts_q = torch.arange(p.B + 1, dtype=torch.int32, device=p.q.device)
    longest = p.offsets.diff().max().item()

    def run():
        o, lse = flash_varlen(p.q, p.k, p.v, starts_q, p.offsets, 1, longest, p.scale)
        return {"o": o, "lse": lse}
    return run
