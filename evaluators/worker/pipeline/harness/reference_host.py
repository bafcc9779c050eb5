# SPDX-License-Identifier: Apache-2.0
# Runs a task's reference.py: questions on stdin (a line of JSON, then the tensors' bytes), answers on stdout (a line of
# JSON, then float64 values).
#
# The first line is {"source"}; its answer {} or {"error"}. A question is {"tensors": [{"name", "dtype", "shape",
# "bytes"}], "dims", "scalars", "rows": [{"suffix", "list"}], "outputs": [{"name", "group", "shape", "columns"}]}; its
# answer {"outputs": [{"name", "is_listed", "values"}]} or {"error"}.
import ctypes
import json
import os
import sys
import traceback
import types


class Wrong(Exception):
    """What reference.py does not do as it should, in words for its author."""


def words_of(error):
    """The error with the last line of reference.py that led to it."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == "reference.py"]
    place = f"line {lines[-1]}: " if lines else ""
    if isinstance(error, SyntaxError) and error.filename == "reference.py":
        place = f"line {error.lineno}: "
        error = error.msg
    elif not isinstance(error, Wrong):
        error = f"{type(error).__name__}: {error}"
    return f"{place}{error}"[:4000]


def load(source):
    """The functions `reference` and `reference_rows`; the second may be missing."""
    module = {"__name__": "reference"}
    exec(compile(source, "reference.py", "exec"), module)
    if not callable(module.get("reference")):
        raise Wrong("expected a function reference(p) that returns a dict: output -> tensor")
    return module["reference"], module.get("reference_rows")


def tensor_of(torch, dtypes, spec, data):
    """Floating types as float64, whole ones as int64. NaN is what belongs to nobody: it becomes 0."""
    values = torch.frombuffer(bytearray(data), dtype=dtypes[spec["dtype"]])
    is_whole = not values.dtype.is_floating_point
    values = values.to(torch.int64 if is_whole else torch.float64).reshape(spec["shape"])
    return values if is_whole else torch.where(torch.isnan(values), torch.zeros_like(values), values)


def answer(torch, functions, question, tensors):
    members = {**question["dims"], **question["scalars"], **tensors}
    for rows in question["rows"]:
        members["rows" + rows["suffix"]] = torch.tensor(rows["list"], dtype=torch.int64)
        members["R" + rows["suffix"]] = len(rows["list"])
    reference, reference_rows = functions
    with torch.no_grad():
        results = (reference_rows or reference)(types.SimpleNamespace(**members))
    if not isinstance(results, dict):
        raise Wrong(f"expected a dict: output -> tensor, not {type(results).__name__}")
    parts, head = [], []
    for output in question["outputs"]:
        name = output["name"]
        if name not in results:
            raise Wrong(f"'{name}' is missing in what it returns")
        values = torch.as_tensor(results[name]).to(torch.float64).cpu().contiguous()
        listed = [len(question["rows"][output["group"]]["list"]), output["columns"]]
        wanted = listed if reference_rows else output["shape"]
        if list(values.shape) != wanted and not (reference_rows and values.numel() == listed[0] * listed[1]):
            raise Wrong(f"'{name}' has shape {list(values.shape)}, expected {wanted}")
        head.append({"name": name, "is_listed": bool(reference_rows), "values": values.numel()})
        parts.append(ctypes.string_at(values.data_ptr(), 8 * values.numel()))
    return {"outputs": head}, parts


def main():
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a reference prints is no answer
    questions = sys.stdin.buffer

    def say(head, parts=()):
        answers.write(json.dumps(head).encode() + b"\n")
        for part in parts:
            answers.write(part)
        answers.flush()

    source = json.loads(questions.readline())["source"]
    try:
        import torch
    except Exception as error:  # also a library that it misses
        say({"error": f"PyTorch cannot be imported by {sys.executable} ({type(error).__name__}: {error})"[:4000],
             "is_missing": True})
        return
    dtypes = {"f16": torch.float16, "bf16": torch.bfloat16, "f32": torch.float32, "f64": torch.float64,
              "e4m3": torch.float8_e4m3fn, "e5m2": torch.float8_e5m2, "i8": torch.int8, "u8": torch.uint8,
              "i32": torch.int32, "i64": torch.int64}
    try:
        functions = load(source)
    except BaseException as error:
        say({"error": words_of(error)})
        return
    say({})
    while line := questions.readline():
        question = json.loads(line)
        data = [(spec, questions.read(spec["bytes"])) for spec in question["tensors"]]
        try:
            tensors = {spec["name"]: tensor_of(torch, dtypes, spec, part) for spec, part in data}
            head, parts = answer(torch, functions, question, tensors)
        except BaseException as error:
            head, parts = {"error": words_of(error)}, ()
        say(head, parts)


main()
