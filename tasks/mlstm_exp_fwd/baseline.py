# SPDX-License-Identifier: Apache-2.0
"""Libraries that compute the matrix memory of xLSTM."""

import math

import torch


def mlstm_kernels(p):
    """Triton; it scales queries by 1 / sqrt(DK) itself, so they are given scaled, in bf16 as its layers do."""
    from mlstm_kernels.torch.chunkwise.triton_xl_chunk import mlstm_chunkwise__xl_chunk
    q = (p.q.float() * p.scale * math.sqrt(p.DK)).bfloat16()

    def run():
        h, (c, n, m) = mlstm_chunkwise__xl_chunk(q, p.k, p.v, p.igate, p.fgate, c_initial=p.c0, n_initial=p.n0,
                                                 m_initial=p.m0, return_last_states=True, eps=p.eps,
                                                 autocast_kernel_dtype=torch.bfloat16)
        return {"h": h, "c": c, "n": n, "m": m.view(p.B, p.NH)}
    return run
