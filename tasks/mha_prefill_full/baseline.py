# SPDX-License-Identifier: Apache-2.0
"""Libraries that compute attention without a mask."""

from torch_baselines import sdpa


def _sdpa(p, backend):
    def run():
        o, lse = sdpa(backend, p.q, p.k, p.v, p.scale)
        return {"o": o, "lse": lse}
    return run


def cudnn_sdpa(p):
    return _sdpa(p, "cudnn")


def flash_sdpa(p):
    return _sdpa(p, "flash")
