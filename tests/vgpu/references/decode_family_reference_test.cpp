// SPDX-License-Identifier: Apache-2.0
// References of the decode family against plain float64 on the host, and against what is known in closed form.
#include <algorithm>
#include <cmath>

#include "tests/support/catch.h"
#include "tests/vgpu/references/attention_row.h"

using namespace kernelites;
using namespace kernelites::worker;

namespace {

struct Merge {
  std::vector<double> o, lse;
};

/// Weights first, all of them normalised; then the sums.
Merge merged(const Workload& workload, const oracle::Bf16& o_part, const std::vector<float>& lse_part) {
  const std::size_t N = dim(workload, "N"), P = dim(workload, "P"), H = dim(workload, "H"),
                    D = dim(workload, "D");
  Merge out{std::vector<double>(N * H * D), {}};
  for (std::size_t row = 0; row < N * H; ++row) {
    std::vector<double> weight(P);
    double largest = -k_infinity, sum = 0;
    const auto at = [&](std::size_t p) { return (row / H * P + p) * H + row % H; };
    for (std::size_t p = 0; p < P; ++p) largest = std::max(largest, static_cast<double>(lse_part[at(p)]));
    for (std::size_t p = 0; p < P; ++p) {
      const auto s = static_cast<double>(lse_part[at(p)]);
      weight[p] = std::isinf(s) ? 0 : std::exp(s - largest);
      sum += weight[p];
    }
    out.lse.push_back(sum > 0 ? largest + std::log(sum) : -k_infinity);
    for (std::size_t p = 0; p < P && sum > 0; ++p) {
      for (std::size_t d = 0; d < D; ++d)
        out.o[row * D + d] += weight[p] / sum * oracle::to_double(o_part[at(p) * D + d]);
    }
  }
  return out;
}

/// Where the keys of one (sequence, key-value head) begin, in elements of a pool [pages, slots, heads, channels].
struct PagedKeys {
  const std::vector<std::int32_t>& table;
  std::size_t first_entry, slots, heads, head, channels;

  std::size_t operator()(std::size_t j) const {
    const auto page = static_cast<std::size_t>(table[first_entry + j / slots]);
    return ((page * slots + j % slots) * heads + head) * channels;
  }
};

/// A page table of `width` entries a sequence that never agrees with the order of the pages, two sequences share.
std::vector<std::int32_t> scattered_table(std::size_t sequences, std::size_t width, std::size_t pages) {
  std::vector<std::int32_t> table;
  for (std::size_t i = 0; i < sequences * width; ++i)
    table.push_back(static_cast<std::int32_t>((i * 7 + 3) % pages));
  return table;
}

}  // namespace

TEST_CASE("the merge reference agrees with the host in float64, empty states and rows included") {
  const Task task = load_task(k_root / "tasks" / "attention_state_merge");
  for (const char* name : {"one_state", "three_states", "many_states"}) {
    INFO(name);
    const Workload& workload = *task.find_workload(name);
    const auto o_part = draws(element_count(task.tensor("o_part"), workload), 1, 1);
    std::vector<float> lse_part;
    for (const auto bits : draws(element_count(task.tensor("lse_part"), workload), 20, 2))
      lse_part.push_back(static_cast<float>(oracle::to_double(bits)));
    for (std::size_t i = 0; i < lse_part.size(); i += 3) lse_part[i] = -INFINITY;
    const Merge gold = merged(workload, o_part, lse_part);
    const auto contents = reference_of(task, workload, {bytes_of(o_part), bytes_of(lse_part)});
    const auto o = values_of<double>(contents.at(2)), lse = values_of<double>(contents.at(3));
    const std::size_t width = dim(workload, "D");
    for (std::size_t row = 0; row < lse.size(); ++row) {
      CHECK(row_error(&gold.o[row * width], &o[row * width], width) < 1e-12);
      CHECK(is_same_lse(lse[row], gold.lse[row]));
    }
  }
}

TEST_CASE("merging equal states gives their mean, and log P more than each") {
  const Task task = load_task(k_root / "tasks" / "attention_state_merge");
  const Workload& workload = *task.find_workload("nine_states");
  const std::size_t P = dim(workload, "P"), H = dim(workload, "H"), D = dim(workload, "D");
  const auto o_part = draws(element_count(task.tensor("o_part"), workload), 1, 1);
  const std::vector<float> lse_part(dim(workload, "N") * P * H, 700.0f);
  const auto contents = reference_of(task, workload, {bytes_of(o_part), bytes_of(lse_part)});
  const auto o = values_of<double>(contents.at(2)), lse = values_of<double>(contents.at(3));
  for (std::size_t i = 0; i < o.size(); ++i) {
    double mean = 0;
    for (std::size_t p = 0; p < P; ++p)
      mean += oracle::to_double(o_part[((i / D / H * P + p) * H + i / D % H) * D + i % D]) /
              static_cast<double>(P);
    CHECK(o[i] == Approx(mean).epsilon(1e-12).margin(1e-14));
  }
  for (const double value : lse) CHECK(value == Approx(700 + std::log(P)).epsilon(1e-14));
}

