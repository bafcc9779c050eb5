// SPDX-License-Identifier: Apache-2.0
// Cases of masked attention: a task at a shape, and which keys each query sees, stated apart from the reference.
#pragma once

#include <cmath>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "tests/support/catch.h"
#include "tests/vgpu/references/reference_support.h"

namespace kernelites::worker {

/// One task at one shape, with contents of everything that is not q, k or v.
struct MaskedCase {
  Task task;
  Workload workload;
  std::map<std::string, Bytes> others;
  /// Where the keys that a row sees begin, in elements of k.
  std::function<std::vector<std::size_t>(std::size_t row)> keys;

  std::size_t dim(const char* name) const { return static_cast<std::size_t>(workload.dims.at(name)); }
};

inline MaskedCase masked_case(const char* task, const char* workload) {
  MaskedCase c{.task = load_task(k_root / "tasks" / task), .workload = {}, .others = {}, .keys = {}};
  c.workload = *c.task.find_workload(workload);
  return c;
}

inline std::size_t index_of(const Task& task, const std::string& tensor) {
  for (std::size_t i = 0; i < task.tensors.size(); ++i) {
    if (task.tensors[i].name == tensor) return i;
  }
  throw Error("no tensor " + tensor);
}

/// What the task's own program writes into the computed tensor `name`, for a fill's variant.
inline std::vector<std::int32_t> computed(const MaskedCase& c, const char* name, std::int64_t variant) {
  const std::vector<Bytes> inputs(c.task.tensors.size());
  const auto contents =
      run_on_vgpu({c.task, c.task.reference_source, Form::inputs, c.workload, {77, variant, 0, 0}}, inputs);
  return values_of<std::int32_t>(contents.at(index_of(c.task, name)));
}

inline void check_reference(const MaskedCase& c, const char* output = "o", const char* lse_output = "lse") {
  INFO(c.task.name << " at " << c.workload.name);
  const std::size_t channels = c.dim("D");
  std::map<std::string, oracle::Bf16> drawn;
  std::vector<Bytes> inputs;
  for (const TensorSpec& tensor : c.task.tensors) {
    const auto other = c.others.find(tensor.name);
    if (other != c.others.end()) {
      inputs.push_back(other->second);
    } else if (tensor.role == Role::input) {
      const float factor = tensor.name == "v" ? 1.0f : 2.0f;
      drawn[tensor.name] = draws(element_count(tensor, c.workload), factor, 1 + inputs.size());
      inputs.push_back(bytes_of(drawn[tensor.name]));
    } else {
      inputs.emplace_back();
    }
  }
  const auto scale = static_cast<float>(c.task.scalars.at(0).value);
  const auto rows = some_rows(row_count(c.task, c.workload));
  const auto contents =
      run_on_vgpu({c.task, c.task.reference_source, Form::reference, c.workload, rows}, inputs);
  const auto o = values_of<double>(contents.at(index_of(c.task, output)));
  const auto lse = values_of<double>(contents.at(index_of(c.task, lse_output)));
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const auto row = static_cast<std::size_t>(rows[i]);
    INFO("row " << row);
    const auto keys = c.keys(row);
    std::vector<double> gold(channels);
    const double gold_lse =
        oracle::attend(gold.data(), &drawn["q"][row * channels], drawn["k"], drawn["v"], keys.size(),
                       channels, scale, [&](std::size_t n) { return keys[n]; });
    CHECK(row_error(gold.data(), &o[i * channels], channels) < 1e-12);
    if (keys.empty()) {
      CHECK(lse[i] == -INFINITY);
    } else {
      CHECK(std::abs(lse[i] - gold_lse) < 1e-11);
    }
  }
}

/// Keys of [first, end) in a tensor [tokens, heads, channels] for which `sees` holds.
template <typename Sees>
std::vector<std::size_t> keys_where(const MaskedCase& c, std::size_t head, std::size_t first, std::size_t end,
                                    Sees sees) {
  std::vector<std::size_t> keys;
  const std::size_t heads = c.workload.dims.contains("Hkv") ? c.dim("Hkv") : c.dim("H");
  for (std::size_t j = first; j < end; ++j) {
    if (sees(j - first)) keys.push_back((j * heads + head) * c.dim("D"));
  }
  return keys;
}

/// (sequence, token, key-value head) of a row of [B, S, Hq].
struct MaskedRow {
  std::size_t b, i, h, hk;
};

inline MaskedRow row_of(const MaskedCase& c, std::size_t row) {
  const std::size_t heads = c.dim("Hq"), h = row % heads;
  return {row / heads / c.dim("S"), row / heads % c.dim("S"), h, h / (heads / c.dim("Hkv"))};
}

}  // namespace kernelites::worker
