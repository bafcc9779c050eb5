# SPDX-License-Identifier: Apache-2.0
"""SnapKV's choice as its released code makes it, with scores in float."""

import torch
from torch.nn.functional import avg_pool1d
from torch_baselines import compiled


def _choose(q, k, scale, number):
    batch, window, heads, channels = q.shape
    tokens, kv_heads = k.shape[1], k.shape[2]
    keys = k.permute(0, 2, 3, 1).reshape(batch * kv_heads, channels, tokens)
    queries = q.view(batch, window, kv_heads, -1, channels).permute(0, 2, 3, 1, 4)
    queries = queries.reshape(batch * kv_heads, -1, channels)
    scores = torch.bmm(queries, keys, out_dtype=torch.float32).view(batch, heads, window, tokens) * scale
    last = torch.arange(window, device=q.device)[:, None] + tokens - window
    scores = scores.masked_fill(torch.arange(tokens, device=q.device) > last, float("-inf"))
    sums = scores.softmax(-1).sum(-2)[..., :tokens - window]
    return avg_pool1d(sums, 5, stride=1, padding=2).topk(number, -1).indices.int()


def torch_eager(p):
    return lambda: {"chosen": _choose(p.q, p.k, p.scale, p.N)}


def torch_compile(p):
    choose = compiled(_choose)
    return lambda: {"chosen": choose(p.q, p.k, p.scale, p.N)}
