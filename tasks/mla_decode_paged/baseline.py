# SPDX-License-Identifier: Apache-2.0
"""Libraries that decode over a paged latent cache: PyTorch has no kernel for 576 channels, so pages are gathered."""

import torch
from torch_baselines import compiled, require


def _attend(q, kv, pages, scale):
    c = kv[pages].flatten(1, 2)
    scores = torch.bmm(q, c.transpose(1, 2), out_dtype=torch.float32) * scale
    weights = scores.softmax(-1).bfloat16()
    return torch.bmm(weights, c[..., :512]), scores.logsumexp(-1)


def gathered_matmul(p):
    require((p.len == p.S).all().item(), "serves full lengths only")
    attend, pages = compiled(_attend), p.page_table.long()

    def run():
        o, lse = attend(p.q, p.kv, pages, p.scale)
        return {"o": o, "lse": lse}
    return run