TEST_CASE("the paged reference agrees with the host in float64, whatever the page size") {
  const Task task = load_task(k_root / "tasks" / "gqa_decode_paged");
  for (const char* name : {"few_keys", "above_tile", "seven_heads"}) {
    INFO(name);
    const Workload& workload = *task.find_workload(name);
    const std::size_t Hq = dim(workload, "Hq"), Hkv = dim(workload, "Hkv"), D = dim(workload, "D");
    const std::size_t B = dim(workload, "B"), S = dim(workload, "S"), PS = dim(workload, "PS");
    const std::size_t width = (S + PS - 1) / PS;
    const auto q = draws(element_count(task.tensor("q"), workload), 2, 1);
    const auto k = draws(element_count(task.tensor("k"), workload), 2, 2);
    const auto v = draws(element_count(task.tensor("v"), workload), 1, 3);
    const auto table = scattered_table(B, width, dim(workload, "P"));
    std::vector<std::int32_t> lengths(B, static_cast<std::int32_t>(S));
    lengths[0] = 0;
    const auto contents = reference_of(
        task, workload, {bytes_of(q), bytes_of(k), bytes_of(v), bytes_of(table), bytes_of(lengths)});
    const auto o = values_of<double>(contents.at(5)), lse = values_of<double>(contents.at(6));
    const auto scale = static_cast<float>(task.scalars.at(0).value);
    for (std::size_t row = 0; row < B * Hq; ++row) {
      std::vector<double> gold(D);
      const PagedKeys key_at{table, row / Hq * width, PS, Hkv, row % Hq / (Hq / Hkv), D};
      const double sum = oracle::attend(gold.data(), &q[row * D], k, v,
                                        static_cast<std::size_t>(lengths[row / Hq]), D, scale, key_at);
      CHECK(row_error(gold.data(), &o[row * D], D) < 1e-12);
      CHECK(is_same_lse(lse[row], sum));
    }
  }
}

TEST_CASE("the ragged reference agrees with the host in float64, empty sequences included") {
  const Task task = load_task(k_root / "tasks" / "gqa_decode_ragged_balanced");
  const std::vector<std::vector<std::int32_t>> borders{{0, 0, 3, 3, 3, 4, 5, 5}, {0, 31, 31, 50}};
  const char* const names[] = {"more_sequences_than_keys", "few_keys"};
  for (std::size_t i = 0; i < borders.size(); ++i) {
    INFO(names[i]);
    const Workload& workload = *task.find_workload(names[i]);
    const std::size_t Hq = dim(workload, "Hq"), Hkv = dim(workload, "Hkv"), D = dim(workload, "D");
    const auto q = draws(element_count(task.tensor("q"), workload), 2, 1);
    const auto k = draws(element_count(task.tensor("k"), workload), 2, 2);
    const auto v = draws(element_count(task.tensor("v"), workload), 1, 3);
    const auto contents =
        reference_of(task, workload, {bytes_of(q), bytes_of(k), bytes_of(v), bytes_of(borders[i])});
    const auto o = values_of<double>(contents.at(4)), lse = values_of<double>(contents.at(5));
    const auto scale = static_cast<float>(task.scalars.at(0).value);
    for (std::size_t row = 0; row < lse.size(); ++row) {
      const auto start = static_cast<std::size_t>(borders[i][row / Hq]);
      const auto end = static_cast<std::size_t>(borders[i][row / Hq + 1]);
      std::vector<double> gold(D);
      const auto key_at = [&](std::size_t j) { return ((start + j) * Hkv + row % Hq / (Hq / Hkv)) * D; };
      const double sum = oracle::attend(gold.data(), &q[row * D], k, v, end - start, D, scale, key_at);
      CHECK(row_error(gold.data(), &o[row * D], D) < 1e-12);
      CHECK(is_same_lse(lse[row], sum));
    }
  }
}

