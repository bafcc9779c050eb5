# SPDX-License-Identifier: Apache-2.0
"""Libraries that compute neighbourhood attention over images."""

from torch_baselines import flex, mask_of


def flex_attention(p):
    """Tokens in rows of the image; the list of blocks is made outside the timing."""
    x, y, wx, wy, sx, sy = p.X, p.Y, p.wx, p.wy, p.sx, p.sy

    def sees_along(i, j, extent, window, stride):
        leader = (i // stride * stride + stride // 2).clamp(max=extent - 1)
        start = (leader - window // 2).clamp(0, extent - window)
        return (start <= j) & (j < start + window)

    def sees(b, h, q, k):
        return sees_along(q // y, k // y, x, wx, sx) & sees_along(q % y, k % y, y, wy, sy)
    attend = flex(p.q.flatten(1, 2), p.k.flatten(1, 2), p.v.flatten(1, 2), mask_of(sees, None, None, x * y, x * y),
                  p.scale)

    def run():
        o, lse = attend()
        return {"o": o.unflatten(1, (x, y)), "lse": lse.unflatten(1, (x, y))}
    return run
