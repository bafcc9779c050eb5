// SPDX-License-Identifier: Apache-2.0
// A small valid task for tests: the smallest document that uses every section of task.json.
#pragma once

#include "engine/core/json.h"

namespace kernelites {

/// y[m, :] = factor * x[m, :] over the first len[m] entries; a fresh document that a test may spoil.
inline Json small_task_document() {
  return parse_json(R"({
    "name": "scaled_rows",
    "title": "Scaled rows",
    "formula": "y = factor * x",
    "family": "test",
    "dims": {"M": {"meaning": "rows"}, "N": {}, "D": {"constant": 8}},
    "scalars": {"factor": {"dtype": "f32", "value": 0.37}},
    "tensors": {
      "x": {"dtype": "bf16", "shape": ["M", "N", "D"], "role": "input", "fill": {"kind": "normal", "std": 2},
            "valid": {"axis": "N", "lengths": "len"}},
      "len": {"dtype": "i32", "shape": ["M"], "role": "metadata",
              "fill": [{"kind": "lengths_full", "of": "N"}, {"kind": "lengths_one", "of": "N"}]},
      "y": {"dtype": "bf16", "shape": ["M", "N*D"], "role": "output"}
    },
    "rows": ["M"],
    "precision": {"y": {"name": "bf16", "row": 0.004, "element_ulp": 0.00390625, "element_rms": 0.02}},
    "families": {"normal": {"fill": {}, "catches": "wrong indices"},
                 "large": {"fill": {"x": {"kind": "constant", "value": 3}}, "catches": "a forgotten factor"}},
    "check": [{"name": "tiny", "dims": {"M": 2, "N": 3}}],
    "bench": [{"name": "wide", "dims": {"M": 16, "N": 1024}, "weight": 2, "source": "a test"}],
    "hold_out": [{"dims": {"M": [1, 4], "N": [1, 9]}}],
    "roofline": {"flops": "sum_len*D", "bytes": "2*2*sum_len*D", "exponentials": "0"},
    "baselines": [{"name": "torch", "library": "torch", "call": "torch.mul"}]
  })",
                    "small_task.json");
}

}  // namespace kernelites
