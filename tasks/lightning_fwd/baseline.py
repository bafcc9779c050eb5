# SPDX-License-Identifier: Apache-2.0
"""Libraries that compute linear attention with a decay per head."""

import torch
from torch_baselines import compiled

CHUNK = 256


def _chunked(q, k, v, slope, s0, scale):
    """Chunks of matrix products; the chain of states is one product with a triangle of decays."""
    batch, heads, tokens, channels = q.shape
    chunks = tokens // CHUNK
    q, k, v = (t.view(batch, heads, chunks, CHUNK, channels) for t in (q, k, v))
    at = torch.arange(CHUNK, device=q.device)
    slope = slope[:, None, None]
    decay = torch.where(at[:, None] >= at, (-slope * (at[:, None] - at)).exp(), 0.0)[:, None]
    inner = ((q @ k.transpose(-1, -2)).float() * decay).bfloat16() @ v
    left = (-slope * (CHUNK - 1 - at)).exp()[..., None]  # of each key at the end of its chunk
    added = ((k * left).bfloat16().transpose(-1, -2) @ v).float().flatten(-2)
    number = torch.arange(chunks + 1, device=q.device)
    after = number[:, None] - number[None, :-1] - 1
    chain = torch.where(after >= 0, (-slope * CHUNK * after.clamp_min(0)).exp(), 0.0)
    begun = (-slope * CHUNK * number).exp().transpose(-1, -2) * s0.flatten(-2)[:, :, None]
    states = (chain @ added + begun).unflatten(-1, (channels, channels))
    into = (-slope * (at + 1)).exp().transpose(-1, -2)[:, None]
    outer = (q * into).bfloat16() @ states[:, :, :-1].bfloat16()
    return (scale * (inner.float() + outer.float())).bfloat16().flatten(2, 3), states[:, :, -1]


def torch_compile(p):
    chunked = compiled(_chunked)
    return lambda: dict(zip(("o", "state"), chunked(p.q, p.k, p.v, p.slope, p.s0, p.scale)))


def fla_simple_gla(p):
    """Triton; in its own layout, brought about outside the timing."""
    from fla.ops.simple_gla import chunk_simple_gla
    q, k, v = (t.transpose(1, 2).contiguous() for t in (p.q, p.k, p.v))

    def run():
        o, state = chunk_simple_gla(q, k, v, g_gamma=-p.slope, scale=p.scale, initial_state=p.s0,
                                    output_final_state=True)
        return {"o": o.transpose(1, 2), "state": state}
    return run
