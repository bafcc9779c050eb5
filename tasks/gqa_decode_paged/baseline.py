# SPDX-License-Identifier: Apache-2.0
"""Libraries that compute one decode step over pages. What has no paged kernel gathers the pages first."""

import torch
from torch_baselines import block_mask, flash_varlen, flex, require


def gathered_flash(p):
    """Gathers inside the timed region: one copy of the cache, then FlashAttention-2 with lengths."""
    pages = p.page_table.long()
    capacity = pages.shape[1] * p.PS
    starts_q = torch.arange(p.B + 1, dtype=torch.int32, device=p.q.device)
    starts_k = starts_q * capacity

    def run():
        k, v = (pool[pages].view(p.B * capacity, p.Hkv, p.D) for pool in (p.k, p.v))
        o, lse = flash_varlen(p.q, k, v, starts_q, starts_k, 1, p.S, p.scale, used_k=p.len)
        return {"o": o, "lse": lse}
    return run


def flex_paged(p):
    """FlexAttention over the pool: its list of blocks is the page table. The list is made outside the timing."""
    require(p.PS >= 16, "the blocks of FlexAttention hold at least 16 keys")
    slots, rest, table = p.PS, p.len % p.PS, p.page_table[:, None, None, :]
    at = torch.arange(table.shape[-1], device=p.len.device)[None, None, None, :]
    whole = (p.len // p.PS)[:, None, None, None]
    has_rest = (rest > 0)[:, None, None, None]
    mask = block_mask(torch.where(at < whole, table, -1), torch.where((at == whole) & has_rest, table, -1), 128, p.PS,
                      lambda b, h, q, k: k % slots < rest[b], 1, p.P * p.PS)
    pool_k, pool_v = (pool.view(1, p.P * p.PS, p.Hkv, p.D) for pool in (p.k, p.v))
    attend = flex(p.q[:, None], pool_k, pool_v, mask, p.scale, {"BLOCK_N": min(64, p.PS)})

    def run():
        o, lse = attend()
        return {"o": o[:, 0], "lse": lse[:, 0]}
    return run
