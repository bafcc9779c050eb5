# SPDX-License-Identifier: Apache-2.0
"""Whether two results of an operator agree: the worst row's share of the task's gates.

Both sides err, each by up to the gate, so what counts is the distance over twice the gate: a share above 1 means that
one of them is wrong. Rows are vectors along the last axis, except where gates follow an emulated kernel, which grow
with a state: there a whole tensor is one row. A selection's share is that of the choices which only one side made,
over two in a hundred: ties are free, and nothing here knows the scores.
"""

import torch

SELECTION_DIFFERENCE = 0.02
CHUNK = 1 << 24


def _values_share(mine, other, gate):
    """Largest of the rows' and the elements' shares."""
    columns = mine.numel() if gate["emulated"] > 0 else mine.shape[-1]
    factor = 2 * max(1.0, gate["emulated"])
    mine, other = mine.reshape(-1, columns), other.reshape(-1, columns)
    worst = 0.0
    step = max(1, CHUNK // columns)
    for start in range(0, mine.shape[0], step):
        a, b = mine[start:start + step].float(), other[start:start + step].float()
        error, size = (a - b).abs(), torch.maximum(a.abs(), b.abs())
        if not torch.isfinite(error).all():
            return float("inf")
        rms = size.square().mean(-1, keepdim=True).sqrt()
        row = error.square().mean(-1, keepdim=True).sqrt() / (factor * gate["row"] * rms).clamp_min(1e-30)
        shares = [row.max().item()]
        if gate["emulated"] == 0:
            allowed = factor * (gate["element_ulp"] * size + gate["element_rms"] * rms)
            shares.append((error / allowed.clamp_min(1e-30)).max().item())
        worst = max(worst, *shares)
    return worst


def _logarithm_share(mine, other, gate):
    both = torch.isinf(mine) & (mine == other)
    error = torch.where(both, torch.zeros_like(mine), (mine - other).abs())
    allowed = 2 * (gate["absolute"] + gate["element_ulp"] * torch.where(both, 0.0, mine.abs()))
    share = (error / allowed).max().item()
    return share if share == share else float("inf")


def _selection_share(mine, other):
    rows = mine.numel() // mine.shape[-1]
    offsets = torch.arange(rows, device=mine.device, dtype=torch.int64)[:, None] << 32
    a, b = (t.reshape(rows, -1).long() + 1 + offsets for t in (mine, other))
    missing = 1 - torch.isin(a, b).double().mean().item()
    return missing / SELECTION_DIFFERENCE


def share(mine, other, gate):
    """The worst share of one output; above 1: they do not agree."""
    if mine.shape != other.shape:
        return float("inf")
    if gate["compare"] == "values":
        return _values_share(mine, other, gate)
    if gate["compare"] == "log_sum_exp":
        return _logarithm_share(mine.float(), other.float(), gate)
    if gate["compare"] == "selection":
        return _selection_share(mine, other)
    return 0.0 if torch.equal(mine, other) else float("inf")
