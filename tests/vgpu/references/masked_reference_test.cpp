// SPDX-License-Identifier: Apache-2.0
// The references of masked and sparse prefill agree with an independent float64 implementation on the host: each case
// states by itself which keys a query sees.

#include "tests/support/catch.h"
#include "tests/vgpu/references/masked_case.h"

using namespace kernelites;
using namespace kernelites::worker;

namespace {

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
    const MaskedRow at = row_of(c, row);
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
