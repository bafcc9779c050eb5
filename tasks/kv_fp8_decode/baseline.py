# SPDX-License-Identifier: Apache-2.0
"""Libraries that decode over an e4m3 cache with a scale per token and head: none does, so it is widened first."""

import torch
from torch_baselines import compiled, require, sdpa


def _widened(codes, scales):
    return (codes.float() * scales.transpose(1, 2).unsqueeze(-1)).bfloat16()


def dequantised_flash(p):
    """Widened by a compiled kernel inside the timed region, then FlashAttention-2. Keys that were rounded to bf16 give
    another log-sum-exp than the operator's, which is left out."""
    require((p.len == p.S).all().item(), "serves full lengths only")
    widen = compiled(lambda k, ks, v, vs: (_widened(k, ks), _widened(v, vs)))

    def run():
        k, v = widen(p.k, p.k_scale, p.v, p.v_scale)
        o, _ = sdpa("flash", p.q[:, None], k, v, p.scale)
        return {"o": o[:, 0]}
    return run


def _by_matmul(q, k, ks, v, vs, scale):
    batch, heads, channels = q.shape
    kv_heads = k.shape[2]
    keys = k.bfloat16().permute(0, 2, 3, 1).reshape(batch * kv_heads, channels, -1)
    values = v.bfloat16().permute(0, 2, 1, 3).reshape(batch * kv_heads, -1, channels)
    scores = torch.bmm(q.view(batch * kv_heads, -1, channels), keys, out_dtype=torch.float32)
    scores = scores * (scale * ks.reshape(batch * kv_heads, 1, -1))
    weights = (scores.softmax(-1) * vs.reshape(batch * kv_heads, 1, -1)).bfloat16()
    return torch.bmm(weights, values).view(q.shape), scores.logsumexp(-1).view(batch, heads)


def widened_matmul(p):
    """Codes widened exactly, scales applied to scores and weights: the operator's own arithmetic, in products."""
    require((p.len == p.S).all().item(), "serves full lengths only")
    attend = compiled(_by_matmul)

    def run():
        o, lse = attend(p.q, p.k, p.k_scale, p.v, p.v_scale, p.scale)
        return {"o": o, "lse": lse}
    return run
