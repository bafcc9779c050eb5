// SPDX-License-Identifier: Apache-2.0
// An attention task for tests of the contract: five tensors, one constant dim, one scalar, one metadata
// tensor.
#pragma once

#include "engine/core/device_facts.h"
#include "engine/core/task.h"

namespace kernelites {

inline Task attention_task() {
  return parse_task(parse_json(R"({
    "name": "attention", "title": "Attention", "formula": "o = softmax(scale q k^T) v", "family": "test",
    "dims": {"B": {}, "H": {}, "Hkv": {}, "Sq": {}, "Sk": {}, "D": {"constant": 128}},
    "scalars": {"scale": {"dtype": "f32", "value": 0.0932}},
    "tensors": {
      "q": {"dtype": "bf16", "shape": ["B", "Sq", "H", "D"], "role": "input", "fill": {"kind": "normal"}},
      "k": {"dtype": "bf16", "shape": ["B", "Sk", "Hkv", "D"], "role": "input", "fill": {"kind": "normal"}},
      "v": {"dtype": "bf16", "shape": ["B", "Sk", "Hkv", "D"], "role": "input", "fill": {"kind": "normal"}},
      "len": {"dtype": "i32", "shape": ["B"], "role": "metadata", "fill": [{"kind": "lengths_full", "of": "Sk"}]},
      "o": {"dtype": "bf16", "shape": ["B", "Sq", "H", "D"], "role": "output"},
      "lse": {"dtype": "f32", "shape": ["B", "Sq", "H"], "role": "output"}
    },
    "rows": ["B", "Sq", "H"],
    "precision": {"o": {"name": "bf16", "row": 0.004, "element_ulp": 0.00390625, "element_rms": 0.02},
                  "lse": {"name": "fp32", "row": 0.0001, "element_ulp": 0.0001, "element_rms": 0.001}},
    "families": {"normal": {"fill": {}, "catches": "wrong indices"}},
    "check": [{"name": "tiny", "dims": {"B": 1, "H": 4, "Hkv": 2, "Sq": 3, "Sk": 70}}],
    "bench": [{"name": "prefill", "dims": {"B": 2, "H": 16, "Hkv": 16, "Sq": 8192, "Sk": 8192}, "weight": 1, "source": "a test"},
              {"name": "ragged", "dims": {"B": 1, "H": 32, "Hkv": 8, "Sq": 300, "Sk": 1000}, "weight": 1, "source": "a test"},
              {"name": "decode_long", "dims": {"B": 1, "H": 32, "Hkv": 8, "Sq": 1, "Sk": 131072}, "weight": 1, "source": "a test"},
              {"name": "decode_batch", "dims": {"B": 64, "H": 32, "Hkv": 8, "Sq": 1, "Sk": 4096}, "weight": 1, "source": "a test"}],
    "hold_out": [{"dims": {"B": [1, 4], "H": [4, 4], "Hkv": [1, 1], "Sq": [1, 9], "Sk": [1, 99]}}],
    "roofline": {"flops": "4*B*H*Sq*Sk*D", "bytes": "2*B*Sq*H*D", "exponentials": "B*H*Sq*Sk"},
    "baselines": []
  })",
                               "attention_task.json"),
                    "// a reference\n", "attention_task.json");
}

/// What the virtual GPU and an H100 say of themselves, as far as plans go.
inline DeviceFacts hopper_facts() {
  DeviceFacts facts;
  facts.kind = "test";
  facts.architecture = "sm_90a";
  return facts;
}

}  // namespace kernelites
