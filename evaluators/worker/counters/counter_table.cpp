// SPDX-License-Identifier: Apache-2.0
// The table of counters.
#include "evaluators/worker/counters/counter_table.h"

#include <algorithm>

namespace kernelites::worker {
namespace {

using enum CounterGroup;

constexpr CounterRow k_counters[] = {
    {"time_ns", "gpu__time_duration.sum", physics, "ns", "duration as the profiler sees it"},
    {"dram_read_bytes", "dram__bytes_read.sum", physics, "bytes", "read from device memory"},
    {"dram_write_bytes", "dram__bytes_write.sum", physics, "bytes", "written to device memory"},
    {"evict_last_requests", "lts__t_requests_evict_last.sum", physics, "requests",
     "requests that ask the L2 to keep their lines"},
    {"host_memory_sectors", "lts__t_sectors_aperture_sysmem.sum", physics, "sectors",
     "32-byte sectors of host memory"},
    {"sm_cycles", "sm__cycles_elapsed.max", physics, "cycles", "from start to end"},
    {"blocks", "sm__ctas_launched.sum", physics, "blocks", "launched"},
    {"tensor_bf16_operations", "sm__ops_path_tensor_src_bf16_dst_fp32.sum", physics, "operations",
     "bf16 tensor operations, of mma.sync and wgmma"},
    {"tensor_fp8_operations", "sm__ops_path_tensor_src_fp8.sum", physics, "operations",
     "fp8 tensor operations"},

    {"issue_active_percent", "smsp__issue_active.avg.pct_of_peak_sustained_active", overview, "%",
     "cycles in which a scheduler issued an instruction"},
    {"warps_active_percent", "sm__warps_active.avg.pct_of_peak_sustained_active", overview, "%",
     "resident warps, of what an SM can hold"},
    {"tensor_active_percent", "sm__pipe_tensor_cycles_active.avg.pct_of_peak_sustained_active", overview, "%",
     "cycles in which the tensor cores worked"},
    {"special_instructions", "sm__inst_executed_pipe_xu.sum", overview, "warp instructions",
     "exponentials, roots, reciprocals and conversions"},
    {"l2_read_sectors", "lts__t_sectors_op_read.sum", overview, "sectors",
     "32-byte sectors read from the L2"},
    {"l2_write_sectors", "lts__t_sectors_op_write.sum", overview, "sectors",
     "32-byte sectors written to the L2"},
    {"shared_bank_conflicts", "l1tex__data_bank_conflicts_pipe_lsu_mem_shared.sum", overview, "wavefronts",
     "further wavefronts of shared-memory requests because of bank conflicts"},

    {"l2_read_hit_sectors", "lts__t_sectors_op_read_lookup_hit.sum", tensor, "sectors",
     "32-byte sectors read from the L2 that were there"},
    {"instructions", "smsp__inst_executed.sum", tensor, "warp instructions", "executed"},
    {"local_loads", "smsp__inst_executed_op_local_ld.sum", tensor, "warp instructions",
     "loads of local memory: spilled registers and arrays with computed indices"},
    {"local_stores", "smsp__inst_executed_op_local_st.sum", tensor, "warp instructions",
     "stores to local memory"},
    {"tensor_fp16_operations", "sm__ops_path_tensor_op_hgmma_src_fp16.sum", tensor, "operations",
     "fp16 tensor operations of wgmma"},
    {"tensor_int8_operations", "sm__ops_path_tensor_op_igmma_src_int8.sum", tensor, "operations",
     "int8 tensor operations of wgmma"},
    {"l1_fill_bytes", "l1tex__m_xbar2l1tex_read_bytes.sum", tensor, "bytes",
     "moved from the L2 into SMs, TMA included"},

    {"stall_long_scoreboard", "smsp__average_warps_issue_stalled_long_scoreboard_per_issue_active.ratio",
     stalls_memory, "warps", "waiting for loads of global or local memory"},
    {"stall_short_scoreboard", "smsp__average_warps_issue_stalled_short_scoreboard_per_issue_active.ratio",
     stalls_memory, "warps", "waiting for shared memory or special functions"},
    {"stall_barrier", "smsp__average_warps_issue_stalled_barrier_per_issue_active.ratio", stalls_barrier,
     "warps", "waiting at a block barrier"},
    {"stall_gmma", "smsp__average_warps_issue_stalled_gmma_per_issue_active.ratio", stalls_barrier, "warps",
     "waiting for wgmma"},
    {"stall_math_pipe", "smsp__average_warps_issue_stalled_math_pipe_throttle_per_issue_active.ratio",
     stalls_issue, "warps", "waiting for a busy arithmetic pipe"},
    {"stall_wait", "smsp__average_warps_issue_stalled_wait_per_issue_active.ratio", stalls_issue, "warps",
     "waiting out a fixed latency"},
};

constexpr std::string_view k_group_names[] = {"physics",       "overview",       "tensor",
                                              "stalls_memory", "stalls_barrier", "stalls_issue"};

}  // namespace

std::string_view to_string(CounterGroup group) { return k_group_names[static_cast<std::size_t>(group)]; }

std::span<const CounterRow> counter_table() { return k_counters; }

std::span<const CounterRow> counters_of(CounterGroup group) {
  const auto belongs = [group](const CounterRow& row) { return row.group == group; };
  const auto* const first = std::find_if(std::begin(k_counters), std::end(k_counters), belongs);
  return {first, std::find_if_not(first, std::end(k_counters), belongs)};
}

}  // namespace kernelites::worker
