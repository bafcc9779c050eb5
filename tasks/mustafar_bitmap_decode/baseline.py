# SPDX-License-Identifier: Apache-2.0
"""What a compressed cache must beat: dense decode of the same tokens, unpacked outside the timing."""

import torch
from torch_baselines import require, sdpa


def _unpacked(words, offsets, values):
    """[..., 64]: each word's kept elements in their places, zeros elsewhere."""
    bits = (words[..., None] >> torch.arange(64, device=words.device)) & 1
    places = 8 * offsets[:-1].view(words.shape)[..., None].long() + bits.cumsum(-1) - bits
    return torch.where(bits > 0, values.flatten()[places.clamp_max(values.numel() - 1)], 0)


def _dense(p, number, head):
    """Keys and values [tokens, D] of one sequence and head."""
    k = _unpacked(p.k_bits[number, head], p.k_off[number, head], p.k_val[number, head])
    v = _unpacked(p.v_bits[number, head], p.v_off[number, head], p.v_val[number, head])
    return (torch.cat([k.transpose(1, 2).flatten(0, 1), p.k_win[number, :, head]]),
            torch.cat([v.flatten(1, 2), p.v_win[number, :, head]]))


def dense_sdpa(p):
    require((p.groups == p.C).all().item() and (p.window == p.W).all().item(), "serves full lengths only")
    k = torch.empty(p.B, 64 * p.C + p.W, p.Hkv, p.D, dtype=torch.bfloat16, device=p.q.device)
    v = torch.empty_like(k)
    for number in range(p.B):
        for head in range(p.Hkv):
            k[number, :, head], v[number, :, head] = _dense(p, number, head)

    def run():
        o, lse = sdpa("cudnn", p.q[:, None], k, v, p.scale)
        return {"o": o[:, 0], "lse": lse[:, 0]}
    return run
