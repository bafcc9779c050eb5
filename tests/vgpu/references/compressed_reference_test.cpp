// SPDX-License-Identifier: Apache-2.0
// References of decode over compressed caches against plain float64 on the host.
#include <array>
#include <cmath>

#include "tests/support/catch.h"
#include "tests/vgpu/references/attention_row.h"

using namespace kernelites;
using namespace kernelites::worker;

namespace {

/// The values of all e4m3 codes: s eeee mmm is (-1)^s (1 + m/8) 2^(e - 7), with e = 0 (-1)^s m/8 2^-6.
std::array<double, 256> e4m3_values() {
  std::array<double, 256> values{};
  for (std::size_t code = 0; code < 256; ++code) {
    const auto exponent = static_cast<int>(code >> 3 & 15), mantissa = static_cast<int>(code & 7);
    const double size =
        exponent == 0 ? mantissa / 8.0 * 0x1p-6 : (1 + mantissa / 8.0) * std::exp2(exponent - 7);
    values[code] = code >= 128 ? -size : size;
  }
  return values;
}

/// Packed words of 64 elements: bits, where each word's values begin in units of 8, the values.
struct Packed {
  std::vector<std::uint64_t> bits;
  std::vector<std::int32_t> offsets;
  oracle::Bf16 values;
};

/// Packs dense elements word after word, zeros left out; `heads` pools of equal size. Padding is NaN.
Packed packed_from(const oracle::Bf16& dense, std::size_t heads) {
  const std::size_t pool = dense.size() / heads;
  Packed out{.bits = {}, .offsets = {}, .values = oracle::Bf16(dense.size(), 0x7FC0)};
  for (std::size_t head = 0; head < heads; ++head) {
    std::size_t at = 0;
    for (std::size_t word = 0; word < pool / 64; ++word) {
      out.offsets.push_back(static_cast<std::int32_t>(at / 8));
      out.bits.push_back(0);
      for (std::size_t i = 0; i < 64; ++i) {
        const std::uint16_t element = dense[head * pool + word * 64 + i];
        if (element == 0) continue;
        out.bits.back() |= std::uint64_t{1} << i;
        out.values[head * pool + at++] = element;
      }
      at = (at + 7) / 8 * 8;
    }
    out.offsets.push_back(static_cast<std::int32_t>(at / 8));
  }
  return out;
}

/// Draws of which two in three are zero, in an irregular order, whole words too.
oracle::Bf16 sparse_draws(std::size_t count, std::uint64_t seed) {
  auto values = draws(static_cast<std::int64_t>(count), 1, seed);
  for (std::size_t i = 0; i < count; ++i) {
    if (i * i % 7 > 2 || i / 64 % 11 == 3) values[i] = 0;
  }
  return values;
}

}  // namespace

TEST_CASE("the fp8 reference agrees with the host in float64, for all finite codes and scales of their own") {
  const Task task = load_task(k_root / "tasks" / "kv_fp8_decode");
  const auto values = e4m3_values();
  CHECK(values[0x7e] == 448);
  CHECK(values[0x81] == -0x1p-9);
  for (const char* name : {"one_key", "few_keys", "above_tile"}) {
    INFO(name);
    const Workload& workload = *task.find_workload(name);
    const std::size_t B = dim(workload, "B"), Hq = dim(workload, "Hq"), Hkv = dim(workload, "Hkv");
    const std::size_t S = dim(workload, "S"), D = dim(workload, "D");
    const auto q = draws(element_count(task.tensor("q"), workload), 0.05f, 1);
    std::vector<std::uint8_t> k, v;
    Rng rng(7);
    for (std::size_t i = 0; i < B * S * Hkv * D; ++i) {
      const auto bits = rng.bits();
      k.push_back((bits & 0x7f) == 0x7f ? 0xfe : bits & 0xff);  // 0x7f and 0xff are NaN
      v.push_back((bits >> 8 & 0x7f) == 0x7f ? 0x7e : bits >> 8 & 0xff);
    }
    std::vector<float> k_scale, v_scale;
    for (std::size_t i = 0; i < B * Hkv * S; ++i) {
      k_scale.push_back(0.25f + 0.01f * static_cast<float>(i % 37));
      v_scale.push_back(std::exp2(static_cast<float>(i % 9) - 4));
    }
    std::vector<std::int32_t> lengths(B, static_cast<std::int32_t>(S));
    lengths[0] = 0;
    const auto contents = reference_of(
        task, workload,
        {bytes_of(q), bytes_of(k), bytes_of(v), bytes_of(k_scale), bytes_of(v_scale), bytes_of(lengths)});
    const auto o = values_of<double>(contents.at(6)), lse = values_of<double>(contents.at(7));
    const auto scale = static_cast<double>(static_cast<float>(task.scalars.at(0).value));
    for (std::size_t row = 0; row < B * Hq; ++row) {
      const std::size_t b = row / Hq, head = row % Hq / (Hq / Hkv);
      const auto score = [&](std::size_t j) {
        double dot = 0;
        for (std::size_t d = 0; d < D; ++d)
          dot += oracle::to_double(q[row * D + d]) * values[k[((b * S + j) * Hkv + head) * D + d]];
        return scale * static_cast<double>(k_scale[(b * Hkv + head) * S + j]) * dot;
      };
      const auto value = [&](std::size_t j, std::size_t d) {
        return static_cast<double>(v_scale[(b * Hkv + head) * S + j]) *
               values[v[((b * S + j) * Hkv + head) * D + d]];
      };
      const Row gold = attended(static_cast<std::size_t>(lengths[b]), D, score, value);
      CHECK(row_error(gold.o.data(), &o[row * D], D) < 1e-12);
      CHECK(is_same_lse(lse[row], gold.lse));
    }
  }
}

