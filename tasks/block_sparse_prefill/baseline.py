# SPDX-License-Identifier: Apache-2.0
"""Libraries that compute causal attention over lists of key blocks."""

import torch
from torch_baselines import block_mask, flex


def flex_attention(p):
    """The lists are brought into FlexAttention's form outside the timing."""
    starts, rows = p.indptr[..., :-1, None].long(), p.indptr.shape[-1] - 1
    counts = p.indptr.diff(dim=-1)[..., None]
    at = torch.arange(int(counts.max()), device=p.q.device)
    places = (starts + at).clamp_max(p.indices.shape[-1] - 1)
    lists = p.indices[:, :, None, :].expand(-1, -1, rows, -1).gather(-1, places)
    lists = torch.where(at < counts, lists, -1)
    first_query = torch.arange(rows, device=p.q.device)[:, None] * p.Bq
    is_past = (lists + 1) * p.Bk - 1 <= first_query
    mask = block_mask(torch.where(is_past, lists, -1), torch.where(is_past, -1, lists), p.Bq, p.Bk,
                      lambda b, h, q, k: k <= q, p.S, p.S)
    attend = flex(p.q, p.k, p.v, mask, p.scale, {"BLOCK_M": min(128, p.Bq), "BLOCK_N": 64})

    def run():
        o, lse = attend()
        return {"o": o, "lse": lse}
    return run
