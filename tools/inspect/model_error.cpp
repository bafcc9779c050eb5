// SPDX-License-Identifier: Apache-2.0
// The table of docs/measurement.md; a test holds the two together.
#include "tools/inspect/model_error.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace kernelites {
namespace {

/// The device whose times were compared.
constexpr std::string_view k_compared_device = "H100";

constexpr ModelError k_errors[] = {
    {"attention_state_merge", 21, 0.19},
    {"block_sparse_prefill", 11, 0.13},
    {"delta_page_select", 17, 0.03},
    {"dora_compose_fwd", 22, 0.03},
    {"gna_2d_fwd", 11, 0.14},
    {"gqa_decode_paged", 29, 0.05},
    {"gqa_decode_ragged_balanced", 16, 0.25},
    {"gqa_decode_splitkv", 35, 0.13},
    {"gqa_prefill_causal", 15, 0.14},
    {"gr_kan_bwd", 10, 0.20},
    {"kda_chunk_fwd", 14, 0.08},
    {"kv_fp8_decode", 29, 0.15},
    {"lightning_fwd", 6, 0.17},
    {"mha_prefill_full", 11, 0.09},
    {"mustafar_bitmap_decode", 10, 0.13},
    {"nsa_selected_fwd", 11, 0.09},
    {"rmsnorm", 17, 0.12},
    {"snapkv_select", 8, 0.32},
    {"softmax_row", 26, 0.19},
    {"", 319, 0.138},
};

}  // namespace

std::span<const ModelError> model_error_table() { return k_errors; }

std::optional<ModelError> model_error(const DeviceFacts& device, std::string_view task) {
  if (!device.is_virtual || device.kind.find(k_compared_device) == std::string::npos) return std::nullopt;
  const auto* const row = std::find_if(std::begin(k_errors), std::end(k_errors),
                                       [&](const ModelError& error) { return error.task == task; });
  return row == std::end(k_errors) ? *(std::end(k_errors) - 1) : *row;
}

bool exceeds(const ModelError& error, double gain) {
  return gain > 0 && std::abs(std::log(gain)) > error.mean_abs_log;
}

std::string error_words(const ModelError& error) {
  return fmt::format(
      "off by {:.0f} % on average {} ({} times on an H100)", 100 * std::expm1(error.mean_abs_log),
      error.task.empty() ? "over tasks, this one not among them" : "for this task", error.times);
}

}  // namespace kernelites
