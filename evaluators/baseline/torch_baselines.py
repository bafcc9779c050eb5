# SPDX-License-Identifier: Apache-2.0
"""What the baselines of tasks share: attention of PyTorch with its backend forced, FlexAttention, torch.compile.

Everything takes and gives tensors as the tasks lay them out, [batch, token, head, channel], as views; nothing is copied
inside the timed region that the library itself would not copy.
"""

import torch
from torch.nn.attention.flex_attention import AuxRequest, BlockMask, create_block_mask, flex_attention

COMPILES_MAX = 256  # shapes and sets of inputs are compiled one by one


def compiled(function):
    """torch.compile for one shape at a time."""
    torch._dynamo.config.recompile_limit = COMPILES_MAX
    torch._dynamo.config.accumulated_recompile_limit = COMPILES_MAX
    return torch.compile(function, dynamic=False)


def _sdpa_cudnn(q, k, v, is_causal, scale):
    return torch.ops.aten._scaled_dot_product_cudnn_attention(q, k, v, None, True, 0.0, is_causal, False, scale=scale)


def _sdpa_flash(q, k, v, is_causal, scale):
    return torch.ops.aten._scaled_dot_product_flash_attention(q, k, v, 0.0, is_causal, False, scale=scale)


BACKENDS = {"cudnn": _sdpa_cudnn, "flash": _sdpa_flash}


def sdpa(backend, q, k, v, scale, is_causal=False):
    """(output [B, S, H, D], log-sum-exp [B, S, H]) by the operator behind scaled_dot_product_attention."""
    out, lse, *_ = BACKENDS[backend](q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), is_causal, scale)
    return out.transpose(1, 2), lse.reshape(out.shape[:3]).transpose(1, 2)


def flash_varlen(q, k, v, starts_q, starts_k, longest_q, longest_k, scale, is_causal=False, used_k=None):
    """(output [T, H, D], log-sum-exp [T, H]) of packed sequences, as torch.nn.attention.varlen calls it."""
    out, lse, *_ = torch.ops.aten._flash_attention_forward(
        q, k, v, starts_q, starts_k, longest_q, longest_k, 0.0, is_causal, False, scale=scale, seqused_k=used_k)
    return out, lse.reshape(-1, out.shape[0]).transpose(0, 1)


def flex(q, k, v, block_mask, scale, kernel_options=None):
    """A function that runs FlexAttention and gives (output [B, S, H, D], log-sum-exp [B, S, H])."""
    attend = compiled(flex_attention)
    is_grouped = q.shape[2] != k.shape[2]
    q, k, v = (t.transpose(1, 2) for t in (q, k, v))

    def run():
        out, aux = attend(q, k, v, block_mask=block_mask, scale=scale, enable_gqa=is_grouped,
                          kernel_options=kernel_options, return_aux=AuxRequest(lse=True))
        return out.transpose(1, 2), aux.lse.transpose(1, 2)
    return run


def mask_of(mask_mod, batch, heads, queries, keys, device="cuda"):
    """FlexAttention's list of blocks for a mask; compiled where the mask itself would not fit into memory."""
    return create_block_mask(mask_mod, batch, heads, queries, keys, device=device, _compile=queries * keys > 1 << 28)


def block_mask(full, partial, block_q, block_k, mask_mod, queries, keys):
    """FlexAttention's list of blocks from two lists [B, H, blocks of queries, entries] of key blocks, -1 for none."""
    counts, indices = [], []
    for blocks in (partial, full):
        present = blocks >= 0
        order = present.to(torch.int8).argsort(dim=-1, descending=True, stable=True)
        indices.append(blocks.gather(-1, order).clamp_min(0).to(torch.int32).contiguous())
        counts.append(present.sum(-1).to(torch.int32).contiguous())
    return BlockMask.from_kv_blocks(counts[0], indices[0], counts[1], indices[1], BLOCK_SIZE=(block_q, block_k),
                                    mask_mod=mask_mod, seq_lengths=(queries, keys), compute_q_blocks=False)


def require(condition, words):
    """A shape that a library does not serve is said so."""
    if not condition:
        raise ValueError(words)
