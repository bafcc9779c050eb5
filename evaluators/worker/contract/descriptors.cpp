// SPDX-License-Identifier: Apache-2.0
// Opcode classes and the placement on the axes of engine/core/axes.h.
#include "evaluators/worker/contract/descriptors.h"

#include <algorithm>
#include <set>

#include "engine/core/axes.h"
#include "engine/core/code_measures.h"
#include "evaluators/worker/contract/code_balance.h"
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

/// A bulk copy of which no tensor map tells the size: more than any access of a thread.
constexpr double k_bulk_bytes_unknown = 1024;

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

std::int64_t count_of(const StaticCounts& counts, const char* name) {
  const auto found = counts.opcodes.find(name);
  return found == counts.opcodes.end() ? 0 : found->second;
}

/// The compiled code and the plans that count.
struct Described {
  const CompiledCandidate& candidate;
  const std::vector<LaunchPlan>& plans;
  StaticCounts counts;
  const std::vector<double>& tensor_bytes;
};

template <typename Visit>
void for_each_launch(const Described& code, Visit visit) {
  for (const LaunchPlan& plan : code.plans)
    for (const PlannedLaunch& launch : plan.launches)
      if (!launch.is_prepare) visit(launch);
}

template <typename Predicate>
bool has_launch(const Described& code, const Predicate& predicate) {
  bool is_any = false;
  for_each_launch(code, [&](const PlannedLaunch& launch) { is_any = is_any || predicate(launch); });
  return is_any;
}

BlockNeeds needs_of(const Described& code, const PlannedLaunch& launch) {
  BlockNeeds needs{.threads = std::int64_t{launch.block[0]} * launch.block[1] * launch.block[2],
                   .shared_bytes = launch.shared_bytes};
  for (const KernelResources& kernel : code.candidate.kernels) {
    if (kernel.kernel != launch.kernel) continue;
    needs.registers = kernel.registers;
    needs.shared_bytes += kernel.static_shared_bytes;
  }
  return needs;
}

bool uses_shared_operands(const Described& code) {
  if (count_of(code.counts, "ldmatrix") > 0) return true;
  if (count_of(code.counts, "ld.shared") == 0) return false;
  return has_launch(code, [&](const PlannedLaunch& launch) {
    return needs_of(code, launch).shared_bytes >= k_operand_shared_bytes;
  });
}

std::string movement(const Described& code) {
  if (count_of(code.counts, "cp.async.bulk.tensor") + count_of(code.counts, "cp.async.bulk") > 0)
    return "tma";
  if (count_of(code.counts, "cp.async") > 0) return "cp_async";
  return uses_shared_operands(code) ? "shared" : "direct";
}

std::string compute(const StaticCounts& counts) {
  if (count_of(counts, "wgmma.mma_async") > 0) return "wgmma";
  return count_of(counts, "mma.sync") + count_of(counts, "wmma.mma") > 0 ? "mma_sync" : "fma";
}

bool is_clustered(const PlannedLaunch& launch) {
  return launch.cluster[0] * launch.cluster[1] * launch.cluster[2] > 1;
}

/// Warps with different jobs: registers moved between them, producers that only arrive. A cluster alone is none: its
/// blocks may all do the same.
bool is_specialised(const Described& code) {
  return count_of(code.counts, "setmaxnreg") > 0 || count_of(code.counts, "bar.arrive") > 0 ||
         count_of(code.counts, "barrier.arrive") > 0;
}

/// Whether a block reads or writes values in another block's shared memory; arriving at its barriers is none of it.
bool exchanges_in_clusters(const Described& code) {
  if (!has_launch(code, is_clustered)) return false;
  const std::vector<PtxToken> tokens = tokenize_ptx(code.candidate.ptx);
  for (const std::size_t at : opcode_positions(tokens)) {
    const std::string_view opcode = tokens[at].text;
    const std::string_view first = opcode.substr(0, opcode.find('.'));
    const bool is_access = first == "ld" || first == "st" || first == "atom" || first == "red";
    if (is_access && opcode.find("shared::cluster") != std::string_view::npos) return true;
    if (opcode.starts_with("cp.async.bulk.shared::cluster.shared::cta")) return true;
    if (first == "mapa" && opcode.find("shared::cluster") == std::string_view::npos) return true;  // generic
  }
  return false;
}

/// Blocks that fetch tiles until none is left: cooperative launches, or one grid for different shapes with a
/// kernel that asks for the grid's size (its stride).
bool is_persistent(const Described& code) {
  if (has_launch(code, [](const PlannedLaunch& launch) { return launch.is_cooperative; })) return true;
  if (code.plans.size() < 2 || code.candidate.ptx.find("%nctaid.x") == std::string::npos) return false;
  std::set<std::uint64_t> grids;
  for (const LaunchPlan& plan : code.plans) {
    for (const PlannedLaunch& launch : plan.launches) {
      if (launch.is_prepare) continue;
      grids.insert(std::uint64_t{launch.grid[0]} * launch.grid[1] * launch.grid[2]);
    }
  }
  return grids.size() == 1;
}

/// Parts of one output computed apart and combined: a later launch reads a workspace that an earlier one
/// wrote, or the blocks of a cluster exchange their parts (see `split`).
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

