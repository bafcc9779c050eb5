// SPDX-License-Identifier: Apache-2.0
// The clauses, one row a label.
#include "tools/inspect/kernel_words.h"

#include <fmt/format.h>

#include <algorithm>

namespace kernelites {
namespace {

constexpr std::pair<std::string_view, std::string_view> k_words[] = {
    {"direct", "threads load from device memory straight into registers"},
    {"shared", "blocks stage data in shared memory"},
    {"cp_async", "tiles are copied into shared memory while it computes (cp.async)"},
    {"tma", "the copy engine brings tiles into shared memory (TMA)"},
    {"fma", "plain multiply-adds"},
    {"mma_sync", "tensor cores multiply (mma.sync)"},
    {"wgmma", "tensor cores multiply for four warps together (wgmma)"},
    {"tile", "a block computes a tile of the output"},
    {"split_kv", "several blocks share one long row and their parts are merged"},
    {"persistent", "blocks stay and take one piece of work after another"},
    {"specialised", "warps have different jobs"},
    {"clusters", "blocks work together in clusters"},
    {"thread", "threads exchange nothing"},
    {"warp", "values are exchanged within a warp"},
    {"block", "values are exchanged within a block"},
    {"blocks", "values are exchanged between blocks"},
    {"occ12", "at most an eighth of an SM's warps are resident"},
    {"occ25", "an eighth to a quarter of an SM's warps are resident"},
    {"occ50", "a quarter to half of an SM's warps are resident"},
    {"occ100", "more than half of an SM's warps are resident"},
    {"reg64", "at most 64 registers a thread"},
    {"reg128", "65 to 128 registers a thread"},
    {"reg192", "129 to 192 registers a thread"},
    {"reg255", "more than 192 registers a thread"},
    {"access4", "a thread's widest access moves at most 4 bytes"},
    {"access8", "a thread's widest access moves 8 bytes"},
    {"access16", "a thread's widest access moves 16 bytes"},
    {"bulk", "bulk accesses to device memory"},
    {"flop1", "at most one operation a byte"},
    {"flop8", "up to 8 operations a byte"},
    {"flop64", "up to 64 operations a byte"},
    {"flop_more", "more than 64 operations a byte"},
};

}  // namespace

std::string_view label_words(std::string_view label) {
  const auto* const found = std::find_if(std::begin(k_words), std::end(k_words),
                                         [&](const auto& row) { return row.first == label; });
  return found == std::end(k_words) ? std::string_view() : found->second;
}

std::vector<std::string> kernel_words(std::span<const Axis> axes, const Descriptors& descriptors) {
  std::vector<std::string> words;
  for (const Axis& axis : axes) {
    const auto label = descriptors.find(std::string(axis.name));
    if (label == descriptors.end()) continue;
    const std::string_view clause = label_words(label->second);
    words.emplace_back(clause.empty() ? std::string_view(label->second) : clause);
  }
  return words;
}

std::string plan_words(const LaunchPlan& plan) {
  std::string words;
  int launches = 0;
  for (const PlannedLaunch& launch : plan.launches) {
    if (launch.is_prepare) continue;
    const auto product = [](const auto& extents) {
      return std::uint64_t{extents[0]} * extents[1] * extents[2];
    };
    words += fmt::format("{}{} on {} blocks of {} threads", launches++ == 0 ? "" : ", ", launch.kernel,
                         product(launch.grid), product(launch.block));
  }
  if (launches == 0) return "";
  return fmt::format("{} launch{}: {}", launches, launches == 1 ? "" : "es", words);
}

}  // namespace kernelites
