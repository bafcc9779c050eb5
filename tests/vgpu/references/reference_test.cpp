// SPDX-License-Identifier: Apache-2.0
// Every reference.cu agrees with an independent float64 implementation on the host, and the seeds agree
// within the task's own gates. So a fault of the virtual GPU cannot hide behind a reference that ran on it.
#include <algorithm>
#include <cmath>

#include "tests/support/catch.h"
#include "tests/vgpu/references/reference_support.h"

using namespace kernelites;
using namespace kernelites::worker;

namespace {

constexpr std::uint16_t k_nan_bf16 = 0x7FC0;

struct DecodeCase {
  Workload workload;
  oracle::DecodeShape shape;
  oracle::Bf16 q, k, v;
  std::vector<std::int32_t> lengths;
  std::vector<Bytes> inputs;
  oracle::Decode gold;
};

/// Ragged lengths, the first of them 0; NaN beyond every length.
DecodeCase decode_case(const Task& task, const Workload& workload) {
  DecodeCase c;
  c.workload = workload;
  const auto dim = [&](const char* name) { return static_cast<std::size_t>(workload.dims.at(name)); };
  c.shape = {dim("B"), dim("Hq"), dim("Hkv"), dim("S"), dim("D")};
  c.q = draws(element_count(task.tensor("q"), workload), 2, 1);
  c.k = draws(element_count(task.tensor("k"), workload), 2, 2);
  c.v = draws(element_count(task.tensor("v"), workload), 1, 3);
  const std::size_t row = c.shape.kv_heads * c.shape.channels;
  for (std::size_t b = 0; b < c.shape.batch; ++b) {
    c.lengths.push_back(b == 0 && c.shape.batch > 1 ? 0
                                                    : static_cast<std::int32_t>(c.shape.capacity - b / 2));
    const auto from = (b * c.shape.capacity + static_cast<std::size_t>(c.lengths[b])) * row;
    std::fill(c.k.begin() + static_cast<std::ptrdiff_t>(from),
              c.k.begin() + static_cast<std::ptrdiff_t>((b + 1) * c.shape.capacity * row), k_nan_bf16);
    std::fill(c.v.begin() + static_cast<std::ptrdiff_t>(from),
              c.v.begin() + static_cast<std::ptrdiff_t>((b + 1) * c.shape.capacity * row), k_nan_bf16);
  }
  c.inputs = {bytes_of(c.q), bytes_of(c.k), bytes_of(c.v), bytes_of(c.lengths), {}, {}};
  const auto scale = static_cast<float>(task.scalars.at(0).value);
  c.gold = oracle::decode(c.shape, c.q, c.k, c.v, c.lengths, scale);
  return c;
}

}  // namespace

TEST_CASE("the rmsnorm reference agrees with the host in float64, for the rows listed") {
  const Task task = load_task(k_root / "tasks" / "rmsnorm");
  for (const char* name : {"one_element", "short_odd", "not_a_power"}) {
    INFO(name);
    const Workload& workload = *task.find_workload(name);
    const auto x = draws(element_count(task.tensor("x"), workload), 0.01f, 1);
    const auto w = draws(element_count(task.tensor("w"), workload), 1, 2);
    const auto rows = some_rows(row_count(task, workload));
    const auto contents = run_on_vgpu({task, task.reference_source, Form::reference, workload, rows},
                                      {bytes_of(x), bytes_of(w), {}});
    const auto y = values_of<double>(contents.at(2));
    const auto gold = oracle::rmsnorm(x, w, static_cast<float>(task.scalars.at(0).value));
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const auto row = static_cast<std::size_t>(rows[i]);
      CHECK(row_error(&gold[row * w.size()], &y[i * w.size()], w.size()) < 1e-12);
    }
  }
}

TEST_CASE("the decode reference agrees with the host in float64, empty and padded rows included") {
  const Task task = load_task(k_root / "tasks" / "gqa_decode_splitkv");
  for (const char* name : {"one_key", "few_keys", "above_tile"}) {
    INFO(name);
    const DecodeCase c = decode_case(task, *task.find_workload(name));
    const auto rows = some_rows(row_count(task, c.workload));
    const auto contents =
        run_on_vgpu({task, task.reference_source, Form::reference, c.workload, rows}, c.inputs);
    const auto o = values_of<double>(contents.at(4)), lse = values_of<double>(contents.at(5));
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const auto row = static_cast<std::size_t>(rows[i]);
      INFO("row " << row);
      CHECK(row_error(&c.gold.o[row * c.shape.channels], &o[i * c.shape.channels], c.shape.channels) < 1e-12);
      if (std::isinf(c.gold.lse[row])) {
        CHECK(lse[i] == c.gold.lse[row]);
      } else {
        CHECK(std::abs(lse[i] - c.gold.lse[row]) < 1e-11);
      }
    }
  }
}

TEST_CASE("every rmsnorm seed agrees with the host within bf16 rounding") {
  const Task task = load_task(k_root / "tasks" / "rmsnorm");
  for (const std::string& file : seeds_of(task.name)) {
    for (const char* name : {"one_element", "vector", "warp_plus_one", "not_a_power"}) {
      INFO(file << " at " << name);
      const Workload& workload = *task.find_workload(name);
      const auto x = draws(element_count(task.tensor("x"), workload), 0.01f, 1);  // so that eps counts
      const auto w = draws(element_count(task.tensor("w"), workload), 1, 2);
      const auto contents =
          run_on_vgpu({task, read_text(file), Form::candidate, workload, {}}, {bytes_of(x), bytes_of(w), {}});
      const auto y = doubles_of(values_of<std::uint16_t>(contents.at(2)));
      const auto gold = oracle::rmsnorm(x, w, static_cast<float>(task.scalars.at(0).value));
      for (std::size_t i = 0; i < gold.size(); ++i) {
        CHECK(std::abs(y[i] - gold[i]) <= std::abs(gold[i]) * 0x1p-8 * 1.001);
      }
    }
  }
}

TEST_CASE("every decode seed agrees with the host within its gates, empty and padded rows included") {
  const Task task = load_task(k_root / "tasks" / "gqa_decode_splitkv");
  const double element_gate = task.precision.at("o").element_rms + task.precision.at("o").element_ulp * 8;
  for (const std::string& file : seeds_of(task.name)) {
    for (const char* name : {"one_key", "below_tile", "above_tile", "two_chunks"}) {
      INFO(file << " at " << name);
      const DecodeCase c = decode_case(task, *task.find_workload(name));
      const auto contents = run_on_vgpu({task, read_text(file), Form::candidate, c.workload, {}}, c.inputs);
      const auto o = doubles_of(values_of<std::uint16_t>(contents.at(4)));
      const auto lse = values_of<float>(contents.at(5));
      for (std::size_t row = 0; row < lse.size(); ++row) {
        INFO("row " << row);
        CHECK(row_error(&c.gold.o[row * c.shape.channels], &o[row * c.shape.channels], c.shape.channels) <
              element_gate);
        if (std::isinf(c.gold.lse[row])) {
          CHECK(static_cast<double>(lse[row]) == c.gold.lse[row]);
        } else {
          CHECK(std::abs(static_cast<double>(lse[row]) - c.gold.lse[row]) < 1e-4);
        }
      }
    }
  }
}