TEST_CASE(
    "the MLA reference agrees with the host in float64; its values are the first channels of its keys") {
  const Task task = load_task(k_root / "tasks" / "mla_decode_paged");
  for (const char* name : {"one_key", "few_keys", "shared_pool"}) {
    INFO(name);
    const Workload& workload = *task.find_workload(name);
    const std::size_t B = dim(workload, "B"), Hq = dim(workload, "Hq"), S = dim(workload, "S");
    const std::size_t PS = dim(workload, "PS"), D = dim(workload, "D"), DV = dim(workload, "DV");
    const std::size_t width = (S + PS - 1) / PS;
    const auto q = draws(element_count(task.tensor("q"), workload), 1, 1);
    const auto kv = draws(element_count(task.tensor("kv"), workload), 1, 2);
    const auto table = scattered_table(B, width, dim(workload, "P"));
    std::vector<std::int32_t> lengths(B, static_cast<std::int32_t>(S));
    lengths[0] = 0;
    std::vector<std::int64_t> rows{0};  // a row is long: some of them
    for (std::size_t b = 1; b < B; ++b) rows.push_back(static_cast<std::int64_t>(b * Hq + (b * 5) % Hq));
    const auto contents = run_on_vgpu({task, task.reference_source, Form::reference, workload, rows},
                                      {bytes_of(q), bytes_of(kv), bytes_of(table), bytes_of(lengths)});
    const auto o = values_of<double>(contents.at(4)), lse = values_of<double>(contents.at(5));
    const auto scale = static_cast<double>(static_cast<float>(task.scalars.at(0).value));
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const auto row = static_cast<std::size_t>(rows[i]);
      const PagedKeys key_at{table, row / Hq * width, PS, 1, 0, D};
      const auto value = [&](std::size_t j, std::size_t d) { return oracle::to_double(kv[key_at(j) + d]); };
      const auto score = [&](std::size_t j) {
        double dot = 0;
        for (std::size_t d = 0; d < D; ++d) dot += oracle::to_double(q[row * D + d]) * value(j, d);
        return scale * dot;
      };
      const Row gold = attended(static_cast<std::size_t>(lengths[row / Hq]), DV, score, value);
      CHECK(row_error(gold.o.data(), &o[i * DV], DV) < 1e-12);
      CHECK(is_same_lse(lse[i], gold.lse));
    }
  }
}

TEST_CASE(
    "the DELTA reference agrees with the host in float64; the last pages must, absent ones cannot be "
    "chosen") {
  const Task task = load_task(k_root / "tasks" / "delta_page_select");
  for (const char* name : {"one_page", "only_last"}) {
    INFO(name);
    const Workload& workload = *task.find_workload(name);
    const std::size_t B = dim(workload, "B"), Hq = dim(workload, "Hq"), Hkv = dim(workload, "Hkv");
    const std::size_t S = dim(workload, "S"), PS = dim(workload, "PS"), D = dim(workload, "D");
    const std::size_t width = (S + PS - 1) / PS, kept = dim(workload, "L");
    const auto q = draws(element_count(task.tensor("q"), workload), 1, 1);
    const auto k = draws(element_count(task.tensor("k"), workload), 1, 2);
    std::vector<float> sums(B * Hq);
    for (std::size_t i = 0; i < sums.size(); ++i) sums[i] = 3 + 0.37f * static_cast<float>(i % 5);
    const auto table = scattered_table(B, width, dim(workload, "P"));
    std::vector<std::int32_t> lengths(B, static_cast<std::int32_t>(S));
    if (B > 1) lengths[0] = static_cast<std::int32_t>(S * 2 / 3);
    const auto contents = reference_of(
        task, workload, {bytes_of(q), bytes_of(k), bytes_of(sums), bytes_of(table), bytes_of(lengths)});
    const auto scores = values_of<double>(contents.at(5));
    REQUIRE(scores.size() == B * width);
    const auto scale = static_cast<double>(static_cast<float>(task.scalars.at(0).value));
    for (std::size_t b = 0; b < B; ++b) {
      const auto used = (static_cast<std::size_t>(lengths[b]) + PS - 1) / PS;
      for (std::size_t n = 0; n < width; ++n) {
        double gold = n >= used ? -k_infinity : n + kept >= used ? k_infinity : 0;
        for (std::size_t slot = 0; slot < PS && gold < k_infinity && n < used; ++slot) {
          double largest = 0;  // of the probabilities themselves
          for (std::size_t h = 0; h < Hq; ++h) {
            const PagedKeys key_at{table, b * width, PS, Hkv, h / (Hq / Hkv), D};
            double dot = 0;
            for (std::size_t d = 0; d < D; ++d)
              dot += oracle::to_double(q[(b * Hq + h) * D + d]) *
                     oracle::to_double(k[key_at(n * PS + slot) + d]);
            largest =
                std::max(largest, std::exp(scale * dot) / std::exp(static_cast<double>(sums[b * Hq + h])));
          }
          gold += largest;
        }
        CHECK((scores[b * width + n] == gold || std::abs(scores[b * width + n] / gold - 1) < 1e-12));
      }
    }
  }
}
