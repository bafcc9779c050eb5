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

constexpr PairAgreement k_agreements[] = {
    {1, 1.05, 641, 0.55},
    {1.05, 1.15, 170, 0.71},
    {1.15, 1.5, 106, 0.94},
    {1.5, 0, 247, 1.00},
};

/// A coin gives a half.
constexpr double k_agreed_least = 0.9;

}  // namespace

std::span<const PairAgreement> pair_agreement_table() { return k_agreements; }

const PairAgreement& agreement_at(double gain) {
  const double apart = gain > 0 ? std::max(gain, 1 / gain) : 1;
  const auto* row = std::begin(k_agreements);
  while (row->to > 0 && apart >= row->to) ++row;
  return *row;
}

double least_gain_told() {
  const auto* const row = std::find_if(std::begin(k_agreements), std::end(k_agreements),
                                       [](const PairAgreement& one) { return one.agreed >= k_agreed_least; });
  return row->from;
}

bool is_told_apart(double gain) { return agreement_at(gain).agreed >= k_agreed_least; }

std::string agreement_words(double gain) {
  const PairAgreement& row = agreement_at(gain);
  const std::string apart = row.to > 0 ? fmt::format("{:g} to {:g} times apart", row.from, row.to)
                                       : fmt::format("more than {:g} times apart", row.from);
  return fmt::format(
      "of {} pairs of kernels that it puts {}, an H100 found the same one faster in at most {:.0f} %",
      row.pairs, apart, 100 * row.agreed);
}

std::span<const ModelError> model_error_table() { return k_errors; }

std::optional<ModelError> model_error(const DeviceFacts& device, std::string_view task) {
  if (!device.is_virtual || device.kind.find(k_compared_device) == std::string::npos) return std::nullopt;
  const auto* const row = std::find_if(std::begin(k_errors), std::end(k_errors),
                                       [&](const ModelError& error) { return error.task == task; });
  return row == std::end(k_errors) ? *(std::end(k_errors) - 1) : *row;
}

std::string error_words(const ModelError& error) {
  return fmt::format(
      "off by {:.0f} % on average {} ({} times on an H100)", 100 * std::expm1(error.mean_abs_log),
      error.task.empty() ? "over tasks, this one not among them" : "for this task", error.times);
}

}  // namespace kernelites
