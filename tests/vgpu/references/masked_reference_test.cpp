// SPDX-License-Identifier: Apache-2.0
// The references of masked and sparse prefill agree with an independent float64 implementation on the host: each case
// states by itself which keys a query sees.
#include <cmath>
#include <functional>
#include <map>

#include "tests/support/catch.h"
#include "tests/vgpu/references/reference_support.h"

using namespace kernelites;
using namespace kernelites::worker;

namespace {

/// One task at one shape, with contents of everything that is not q, k or v.
struct MaskedCase {
  Task task;
  Workload workload;
  std::map<std::string, Bytes> others;
  /// Where the keys that a row sees begin, in elements of k.
  std::function<std::vector<std::size_t>(std::size_t row)> keys;

  std::size_t dim(const char* name) const { return static_cast<std::size_t>(workload.dims.at(name)); }
};

MaskedCase masked_case(const char* task, const char* workload) {
  MaskedCase c{.task = load_task(k_root / "tasks" / task), .workload = {}, .others = {}, .keys = {}};
  c.workload = *c.task.find_workload(workload);
  return c;
}

std::size_t index_of(const Task& task, const std::string& tensor) {
  for (std::size_t i = 0; i < task.tensors.size(); ++i) {
    if (task.tensors[i].name == tensor) return i;
  }
  throw Error("no tensor " + tensor);
}

/// What the task's own program writes into the computed tensor `name`, for a fill's variant.
std::vector<std::int32_t> computed(const MaskedCase& c, const char* name, std::int64_t variant) {
  const std::vector<Bytes> inputs(c.task.tensors.size());
  const auto contents =
      run_on_vgpu({c.task, c.task.reference_source, Form::inputs, c.workload, {77, variant, 0, 0}}, inputs);
  return values_of<std::int32_t>(contents.at(index_of(c.task, name)));
}

void check_reference(const MaskedCase& c, const char* output = "o", const char* lse_output = "lse") {
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
struct Row {
  std::size_t b, i, h, hk;
};

Row row_of(const MaskedCase& c, std::size_t row) {
  const std::size_t heads = c.dim("Hq"), h = row % heads;
  return {row / heads / c.dim("S"), row / heads % c.dim("S"), h, h / (heads / c.dim("Hkv"))};
}

MaskedCase varlen_case(const char* workload, const std::vector<std::int32_t>& offsets) {
  MaskedCase c = masked_case("gqa_prefill_varlen", workload);
  c.others["cu_seqlens"] = bytes_of(offsets);
  c.keys = [c, offsets](std::size_t row) {
    const std::size_t t = row / c.dim("Hq"), hk = row % c.dim("Hq") / (c.dim("Hq") / c.dim("Hkv"));
    std::size_t first = 0;
    for (const std::int32_t offset : offsets) {
      if (static_cast<std::size_t>(offset) <= t) first = static_cast<std::size_t>(offset);
    }
    return keys_where(c, hk, first, t + 1, [](std::size_t) { return true; });
  };
  return c;
}

MaskedCase maskspan_case(const char* workload, const std::vector<std::int32_t>& spans) {
  MaskedCase c = masked_case("maskspan_prefill", workload);
  c.others["spans"] = bytes_of(spans);
  c.keys = [c, spans](std::size_t row) {
    const Row at = row_of(c, row);
    const std::size_t first = at.b * c.dim("S");
    return keys_where(c, at.hk, first, first + c.dim("S"), [&](std::size_t j) {
      const auto in = [&](std::size_t n) {
        const std::int32_t *span = &spans[(first + j) * 4 + n], i = static_cast<std::int32_t>(at.i);
        return span[0] <= i && i < span[1];
      };
      return !in(0) && !in(2);
    });
  };
  return c;
}

/// Whether query i sees key j under a mask kind of the task, documents of equal length: the definitions of the
/// benchmark, written as conditions on pairs.
bool sees(std::size_t kind, std::size_t i, std::size_t j, std::size_t S, std::size_t docs, std::size_t w) {
  const auto begin = [&](std::size_t n) { return S * n / docs; };
  const auto document = [&](std::size_t t) {
    std::size_t n = 0;
    while (n + 1 < docs && begin(n + 1) <= t) ++n;
    return n;
  };
  const std::size_t di = document(i), dj = document(j), distance = i > j ? i - j : j - i;
  const bool same = di == dj, past = j <= i;
  switch (kind) {
    case 2:
      return past;
    case 3:
      return distance <= w;
    case 4:
      return past && distance <= w;
    case 5:
      return same && past;
    case 6:
      return same;
    case 7:
      return past && (same || dj == 0);
    case 8:
      return past && (same || di == docs - 1);
    case 9:
      return past || j < S / 4;
    case 10:
      return same && (past || j < begin(dj) + (begin(dj + 1) - begin(dj)) / 4);
    case 11:
      return distance <= w || i < w / 4 || j < w / 4;
    case 12:
      return same && j / w <= i / w;
    default:
      return true;
  }
}

}  // namespace

TEST_CASE("the reference of packed prefill agrees with the host, empty sequences included") {
  check_reference(varlen_case("one_token", {0, 1}));
  check_reference(varlen_case("few_tokens", {0, 5, 5, 17}));
  check_reference(varlen_case("above_tile", {0, 128, 129}));
}

TEST_CASE("the reference of span masks agrees with the host, rows without keys included") {
  for (const char* workload : {"global_sliding_window", "drawn_spans"}) {
    const MaskedCase c = masked_case("maskspan_prefill", workload);
    check_reference(maskspan_case(workload, computed(c, "spans", 1)));
  }
}

TEST_CASE("the spans of the mixed mask kinds hide what the kind's definition hides") {
  const Task task = load_task(k_root / "tasks" / "maskspan_prefill");
  for (const Workload& workload : task.check) {
    const MaskedCase c = masked_case("maskspan_prefill", workload.name.c_str());
    const std::size_t kind = c.dim("kind"), S = c.dim("S");
    // The kinds that are not plain windows or documents: each costs a compilation.
    if (kind < 7 || kind > 12) continue;
    INFO(workload.name);
    const auto spans = computed(c, "spans", 0);
    std::size_t wrong = 0;
    for (std::size_t i = 0; i < S; ++i) {
      for (std::size_t j = 0; j < S; ++j) {
        const std::int32_t *s = &spans[j * 4], row = static_cast<std::int32_t>(i);
        const bool is_hidden = (s[0] <= row && row < s[1]) || (s[2] <= row && row < s[3]);
        wrong += is_hidden == sees(kind, i, j, S, c.dim("docs"), c.dim("w"));
      }
    }
    CHECK(wrong == 0);
  }
}
