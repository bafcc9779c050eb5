// SPDX-License-Identifier: Apache-2.0
// The references of sparse prefill (listed blocks, neighbourhoods, selected blocks) agree with an independent float64
// implementation on the host, and with dense attention where everything is selected.
#include <algorithm>
#include <set>

#include "tests/support/catch.h"
#include "tests/vgpu/references/masked_case.h"

using namespace kernelites;
using namespace kernelites::worker;

namespace {

/// What the task's program lists for each block of queries of each (b, h).
std::vector<std::set<std::size_t>> lists_of(const MaskedCase& c, const std::vector<std::int32_t>& indptr,
                                            const std::vector<std::int32_t>& indices) {
  const std::size_t lists = (c.dim("S") + c.dim("Bq") - 1) / c.dim("Bq"), heads = c.dim("B") * c.dim("Hq");
  std::vector<std::set<std::size_t>> result;
  for (std::size_t head = 0; head < heads; ++head) {
    for (std::size_t n = 0; n < lists; ++n) {
      const std::int32_t* bounds = &indptr[head * (lists + 1) + n];
      const std::int32_t* list = &indices[head * lists * c.dim("K")];
      result.emplace_back(list + bounds[0], list + bounds[1]);
      CHECK(result.back().size() == static_cast<std::size_t>(bounds[1] - bounds[0]));  // distinct
    }
  }
  return result;
}

MaskedCase block_case(const char* workload, std::int64_t variant) {
  MaskedCase c = masked_case("block_sparse_prefill", workload);
  const auto indptr = computed(c, "indptr", variant), indices = computed(c, "indices", variant);
  c.others = {{"indptr", bytes_of(indptr)}, {"indices", bytes_of(indices)}};
  c.keys = [c, lists = lists_of(c, indptr, indices)](std::size_t row) {
    const MaskedRow at = row_of(c, row);
    const std::size_t per_head = lists.size() / c.dim("B") / c.dim("Hq"), first = at.b * c.dim("S");
    const auto& blocks = lists[(at.b * c.dim("Hq") + at.h) * per_head + at.i / c.dim("Bq")];
    return keys_where(c, at.hk, first, first + at.i + 1,
                      [&](std::size_t j) { return blocks.contains(j / c.dim("Bk")); });
  };
  return c;
}

/// Whether place i sees place j along an axis, by the definition of NATTEN: windows are centred at the leader and moved
/// inside the axis by what they lack.
bool sees_along(std::size_t i, std::size_t j, std::size_t length, std::size_t window, std::size_t stride) {
  const auto L = static_cast<int>(length), w = static_cast<int>(window), s = static_cast<int>(stride);
  const int left = w / 2, right = w / 2 + w % 2 - 1;
  const int leader = std::min(static_cast<int>(i) / s * s + s / 2, L - 1);
  const int start = std::max(leader - left, 0) + (leader + right >= L ? L - right - leader - 1 : 0);
  return start <= static_cast<int>(j) && static_cast<int>(j) < start + w;
}

MaskedCase neighbourhood_case(const char* workload) {
  MaskedCase c = masked_case("gna_2d_fwd", workload);
  c.keys = [c](std::size_t row) {
    const std::size_t h = row % c.dim("H"), token = row / c.dim("H"), image = c.dim("X") * c.dim("Y");
    const std::size_t first = token / image * image, x = token % image / c.dim("Y"), y = token % c.dim("Y");
    return keys_where(c, h, first, first + image, [&](std::size_t j) {
      return sees_along(x, j / c.dim("Y"), c.dim("X"), c.dim("wx"), c.dim("sx")) &&
             sees_along(y, j % c.dim("Y"), c.dim("Y"), c.dim("wy"), c.dim("sy"));
    });
  };
  return c;
}

/// Every third entry is missing; the others name a block from the token's own on downwards.
MaskedCase selected_case(const char* workload) {
  MaskedCase c = masked_case("nsa_selected_fwd", workload);
  std::vector<std::int32_t> idx;
  for (std::size_t n = 0; n < c.dim("B") * c.dim("S") * c.dim("Hkv"); ++n) {
    const auto own = static_cast<std::int32_t>(n / c.dim("Hkv") % c.dim("S") / c.dim("L"));
    for (std::size_t t = 0; t < c.dim("T"); ++t) {
      const std::int32_t block = own - static_cast<std::int32_t>(t + (t > 0 ? n % 2 : 0));
      idx.push_back(n % 3 == 0 && t > 0 ? -1 : std::max(block, -1));
    }
  }
  c.others["idx"] = bytes_of(idx);
  c.keys = [c, idx](std::size_t row) {
    const MaskedRow at = row_of(c, row);
    const std::size_t first = at.b * c.dim("S"), list = ((first + at.i) * c.dim("Hkv") + at.hk) * c.dim("T");
    return keys_where(c, at.hk, first, first + at.i + 1, [&](std::size_t j) {
      const auto block = static_cast<std::int32_t>(j / c.dim("L"));
      return std::count(&idx[list], &idx[list] + c.dim("T"), block) > 0;
    });
  };
  return c;
}

/// phi of the task: softmax over a vector's channels.
std::vector<double> features(const oracle::Bf16& x, std::size_t at, std::size_t channels) {
  std::vector<double> phi;
  double sum = 0;
  for (std::size_t d = 0; d < channels; ++d) phi.push_back(std::exp(oracle::to_double(x[at + d])));
  for (const double value : phi) sum += value;
  for (double& value : phi) value /= sum;
  return phi;
}

/// The linear part of one row: a mean of all values whose block is not selected.
std::vector<double> linear_part(const MaskedCase& c, const std::vector<oracle::Bf16>& qkv,
                                const MaskedRow& at, const std::set<std::int32_t>& selected) {
  const std::size_t D = c.dim("D");
  const auto offset = [&](std::size_t token) {
    return ((at.b * c.dim("S") + token) * c.dim("H") + at.h) * D;
  };
  const auto phi_q = features(qkv[0], offset(at.i), D);
  std::vector<double> sum(D);
  double weights = 0;
  for (std::size_t j = 0; j < c.dim("S"); ++j) {
    if (selected.contains(static_cast<std::int32_t>(j / 64))) continue;
    const auto phi_k = features(qkv[1], offset(j), D);
    double weight = 0;
    for (std::size_t d = 0; d < D; ++d) weight += phi_q[d] * phi_k[d];
    for (std::size_t d = 0; d < D; ++d) sum[d] += weight * oracle::to_double(qkv[2][offset(j) + d]);
    weights += weight;
  }
  for (double& value : sum) value = weights > 0 ? value / weights : 0;
  return sum;
}

/// Both parts; block I of queries selects blocks I, I + 2, ... as far as there are any.
void check_sparse_linear(const char* workload) {
  MaskedCase c = masked_case("sla_fused_fwd", workload);
  const std::size_t S = c.dim("S"), H = c.dim("H"), D = c.dim("D"), K = c.dim("K"), blocks = (S + 63) / 64;
  std::vector<std::int32_t> lut;
  for (std::size_t n = 0; n < c.dim("B") * H * blocks * K; ++n) {
    const std::size_t block = n / K % blocks + (K < blocks ? 2 : 1) * (n % K);
    lut.push_back(K >= blocks      ? static_cast<std::int32_t>(block % blocks)
                  : block < blocks ? static_cast<std::int32_t>(block)
                                   : -1);
  }
  const auto selected = [&, lut](std::size_t row) {
    const std::size_t list = ((row / H / S * H + row % H) * blocks + row / H % S / 64) * K;
    return std::set<std::int32_t>(&lut[list], &lut[list] + K);
  };
  c.others["lut"] = bytes_of(lut);
  c.keys = [&](std::size_t row) {
    const std::size_t first = row / H / S * S;
    return keys_where(c, row % H, first, first + S, [&](std::size_t j) {
      return selected(row).contains(static_cast<std::int32_t>(j / 64));
    });
  };
  if (K < blocks) check_reference(c, "os");
  const std::vector<oracle::Bf16> qkv = {draws(element_count(c.task.tensor("q"), c.workload), 2, 1),
                                         draws(element_count(c.task.tensor("k"), c.workload), 2, 2),
                                         draws(element_count(c.task.tensor("v"), c.workload), 1, 3)};
  const std::vector<std::int64_t> rows = {0, row_count(c.task, c.workload) / 2 + 1,
                                          row_count(c.task, c.workload) - 1};
  const auto contents =
      run_on_vgpu({c.task, c.task.reference_source, Form::reference, c.workload, rows},
                  {bytes_of(qkv[0]), bytes_of(qkv[1]), bytes_of(qkv[2]), bytes_of(lut), {}, {}, {}});
  const auto ol = values_of<double>(contents.at(index_of(c.task, "ol")));
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const auto row = static_cast<std::size_t>(rows[i]);
    const auto gold = linear_part(c, qkv, {row / H / S, row / H % S, row % H, row % H}, selected(row));
    CHECK(row_error(gold.data(), &ol[i * D], D) < 1e-11);
  }
}

}  // namespace

