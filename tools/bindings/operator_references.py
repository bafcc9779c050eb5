# SPDX-License-Identifier: Apache-2.0
"""What operators give, in float64, for those that PyTorch can say in a few lines."""

import math

import torch


def decode(x, dims, scalars):
    k, v, lengths = x["k"].double(), x["v"].double(), x["len"].long()
    q = x["q"].double().unflatten(1, (k.shape[2], -1))
    hidden = torch.arange(k.shape[1], device=k.device)[None, :] >= lengths[:, None]
    scores = torch.einsum("bhgd,bshd->bhgs", q, k) * scalars["scale"]
    scores = scores.masked_fill(hidden[:, None, None, :], -math.inf)
    o = torch.einsum("bhgs,bshd->bhgd", scores.softmax(-1), v.masked_fill(hidden[:, :, None, None], 0))
    return {"o": o.flatten(1, 2), "lse": scores.logsumexp(-1).flatten(1, 2)}


def prefill(x, dims, scalars, is_causal):
    q, k, v = (x[name].double().transpose(1, 2) for name in ("q", "k", "v"))
    groups = q.shape[1] // k.shape[1]
    k, v = (t.repeat_interleave(groups, dim=1) for t in (k, v))
    scores = q @ k.transpose(-1, -2) * scalars["scale"]
    if is_causal:
        rows, columns = scores.shape[-2:]
        seen = torch.ones(rows, columns, dtype=torch.bool, device=q.device).tril(columns - rows)
        scores = scores.masked_fill(~seen, -math.inf)
    return {"o": (scores.softmax(-1) @ v).transpose(1, 2), "lse": scores.logsumexp(-1).transpose(1, 2)}


def rmsnorm(x, dims, scalars):
    rows = x["x"].double()
    return {"y": rows * (rows.square().mean(-1, keepdim=True) + scalars["eps"]).rsqrt() * x["w"].double()}


REFERENCES = {"gqa_decode_splitkv": decode,
              "gqa_prefill_causal": lambda *a: prefill(*a, is_causal=True),
              "mha_prefill_full": lambda *a: prefill(*a, is_causal=False),
              "rmsnorm": rmsnorm,
              "softmax_row": lambda x, dims, scalars: {"y": x["x"].double().softmax(-1)}}
