# SPDX-License-Identifier: Apache-2.0
"""Libraries that compute causal attention over packed prompts."""

import torch
from torch_baselines import flash_varlen as packed_flash
from torch_baselines import flex, mask_of


def flash_varlen(p):
    longest = p.cu_seqlens.diff().max().item()

    def run():
        o, lse = packed_flash(p.q, p.k, p.v, p.cu_seqlens, p.cu_seqlens, longest, longest, p.scale, is_causal=True)
        return {"o": o, "lse": lse}
    return run


def flex_document(p):
    """The list of blocks is made outside the timing."""
    tokens = torch.arange(p.T, dtype=torch.int32, device=p.q.device)
    document = torch.searchsorted(p.cu_seqlens, tokens, right=True)
    mask = mask_of(lambda b, h, q, k: (document[q] == document[k]) & (k <= q), None, None, p.T, p.T)
    attend = flex(p.q[None], p.k[None], p.v[None], mask, p.scale)

    def run():
        o, lse = attend()
        return {"o": o[0], "lse": lse[0]}
    return run
