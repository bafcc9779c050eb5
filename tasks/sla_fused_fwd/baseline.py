# SPDX-License-Identifier: Apache-2.0
"""Libraries for both branches of sparse-linear attention: FlexAttention over the lists, compiled matrix products."""

import torch
from torch.nn.functional import pad
from torch_baselines import block_mask, compiled, flex

BLOCK = 64


def _linear(q, k, v, unselected):
    """Attention over what is not selected: sums of whole blocks, chosen by a product with zeros and ones."""
    batch, tokens, heads, channels = q.shape
    blocks = unselected.shape[-1]
    q, k = (t.float().softmax(-1).bfloat16() for t in (q, k))
    k, v = (pad(t, (0, 0, 0, 0, 0, blocks * BLOCK - tokens)).view(batch, blocks, BLOCK, heads, channels)
            .permute(0, 3, 1, 2, 4) for t in (k, v))
    states = (k.transpose(-1, -2) @ v).flatten(-2)
    states = (unselected @ states).unflatten(-1, (channels, channels))
    sums = unselected.float() @ k.float().sum(-2)
    q = pad(q, (0, 0, 0, 0, 0, blocks * BLOCK - tokens)).view(batch, blocks, BLOCK, heads, channels)
    q = q.permute(0, 3, 1, 2, 4)
    out = (q @ states).float() / (q.float() @ sums[..., None])
    return out.bfloat16().permute(0, 2, 3, 1, 4).flatten(1, 2)[:, :tokens]


def flex_and_matmul(p):
    """The lists are brought into their forms outside the timing."""
    blocks = p.lut.shape[2]
    mask = block_mask(p.lut, torch.full_like(p.lut, -1), BLOCK, BLOCK, lambda b, h, q, k: q >= 0, p.S, p.S)
    attend, linear = flex(p.q, p.k, p.v, mask, p.scale, {"BLOCK_M": BLOCK, "BLOCK_N": BLOCK}), compiled(_linear)
    selected = torch.zeros(*p.lut.shape[:3], blocks + 1, dtype=torch.bfloat16, device=p.lut.device)
    selected.scatter_(-1, torch.where(p.lut < 0, blocks, p.lut).long(), 1)
    unselected = 1 - selected[..., :blocks]

    def run():
        os, lse = attend()
        return {"os": os, "ol": linear(p.q, p.k, p.v, unselected), "lse": lse}
    return run
