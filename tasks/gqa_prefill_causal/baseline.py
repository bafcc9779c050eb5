# SPDX-License-Identifier: Apache-2.0
"""Libraries that compute causal grouped-query attention over whole prompts."""

from torch_baselines import require, sdpa


def _sdpa(p, backend):
    require(p.Sq == p.Sk, "the last query sees all keys only where Sq = Sk")

    def run():
        o, lse = sdpa(backend, p.q, p.k, p.v, p.scale, is_causal=True)
        return {"o": o, "lse": lse}
    return run


def cudnn_sdpa(p):
    return _sdpa(p, "cudnn")


def flash_sdpa(p):
    return _sdpa(p, "flash")
