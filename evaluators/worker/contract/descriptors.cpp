// SPDX-License-Identifier: Apache-2.0
// Opcode classes and the placement on the axes of engine/core/axes.h.
#include "evaluators/worker/contract/descriptors.h"

#include <algorithm>
#include <set>

#include "evaluators/worker/contract/ptx_text.h"

namespace kernelites::worker {
namespace {

/// Classes that are longer than the opcode's first part. Longest first.
constexpr std::string_view k_long_classes[] = {"cp.async.bulk.tensor",
                                               "cp.async.bulk",
                                               "cp.async",
                                               "wgmma.mma_async",
                                               "mma.sync",
                                               "wmma.mma",
                                               "barrier.cluster",
                                               "bar.arrive",
                                               "bar.sync",
                                               "cp.reduce.async.bulk",
                                               "mbarrier.try_wait",
                                               "mbarrier.arrive",
                                               "cvta.to"};
constexpr std::string_view k_memory_opcodes[] = {"ld", "st", "atom", "red", "ldu", "prefetch"};
constexpr std::string_view k_spaces[] = {"global", "shared", "local", "const", "param"};

/// Shared memory below this serves reductions between warps, not operands.
constexpr std::int64_t k_operand_shared_bytes = 2048;

std::string opcode_class(std::string_view opcode) {
  for (std::string_view name : k_long_classes) {
    if (opcode.starts_with(name) && (opcode.size() == name.size() || opcode[name.size()] == '.'))
      return std::string(name);
  }
  const std::string_view first = opcode.substr(0, opcode.find('.'));
  if (std::find(std::begin(k_memory_opcodes), std::end(k_memory_opcodes), first) ==
      std::end(k_memory_opcodes)) {
    return std::string(first);
  }
  for (std::size_t at = first.size(); at < opcode.size();) {
    const std::size_t end = std::min(opcode.find('.', at + 1), opcode.size());
    std::string_view part = opcode.substr(at + 1, end - at - 1);
    part = part.substr(0, part.find(':'));  // shared::cta
    if (std::find(std::begin(k_spaces), std::end(k_spaces), part) != std::end(k_spaces)) {
      return std::string(first) + "." + std::string(part);
    }
    at = end;
  }
  return std::string(first) + ".generic";
}

bool is_opcode(std::string_view word) { return !word.empty() && word[0] >= 'a' && word[0] <= 'z'; }

std::int64_t count_of(const StaticCounts& counts, const char* name) {
  const auto found = counts.opcodes.find(name);
  return found == counts.opcodes.end() ? 0 : found->second;
}

template <typename Predicate>
bool has_launch(const CompiledCandidate& candidate, const Predicate& predicate) {
  return std::any_of(candidate.plans.begin(), candidate.plans.end(), [&](const LaunchPlan& plan) {
    return std::any_of(plan.launches.begin(), plan.launches.end(),
                       [&](const PlannedLaunch& launch) { return !launch.is_prepare && predicate(launch); });
  });
}

bool uses_shared_operands(const CompiledCandidate& candidate, const StaticCounts& counts) {
  if (count_of(counts, "ldmatrix") > 0) return true;
  if (count_of(counts, "ld.shared") == 0) return false;
  return has_launch(candidate, [&](const PlannedLaunch& launch) {
    std::int64_t bytes = launch.shared_bytes;
    for (const KernelResources& kernel : candidate.kernels) {
      if (kernel.kernel == launch.kernel) bytes += kernel.static_shared_bytes;
    }
    return bytes >= k_operand_shared_bytes;
  });
}

std::string movement(const CompiledCandidate& candidate, const StaticCounts& counts) {
  if (count_of(counts, "cp.async.bulk.tensor") + count_of(counts, "cp.async.bulk") > 0) return "tma";
  if (count_of(counts, "cp.async") > 0) return "cp_async";
  return uses_shared_operands(candidate, counts) ? "shared" : "direct";
}

std::string compute(const StaticCounts& counts) {
  if (count_of(counts, "wgmma.mma_async") > 0) return "wgmma";
  return count_of(counts, "mma.sync") + count_of(counts, "wmma.mma") > 0 ? "mma_sync" : "fma";
}

/// Warps or blocks with different jobs: registers moved between them, producers that only arrive, clusters.
bool is_specialised(const CompiledCandidate& candidate, const StaticCounts& counts) {
  const bool has_cluster = has_launch(candidate, [](const PlannedLaunch& launch) {
    return launch.cluster[0] * launch.cluster[1] * launch.cluster[2] > 1;
  });
  return has_cluster || count_of(counts, "setmaxnreg") > 0 || count_of(counts, "bar.arrive") > 0;
}

/// Blocks that fetch tiles until none is left: cooperative launches, or one grid for different shapes with a
/// kernel that asks for the grid's size (its stride).
bool is_persistent(const CompiledCandidate& candidate) {
  if (has_launch(candidate, [](const PlannedLaunch& launch) { return launch.is_cooperative; })) return true;
  if (candidate.plans.size() < 2 || candidate.ptx.find("%nctaid.x") == std::string::npos) return false;
  std::set<std::uint64_t> grids;
  for (const LaunchPlan& plan : candidate.plans) {
    for (const PlannedLaunch& launch : plan.launches) {
      if (launch.is_prepare) continue;
      grids.insert(std::uint64_t{launch.grid[0]} * launch.grid[1] * launch.grid[2]);
    }
  }
  return grids.size() == 1;
}

/// Parts of one output computed apart and combined: a later launch reads a workspace that an earlier one
/// wrote.
bool is_split(const LaunchPlan& plan) {
  std::set<int> written;
  for (const PlannedLaunch& launch : plan.launches) {
    if (launch.is_prepare) continue;
    for (const Argument& argument : launch.arguments) {
      if (argument.kind == ArgumentKind::workspace && written.contains(argument.index)) return true;
    }
    for (const Argument& argument : launch.arguments) {
      if (argument.kind == ArgumentKind::workspace) written.insert(argument.index);
    }
  }
  return false;
}

std::string split(const CompiledCandidate& candidate, const StaticCounts& counts) {
  if (is_specialised(candidate, counts)) return "specialised";
  if (is_persistent(candidate)) return "persistent";
  return std::any_of(candidate.plans.begin(), candidate.plans.end(), is_split) ? "split_kv" : "tile";
}

}  // namespace

StaticCounts count_opcodes(std::string_view ptx) {
  StaticCounts counts;
  const std::vector<PtxToken> tokens = tokenize_ptx(ptx);
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    if (tokens[i].is_string || !is_opcode(tokens[i].text)) continue;
    const std::string_view before = i > 0 ? tokens[i - 1].text : std::string_view(";");
    const bool is_guarded = i >= 2 && (tokens[i - 2].text == "@" || tokens[i - 2].text == "!");
    const bool begins =
        tokens[i].begins_line || before == ";" || before == "{" || before == "}" || before == ":";
    const bool is_label = i + 1 < tokens.size() && tokens[i + 1].text == ":";
    if ((begins || is_guarded) && !is_label) ++counts.opcodes[opcode_class(tokens[i].text)];
  }
  return counts;
}

Descriptors describe(const CompiledCandidate& candidate, const Task&) {
  const StaticCounts counts = count_opcodes(candidate.ptx);
  return {{"movement", movement(candidate, counts)},
          {"compute", compute(counts)},
          {"split", split(candidate, counts)}};
}

}  // namespace kernelites::worker
