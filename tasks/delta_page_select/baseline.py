# SPDX-License-Identifier: Apache-2.0
"""DELTA's choice of pages, gathered and scored by PyTorch."""

import torch
from torch_baselines import compiled, require


def _choose(q, k, lse, pages, scale, number):
    batch, heads, channels = q.shape
    keys = k[pages].flatten(1, 2)  # [B, S, Hkv, D]
    kv_heads = keys.shape[2]
    keys = keys.permute(0, 2, 3, 1).reshape(batch * kv_heads, channels, -1)
    scores = torch.bmm(q.view(batch * kv_heads, -1, channels), keys, out_dtype=torch.float32)
    shares = (scores.view(batch, heads, -1) * scale - lse[..., None]).exp().amax(1)
    of_page = shares.view(batch, -1, 16).sum(-1)
    of_page[:, -8:] = float("inf")
    return of_page.topk(number, -1).indices.int()


def _torch(p, wrap):
    require((p.len == p.S).all().item(), "serves full lengths only")
    choose, pages = wrap(_choose), p.page_table.long()
    return lambda: {"chosen": choose(p.q, p.k, p.lse, pages, p.scale, p.N)}


def torch_eager(p):
    return _torch(p, lambda function: function)


def torch_compile(p):
    return _torch(p, compiled)