TEST_CASE("the bitmap reference agrees with attention over what was packed, and over the dense window") {
  const Task task = load_task(k_root / "tasks" / "mustafar_bitmap_decode");
  for (const char* name : {"short_window", "ungrouped"}) {
    INFO(name);
    const Workload& workload = *task.find_workload(name);
    const std::size_t B = dim(workload, "B"), Hq = dim(workload, "Hq"), Hkv = dim(workload, "Hkv");
    const std::size_t C = dim(workload, "C"), W = dim(workload, "W"), D = dim(workload, "D");
    const auto q = draws(element_count(task.tensor("q"), workload), 1, 1);
    // Keys in words of 64 tokens of a channel, values in words of 64 channels of a token.
    const auto k = sparse_draws(B * Hkv * C * 64 * D, 2), v = sparse_draws(B * Hkv * C * 64 * D, 3);
    const auto k_win = draws(element_count(task.tensor("k_win"), workload), 1, 4);
    const auto v_win = draws(element_count(task.tensor("v_win"), workload), 1, 5);
    const Packed k_packed = packed_from(k, B * Hkv), v_packed = packed_from(v, B * Hkv);
    std::vector<std::int32_t> groups(B, static_cast<std::int32_t>(C)),
        window(B, static_cast<std::int32_t>(W));
    groups[0] = static_cast<std::int32_t>(C) - 1;
    window[B - 1] = 0;
    const auto contents = reference_of(
        task, workload,
        {bytes_of(q), bytes_of(k_packed.bits), bytes_of(v_packed.bits), bytes_of(k_packed.offsets),
         bytes_of(v_packed.offsets), bytes_of(k_packed.values), bytes_of(v_packed.values), bytes_of(k_win),
         bytes_of(v_win), bytes_of(groups), bytes_of(window)});
    const auto o = values_of<double>(contents.at(11)), lse = values_of<double>(contents.at(12));
    const auto scale = static_cast<double>(static_cast<float>(task.scalars.at(0).value));
    for (std::size_t row = 0; row < B * Hq; ++row) {
      const std::size_t b = row / Hq, head = row % Hq / (Hq / Hkv), pool = (b * Hkv + head) * C * 64 * D;
      const auto first_dense = static_cast<std::size_t>(groups[b]) * 64;
      const auto in_window = [&](std::size_t j) { return ((b * W + j - first_dense) * Hkv + head) * D; };
      const auto key = [&](std::size_t j, std::size_t d) {
        return oracle::to_double(j < first_dense ? k[pool + (j / 64 * D + d) * 64 + j % 64]
                                                 : k_win[in_window(j) + d]);
      };
      const auto value = [&](std::size_t j, std::size_t d) {
        return oracle::to_double(j < first_dense ? v[pool + j * D + d] : v_win[in_window(j) + d]);
      };
      const auto score = [&](std::size_t j) {
        double dot = 0;
        for (std::size_t d = 0; d < D; ++d) dot += oracle::to_double(q[row * D + d]) * key(j, d);
        return scale * dot;
      };
      const Row gold = attended(first_dense + static_cast<std::size_t>(window[b]), D, score, value);
      CHECK(row_error(gold.o.data(), &o[row * D], D) < 1e-12);
      CHECK(is_same_lse(lse[row], gold.lse));
    }
  }
}

TEST_CASE("the offsets that the bitmap task computes leave each word room for its values, padded to eight") {
  const Task task = load_task(k_root / "tasks" / "mustafar_bitmap_decode");
  const Workload& workload = *task.find_workload("short_window");
  const std::size_t heads = dim(workload, "B") * dim(workload, "Hkv"),
                    elements = heads * dim(workload, "C") * 64 * dim(workload, "D");
  const Packed k = packed_from(sparse_draws(elements, 2), heads),
               v = packed_from(sparse_draws(elements, 3), heads);
  std::vector<Bytes> inputs;
  for (const TensorSpec& tensor : task.tensors)
    inputs.emplace_back(static_cast<std::size_t>(element_count(tensor, workload)) *
                        dtype_bytes(tensor.dtype));
  inputs.at(1) = bytes_of(k.bits);
  inputs.at(2) = bytes_of(v.bits);
  const auto contents =
      run_on_vgpu({task, task.reference_source, Form::inputs, workload, {1, 0, 0, 0}}, inputs);
  CHECK(values_of<std::int32_t>(contents.at(3)) == k.offsets);
  CHECK(values_of<std::int32_t>(contents.at(4)) == v.offsets);
}