TEST_CASE(
    "the reference of sparse-linear attention agrees with the host, rows that select everything included") {
  check_sparse_linear("half");
  check_sparse_linear("all_blocks");
}

TEST_CASE("the reference of listed blocks agrees with the host, empty lists included") {
  check_reference(block_case("tail", 3));
}

TEST_CASE("listing all blocks is causal attention") {
  MaskedCase c = block_case("all_blocks", 0);
  c.keys = [c](std::size_t row) {
    const MaskedRow at = row_of(c, row);
    const std::size_t first = at.b * c.dim("S");
    return keys_where(c, at.hk, first, first + at.i + 1, [](std::size_t) { return true; });
  };
  check_reference(c);
}

TEST_CASE("the reference of neighbourhoods agrees with the host") {
  check_reference(neighbourhood_case("even_window"));
}

TEST_CASE("a window of the whole image is attention without a mask") {
  MaskedCase c = neighbourhood_case("window_of_all");
  c.keys = [c](std::size_t row) {
    return keys_where(c, row % c.dim("H"), 0, c.dim("X") * c.dim("Y"), [](std::size_t) { return true; });
  };
  check_reference(c);
}

TEST_CASE("the reference of selected blocks agrees with the host, short lists included") {
  check_reference(selected_case("three_of_five"));
}