bool is_split_anywhere(const Described& code) {
  return std::any_of(code.plans.begin(), code.plans.end(), is_split);
}

std::string split(const Described& code) {
  if (is_specialised(code)) return "specialised";
  if (is_persistent(code)) return "persistent";
  return is_split_anywhere(code) || exchanges_in_clusters(code) ? "split_kv" : "tile";
}

std::string_view scope(const Described& code) {
  const bool is_joint = has_launch(
      code, [](const PlannedLaunch& launch) { return launch.is_cooperative || is_clustered(launch); });
  return scope_label(code.counts, is_joint || is_split_anywhere(code));
}

/// Of the task's tensors those that a launch is handed, each once.
double bytes_handed(const Described& code, const LaunchPlan& plan, const PlannedLaunch& launch) {
  std::set<int> tensors;
  for (const Argument& argument : launch.arguments) {
    if (argument.kind == ArgumentKind::tensor) tensors.insert(argument.index);
    if (argument.kind != ArgumentKind::tensor_map) continue;
    const TensorMap& map = plan.tensor_maps.at(static_cast<std::size_t>(argument.index));
    if (!map.is_workspace) tensors.insert(map.index);
  }
  double bytes = 0;
  for (const int tensor : tensors)
    if (static_cast<std::size_t>(tensor) < code.tensor_bytes.size())
      bytes += code.tensor_bytes[static_cast<std::size_t>(tensor)];
  return bytes;
}

/// Of the launch that does the work: that is handed most of the task's bytes, of equal ones that starts most threads.
BlockNeeds largest_launch(const Described& code) {
  BlockNeeds needs;
  std::pair<double, double> most{-1, 0};
  for (const LaunchPlan& plan : code.plans)
    for (const PlannedLaunch& launch : plan.launches) {
      if (launch.is_prepare) continue;
      const BlockNeeds its = needs_of(code, launch);
      const double threads = double(launch.grid[0]) * launch.grid[1] * launch.grid[2] * double(its.threads);
      const std::pair<double, double> size{bytes_handed(code, plan, launch), threads};
      if (size > most) needs = its;
      most = std::max(most, size);
    }
  return needs;
}

/// Registers of a thread of the kernel with most, of those that are launched.
int registers_most(const Described& code) {
  int most = 0;
  for_each_launch(
      code, [&](const PlannedLaunch& launch) { most = std::max(most, needs_of(code, launch).registers); });
  return most;
}

double bulk_bytes(const Described& code) {
  double bytes = 0;
  int maps = 0;
  for (const LaunchPlan& plan : code.plans)
    for (const TensorMap& map : plan.tensor_maps) {
      double box = static_cast<double>(dtype_bytes(map.dtype));
      for (int axis = 0; axis < map.rank; ++axis) box *= map.box[static_cast<std::size_t>(axis)];
      bytes += box;
      ++maps;
    }
  return maps > 0 ? bytes / maps : k_bulk_bytes_unknown;
}

std::string binned(std::string_view axis, double value) {
  return std::string(bin_label(*find_axis(axis), value));
}

/// Whether an opcode adds floating-point numbers in memory: atom, red, and TMA's reductions, whose type may be the
/// tensor map's.
bool is_float_addition(std::string_view opcode) {
  if (!opcode.starts_with("atom.") && !opcode.starts_with("red.") && !opcode.starts_with("cp.reduce."))
    return false;
  static constexpr std::string_view k_types[] = {"f16", "f16x2", "bf16", "bf16x2", "f32", "f64", "tensor"};
  bool is_add = false, is_float = false;
  while (!opcode.empty()) {
    const std::string_view part = opcode.substr(0, opcode.find('.'));
    opcode.remove_prefix(std::min(opcode.size(), part.size() + 1));
    is_add = is_add || part == "add";
    is_float = is_float || std::find(std::begin(k_types), std::end(k_types), part) != std::end(k_types);
  }
  return is_add && is_float;
}

}  // namespace

StaticCounts count_opcodes(std::string_view ptx) {
  StaticCounts counts;
  std::int64_t additions = 0;
  const std::vector<PtxToken> tokens = tokenize_ptx(ptx);
  for (const std::size_t at : opcode_positions(tokens)) {
    ++counts.opcodes[opcode_class(tokens[at].text)];
    additions += is_float_addition(tokens[at].text) ? 1 : 0;
  }
  counts.float_additions = additions;
  return counts;
}

Descriptors describe(const CompiledCandidate& candidate, const std::vector<LaunchPlan>& plans,
                     const DeviceFacts& device, const std::vector<double>& tensor_bytes) {
  const Described code{candidate, plans, count_opcodes(candidate.ptx), tensor_bytes};
  const BlockNeeds largest = largest_launch(code);
  const CodeBalance balance =
      balance_of(tokenize_ptx(candidate.ptx), bulk_bytes(code), static_cast<double>(largest.threads));
  return {{"movement", movement(code)},
          {"compute", compute(code.counts)},
          {"split", split(code)},
          {"scope", std::string(scope(code))},
          {"occupancy", binned("occupancy", occupancy_of(largest, device))},
          {"registers", binned("registers", registers_most(code))},
          {"access", binned("access", balance.access_bytes)},
          {"intensity", binned("intensity", balance.intensity())}};
}

}  // namespace kernelites::worker
