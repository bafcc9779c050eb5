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
    """Some rows at a time: the scores of a whole serving shape have tens of gigabytes."""
    q, k, v = (x[name].transpose(1, 2) for name in ("q", "k", "v"))
    groups = q.shape[1] // k.shape[1]
    k, v = (t.double().repeat_interleave(groups, dim=1) for t in (k, v))
    rows, columns = q.shape[2], k.shape[2]
    step = max(1, (1 << 26) // (q.shape[0] * q.shape[1] * columns))
    results, logarithms = [], []
    for begin in range(0, rows, step):
        scores = q[:, :, begin:begin + step].double() @ k.transpose(-1, -2) * scalars["scale"]
        if is_causal:
            row = torch.arange(begin, begin + scores.shape[2], device=q.device)[:, None]
            key = torch.arange(columns, device=q.device)[None, :]
            scores.masked_fill_(key > row + columns - rows, -math.inf)
        logarithms.append(scores.logsumexp(-1))
        results.append(scores.softmax(-1).nan_to_num_(0) @ v)  # a row without keys gives 0
    return {"o": torch.cat(results, 2).transpose(1, 2), "lse": torch.cat(logarithms, 2).transpose(1, 2)}


def rmsnorm(x, dims, scalars):
    rows = x["x"].double()
    return {"y": rows * (rows.square().mean(-1, keepdim=True) + scalars["eps"]).rsqrt() * x["w"].double()}


REFERENCES = {"gqa_decode_splitkv": decode,
              "gqa_prefill_causal": lambda *a: prefill(*a, is_causal=True),
              "mha_prefill_full": lambda *a: prefill(*a, is_causal=False),
              "rmsnorm": rmsnorm,
              "softmax_row": lambda x, dims, scalars: {"y": x["x"].double().softmax(-1)}}
