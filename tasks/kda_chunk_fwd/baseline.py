# SPDX-License-Identifier: Apache-2.0
"""Libraries that compute Kimi Delta Attention."""


def fla_chunk_kda(p):
    """Triton."""
    from fla.ops.kda import chunk_kda

    def run():
        o, state = chunk_kda(p.q, p.k, p.v, p.g, p.beta, scale=p.scale, initial_state=p.s0, output_final_state=True)
        return {"o": o, "state": state}
    return run
