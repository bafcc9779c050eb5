# SPDX-License-Identifier: Apache-2.0
"""Tensors of one workload on the device, drawn as the task's first input family says (docs/tasks.md, fills).

Times depend on contents only through the device's power and through metadata, so the values need the family's
distribution and not the harness's bits. A kind without a row here makes the workload unavailable, by name.
"""

import torch

DTYPES = {"bf16": torch.bfloat16, "f16": torch.float16, "f32": torch.float32, "f64": torch.float64,
          "i32": torch.int32, "i64": torch.int64, "i8": torch.int8, "u8": torch.uint8,
          "e4m3": torch.float8_e4m3fn, "e5m2": torch.float8_e5m2}
E4M3_MAX = 448.0
CHUNK = 1 << 26


def _normal(fill, count, generator, device):
    values = torch.randn(count, generator=generator, device=device)
    return values.mul_(float(fill["std"])).add_(float(fill["mean"]))


def _uniform(fill, count, generator, device):
    low, high = float(fill["low"]), float(fill["high"])
    return torch.rand(count, generator=generator, device=device).mul_(high - low).add_(low)


def _log_uniform(fill, count, generator, device):
    low, high = torch.tensor([float(fill["low"]), float(fill["high"])]).log().tolist()
    return torch.rand(count, generator=generator, device=device).mul_(high - low).add_(low).exp_()


def _sigmoid(fill, count, generator, device):
    return _normal(fill, count, generator, device).sigmoid_()


def _log_sigmoid(fill, count, generator, device):
    return torch.nn.functional.logsigmoid(_normal(fill, count, generator, device)) / float(fill["divisor"])


def _bits(fill, count, generator, device):
    """Every bit is set with probability `density`, to 1/256, by coins: as harness/fill.cu does."""
    digits = round(float(fill["density"]) * 256)
    result = torch.zeros(count, dtype=torch.int64, device=device)
    for digit in range(8):
        coins = torch.empty(count, dtype=torch.int64, device=device).random_(-2**63, None, generator=generator)
        result = result | coins if digits >> digit & 1 else result & coins
    return result


KINDS = {"normal": _normal, "uniform": _uniform, "log_uniform": _log_uniform, "sigmoid": _sigmoid,
         "log_sigmoid": _log_sigmoid, "bits": _bits}


def _index_set(tensor, fill, generator):
    """Distinct indices below `limit`; with blocks, of the token's own block first and then those before it."""
    limit, block, columns = int(fill["limit"]), int(fill["block"]), tensor.shape[-1]
    rows = tensor.view(-1, columns)
    tokens = torch.arange(rows.shape[0], device=tensor.device)
    if block > 0:  # [sequence, token, head, entry]
        tokens = tokens // tensor.shape[-2] % tensor.shape[1] if tensor.dim() == 4 else tokens % tensor.shape[1]
    step = max(1, CHUNK // limit)
    for start in range(0, rows.shape[0], step):
        part = rows[start:start + step]
        order = torch.rand(part.shape[0], limit, generator=generator, device=tensor.device)
        if block > 0:
            own = (tokens[start:start + step] // block)[:, None]
            earlier = torch.arange(limit, device=tensor.device)[None] < own
            order = torch.where(earlier, order, -1.0).scatter_(1, own, 2.0)
        chosen = order.topk(min(columns, limit), dim=-1)
        part.fill_(-1)
        part[:, :chosen.indices.shape[1]] = torch.where(chosen.values < 0, -1, chosen.indices).to(tensor.dtype)


def _draw(tensor, fill, generator):
    kind = fill["kind"]
    if kind == "index_set":
        return _index_set(tensor, fill, generator)
    if kind not in KINDS:
        raise ValueError(f"fill '{kind}' is not drawn here")
    flat = tensor.view(-1)
    unit = float(fill.get("unit", 0))
    step = CHUNK if unit <= 0 else CHUNK // tensor.shape[-1] * tensor.shape[-1]
    for start in range(0, flat.numel(), step):
        part = flat[start:start + step]
        values = KINDS[kind](fill, part.numel(), generator, tensor.device)
        if unit > 0:
            vectors = values.view(-1, tensor.shape[-1])
            values = (unit * vectors / vectors.norm(dim=-1, keepdim=True)).view(-1)
        if part.dtype == torch.float8_e4m3fn:
            values = values.clamp(-E4M3_MAX, E4M3_MAX)
        part.copy_(values)
    return None


def make_tensors(specs, seed, device="cuda"):
    """Tensors by name, in the task's order. Computed ones are zero: their program runs later."""
    generator = torch.Generator(device=device).manual_seed(seed)
    tensors = {}
    for spec in specs:
        dtype, shape = DTYPES[spec["dtype"]], spec["shape"]
        if "contents" in spec:
            tensors[spec["name"]] = torch.tensor(spec["contents"], dtype=dtype, device=device).reshape(shape)
            continue
        tensors[spec["name"]] = tensor = torch.zeros(shape, dtype=dtype, device=device)
        if spec["role"] in ("input", "inout") and spec["fill"]["kind"] != "computed":
            _draw(tensor, spec["fill"], generator)
    return tensors


def bytes_of(specs):
    """Bytes of all tensors of a workload."""
    total = 0
    for spec in specs:
        count = 1
        for extent in spec["shape"]:
            count *= extent
        total += count * DTYPES[spec["dtype"]].itemsize
    return total
