# SPDX-License-Identifier: Apache-2.0
"""Libraries that compute the selected branch of native sparse attention."""


def fla_nsa(p):
    """Triton. It rounds scaled queries to bf16, so that its log-sum-exps are off by more than ours may be: the output
    alone is compared."""
    from fla.ops.nsa.parallel import parallel_nsa_fwd

    def run():
        o, _ = parallel_nsa_fwd(p.q, p.k, p.v, p.idx, p.T, p.L, p.scale)
        return {"o": o}
    return run
