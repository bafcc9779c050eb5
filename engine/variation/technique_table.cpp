// SPDX-License-Identifier: Apache-2.0
// The rows, and the test of one row against two sets of measures.
#include "engine/variation/technique_table.h"

#include <algorithm>

namespace kernelites {
namespace {

using enum Difference;

/// Steps of resources that are more than the compiler's mood.
constexpr double k_step = 1.2, k_large_step = 1.4;

constexpr TechniqueRow k_techniques[] = {
    {"use_tensor_cores", "tensor cores (mma) for the products", "op_mma", appears},
    {"use_wgmma", "wgmma instead of mma.sync", "op_wgmma", appears},
    {"leave_tensor_cores", "plain arithmetic instead of tensor cores", "op_mma", vanishes},
    {"fewer_mma", "fewer tensor instructions (no masked or repeated tiles)", "op_mma", falls, k_step},
    {"use_async_copies", "asynchronous copies (cp.async)", "op_async_copies", appears},
    {"leave_async_copies", "plain loads instead of cp.async", "op_async_copies", vanishes},
    {"use_bulk_copies", "bulk copies (TMA)", "op_bulk_copies", appears},
    {"stage_in_shared", "data staged in shared memory", "op_shared", appears},
    {"leave_shared", "registers and shuffles instead of shared memory", "op_shared", vanishes},
    {"fewer_shared_accesses", "fewer accesses to shared memory", "op_shared", falls, k_large_step},
    {"use_matrix_loads", "fragments by ldmatrix", "op_matrix_loads", appears},
    {"fewer_global_loads", "wider or fewer global loads", "op_global_loads", falls, k_large_step},
    {"more_global_loads", "more independent global loads in flight", "op_global_loads", rises, k_large_step},
    {"fewer_global_stores", "wider or fewer global stores", "op_global_stores", falls, k_large_step},
    {"fewer_barriers", "fewer block barriers", "op_barriers", falls, 1.01},
    {"no_barriers", "no block barriers at all", "op_barriers", vanishes},
    {"more_barriers", "more block barriers", "op_barriers", rises, 1.01},
    {"use_shuffles", "exchange by shuffles", "op_shuffles", appears},
    {"fewer_shuffles", "fewer shuffles", "op_shuffles", falls, k_step},
    {"fewer_exponentials", "fewer exponentials", "op_exponentials", falls, k_step},
    {"fewer_divisions", "no divisions and remainders in the code", "op_divisions", falls, k_step},
    {"no_divisions", "no divisions and remainders at all", "op_divisions", vanishes},
    {"fewer_conversions", "fewer conversions", "op_conversions", falls, k_large_step},
    {"fewer_float_operations", "fewer multiply-adds in the code", "op_fma", falls, k_large_step},
    {"fewer_branches", "fewer branches", "op_branches", falls, k_large_step},
    {"use_atomics", "atomics instead of another pass", "op_atomics", appears},
    {"no_atomics", "no atomics", "op_atomics", vanishes},
    {"unroll_more", "more unrolling", "code_bytes", rises, k_large_step},
    {"unroll_less", "less unrolling, smaller code", "code_bytes", falls, k_large_step},
    {"split_long_axis", "the long axis split over blocks and merged", "is_split_kv", appears},
    {"one_pass_no_split", "no split of the long axis", "is_split_kv", vanishes},
    {"persistent_blocks", "persistent blocks that loop over the work", "is_persistent", appears},
    {"leave_persistence", "a block for each piece of work instead of persistent blocks", "is_persistent",
     vanishes},
    {"specialise_warps", "warps specialised as producers and consumers", "is_specialised", appears},
    {"merge_launches", "fewer launches", "launches", falls, 1.01},
    {"more_launches", "more launches", "launches", rises, 1.01},
    {"dependent_launches", "programmatic dependent launches", "programmatic_launches", appears},
    {"larger_clusters", "blocks in clusters", "cluster", rises, 1.5},
    {"more_blocks", "more blocks with less work each", "blocks", rises, k_large_step},
    {"fewer_blocks", "fewer blocks with more work each", "blocks", falls, k_large_step},
    {"more_threads", "more threads in a block", "threads", rises, k_large_step},
    {"fewer_threads", "fewer threads in a block", "threads", falls, k_large_step},
    {"more_resident_blocks", "more blocks resident on an SM", "blocks_per_sm", rises, k_large_step},
    {"fewer_resident_blocks", "fewer blocks resident on an SM", "blocks_per_sm", falls, k_large_step},
    {"more_shared_bytes", "more shared memory for each block", "shared_bytes", rises, k_large_step},
    {"fewer_shared_bytes", "less shared memory for each block", "shared_bytes", falls, k_large_step},
    {"more_registers", "more values held in registers", "registers", rises, k_step},
    {"fewer_registers", "fewer registers", "registers", falls, k_step},
    {"no_spills", "no spilled registers", "spill_bytes", vanishes},
    {"fewer_spills", "fewer spilled registers", "spill_bytes", falls, k_step},
    {"more_stages", "a deeper ring of tiles", "tune_stages", rises, 1.01},
    {"fewer_stages", "a shallower ring of tiles", "tune_stages", falls, 1.01},
    {"more_warps", "more warps in a block", "tune_warps", rises, 1.01},
    {"fewer_warps", "fewer warps in a block", "tune_warps", falls, 1.01},
    {"more_rows", "larger tiles of rows", "tune_rows", rises, 1.01},
    {"fewer_rows", "smaller tiles of rows", "tune_rows", falls, 1.01},
    {"more_keys", "larger tiles of keys", "tune_keys", rises, 1.01},
    {"fewer_keys", "smaller tiles of keys", "tune_keys", falls, 1.01},
    {"more_lanes", "more threads for each row", "tune_lanes", rises, 1.01},
    {"fewer_lanes", "fewer threads for each row", "tune_lanes", falls, 1.01},
    {"wider_accesses", "wider accesses to global memory", "tune_bytes", rises, 1.01},
    {"narrower_accesses", "narrower accesses to global memory", "tune_bytes", falls, 1.01},
    {"more_items", "more items for each thread at once", "tune_unroll", rises, 1.01},
    {"fewer_items", "fewer items for each thread at once", "tune_unroll", falls, 1.01},
    {"more_splits", "more splits of the long axis", "tune_splits", rises, 1.01},
    {"fewer_splits", "fewer splits of the long axis", "tune_splits", falls, 1.01},
    {"more_heads", "more heads in a block", "tune_heads", rises, 1.01},
    {"fewer_heads", "fewer heads in a block", "tune_heads", falls, 1.01},
    {"swizzle", "swizzled shared memory", "tune_swizzle", appears},
    {"stream_once", "streamed data kept out of the caches", "tune_stream", appears},
    {"cache_plainly", "plain caching instead of streaming hints", "tune_stream", vanishes},
    // Shown by no measure of its own.
    {"other_change", "a change that its numbers do not name", "", appears},
};

double value_of(const KernelMeasures& measures, std::string_view name) {
  const auto found = measures.find(std::string(name));
  return found == measures.end() ? 0 : found->second;
}

bool is_shown(const TechniqueRow& row, double before, double after) {
  switch (row.difference) {
    case appears:
      return before == 0 && after > 0;
    case vanishes:
      return before > 0 && after == 0;
    case rises:
      return before > 0 && after >= row.factor * before;
    case falls:
      return after > 0 && before >= row.factor * after;
  }
  return false;
}

}  // namespace

std::span<const TechniqueRow> technique_table() { return k_techniques; }

const TechniqueRow* find_technique(std::string_view code) {
  const auto found = std::find_if(std::begin(k_techniques), std::end(k_techniques),
                                  [&](const TechniqueRow& row) { return row.code == code; });
  return found == std::end(k_techniques) ? nullptr : found;
}

std::vector<std::string> techniques_between(const KernelMeasures& before, const KernelMeasures& after) {
  std::vector<std::string> codes;
  for (const TechniqueRow& row : k_techniques)
    if (!row.measure.empty() && is_shown(row, value_of(before, row.measure), value_of(after, row.measure)))
      codes.emplace_back(row.code);
  if (codes.empty() && before != after) codes.emplace_back("other_change");
  std::sort(codes.begin(), codes.end());
  return codes;
}

std::map<std::string, std::pair<double, double>> changed_measures(const KernelMeasures& before,
                                                                  const KernelMeasures& after) {
  std::map<std::string, std::pair<double, double>> changed;
  for (const std::string& name : measure_names()) {
    const double from = value_of(before, name), to = value_of(after, name);
    if (from != to) changed[name] = {from, to};
  }
  return changed;
}

}  // namespace kernelites
