# SPDX-License-Identifier: Apache-2.0
"""Libraries that compute one decode step over a contiguous cache. Two of them know no lengths on the device."""

import torch
from torch_baselines import flash_varlen, flex, mask_of, require, sdpa


def _sdpa(p, backend):
    require((p.len == p.S).all().item(), "serves full lengths only")

    def run():
        o, lse = sdpa(backend, p.q[:, None], p.k, p.v, p.scale)
        return {"o": o[:, 0], "lse": lse[:, 0]}
    return run


def cudnn_sdpa(p):
    return _sdpa(p, "cudnn")


def flash_sdpa(p):
    return _sdpa(p, "flash")


def flash_varlen_lengths(p):
    starts_q = torch.arange(p.B + 1, dtype=torch.int32, device=p.q.device)
    starts_k = starts_q * p.S
    k, v = p.k.flatten(0, 1), p.v.flatten(0, 1)

    def run():
        o, lse = flash_varlen(p.q, k, v, starts_q, starts_k, 1, p.S, p.scale, used_k=p.len)
        return {"o": o, "lse": lse}
    return run


def flex_attention(p):
    lengths = p.len
    mask = mask_of(lambda b, h, q, k: k < lengths[b], p.B, None, 1, p.S)
    attend = flex(p.q[:, None], p.k, p.v, mask, p.scale)

    def run():
        o, lse = attend()
        return {"o": o[:, 0], "lse": lse[:, 0]}
    return run
