// SPDX-License-Identifier: Apache-2.0
// Execution state: launch, block and warp. All of it is explicit data, so blocks can be suspended and resumed.
//
// The lanes of a warp that are not at the same instruction form groups (pc, mask). The run loop always executes the
// group with the lowest pc; groups that meet at a pc merge, which reconverges structured code without an analysis.
// Groups park at warp-wide operations until their lanes have arrived and at block barriers until the block has.
#pragma once

#include <array>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "evaluators/worker/vgpu/bulk_copy.h"
#include "evaluators/worker/vgpu/cluster.h"
#include "evaluators/worker/vgpu/exact_sums.h"
#include "evaluators/worker/vgpu/global_race.h"
#include "evaluators/worker/vgpu/instruction.h"
#include "evaluators/worker/vgpu/machine.h"
#include "evaluators/worker/vgpu/mbarrier.h"
#include "evaluators/worker/vgpu/order.h"
#include "evaluators/worker/vgpu/race.h"
#include "evaluators/worker/vgpu/wgmma_flight.h"

namespace kernelites::worker::vgpu {

struct Block;

/// Thrown by handlers, caught by the run loop's caller, which adds kernel, line, block and thread.
struct Raised {
  FaultKind kind;
  std::string message;
  u32 lane = 0;
  int warp = -1;                 ///< of the block; -1: the warp that is running
  u32 pc = 0;                    ///< with a warp: where it was
  const Block* block = nullptr;  ///< with a warp: its block, where that is not the one that is running
};

/// A read of shared bytes that nothing had written: uninitialised, or too early (see access.cpp).
struct EarlyRead {
  Raised raised;
  u32 begin = 0, end = 0;
};

/// A store over what another warp wrote with nothing to order the two. It is a race unless it left every byte as it
/// was: then the result is the same in any order.
struct Overwrite {
  struct Lane {
    Raised raised;
    const u8* at = nullptr;
    std::array<u8, 32> before{};
  };
  u32 bytes = 0;
  std::vector<Lane> lanes;
};

struct Warp;

/// Counts of one OS thread, by instruction of the kernel.
struct Tally {
  std::vector<u64> executed, lanes;
  std::vector<Traffic> traffic;  ///< memory instructions only
  std::array<u64, k_tensor_types> tensor_flops{};
  u64 divergent_branches = 0;
  bool waits_for_grid = false, lets_next_begin = false;           ///< griddepcontrol.wait, .launch_dependents
  u64 block_instructions_max = 0, longest_warp_instructions = 0;  ///< see Counts
  std::vector<std::vector<u64>> loaded, stored;                   ///< bit per 32-byte sector, by region
  std::map<std::pair<FaultKind, u32>, std::pair<u64, Fault>>
      remarks;  ///< by kind and line, with the block's number
};

/// A read of global bytes that nothing had written: uninitialised, or before another block wrote them.
struct EarlyGlobalRead {
  Fault fault;
  const Region* region = nullptr;
  u64 begin = 0, end = 0;  ///< offsets in the region
  u32 warp = 0;            ///< of the block
  u64 block = 0;
};

/// What blocks of a launch change together; one OS thread has it.
struct LaunchState {
  u64 changes = 0;                            ///< of memory, of what runs: whoever waits may go on
  std::optional<EarlyGlobalRead> early_read;  ///< the first one
  std::unique_ptr<GlobalRaces> races;         ///< null: global memory is not checked for races
  std::unique_ptr<ExactSums> sums;            ///< null: sums are rounded at every step
};

/// What all blocks of one launch share; immutable while they run.
struct LaunchContext {
  const Program* program = nullptr;
  const KernelImage* image = nullptr;
  const Launch* launch = nullptr;
  LaunchOptions options;
  const Memory* memory = nullptr;
  std::vector<Region*> windows;  ///< slots below k_first_slot; null where nothing is mapped
  std::vector<Region*> regions;  ///< allocations by index
  LaunchState* state = nullptr;  ///< null while several OS threads run
  u32 shared_bytes = 0;          ///< static and dynamic
  u32 dynamic_shared_offset = 0;
  u32 threads_per_block = 0, warps_per_block = 0;
  bool has_clusters = false;  ///< blocks have a Cluster
  u64 grid_workspace = 0;     ///< device address for cooperative groups' grid barrier

  Region* region(u64 address) const {
    const u64 slot = address >> 32;
    if (slot < k_first_slot) return slot < windows.size() ? windows[slot] : nullptr;
    const u64 index = slot % k_max_allocations;
    Region* const found = index < regions.size() ? regions[index] : nullptr;
    return found != nullptr && found->base >> 32 == slot ? found : nullptr;
  }
};

/// `event`: until a phase of an mbarrier ends, the other warps of a warpgroup have come as far, the cluster has met, or
/// the block has registers to spare.
enum class Wait : u8 { none, lanes, barrier, event };

struct Group {
  u32 pc = 0;
  Mask mask = 0;
  Wait wait = Wait::none;
  u8 barrier = 0;
};

/// One lane's cp.async that has been issued and not waited for.
struct PendingCopy {
  u32 destination = 0;
  const u8* source = nullptr;
  u8 lane = 0, bytes = 0, copied = 0;  ///< destination size; the rest behind `copied` becomes zero
  u32 group = 0;
};

/// An arrival at an mbarrier that waits for one lane's cp.async (cp.async.mbarrier.arrive).
struct LateArrival {
  u32 mbarrier = 0, warp = 0, lane = 0;
  std::vector<PendingCopy> copies;
  BlockOrder::Gate known;  ///< what the warp knew, its copies included
};

/// Where a lane goes back to: the call, and its copies of results.
struct ReturnPoint {
  u32 site = 0, list = 0, results = 0;
};

/// A warp's last strong access, and how often it has been repeated to no effect.
struct Poll {
  u64 count = 0, changes = 0;  ///< LaunchState::changes then
  u64 places = 0;              ///< a number for what its lanes touched
  u32 pc = ~0u;
};
inline constexpr u64 k_polls_before_yield = 64;

struct Warp {
  u8* registers = nullptr;
  u32 pc = 0;
  Mask active = 0;
  u32 merge_pc = ~0u;  ///< the run loop must look at the other groups when pc reaches this
  Mask alive = 0;
  Mask existing = 0;          ///< lanes that the launch started
  std::vector<Group> groups;  ///< all but the running one
  Block* block = nullptr;
  const LaunchContext* context = nullptr;
  Tally* steps = nullptr;     ///< counts executions
  Tally* tally = nullptr;     ///< counts traffic and tensor work; null: do not
  u8* local = nullptr;        ///< lane l's local memory begins at l * image.local_bytes
  u8* local_state = nullptr;  ///< one byte per byte: 0 unwritten
  u32 index = 0;              ///< in its block
  u64 executed = 0;           ///< instructions, for %clock and the budget
  std::array<u32, k_lanes> copy_group{};
  std::vector<PendingCopy> copies;
  std::array<u32, k_lanes> bulk_group{};  ///< cp.async.bulk.commit_group so far
  WgmmaFlights wgmma;
  u32 registers_each = 0;      ///< a thread's, where setmaxnreg changes them (register_budget.h)
  u32 failed_tests = 0;        ///< mbarrier.test_wait in vain, one after the other
  bool has_timed_out = false;  ///< its next wait at an mbarrier goes on without the phase
  Mask cluster_arrived = 0;    ///< lanes that have arrived at the cluster's barrier, which is still closed
  Mask cluster_passed = 0;     ///< lanes for which it has opened and that have not waited yet
  std::vector<std::array<ReturnPoint, k_lanes>> returns;  ///< [depth][lane]
  std::array<u16, k_lanes> depth{};                       ///< calls each lane is in
  std::array<u32, k_lanes> stack_top{};        ///< bytes of recursive functions' frames below this one
  std::array<std::vector<u8>, k_lanes> saved;  ///< of callers that are in a call which may lead back to them
  bool favours_running = false;  ///< do not switch to a group with a lower pc until the next slice
  bool is_done = false;
  Poll poll;
  u64 turn_end = 0;  ///< of `executed`: then the warp's turn is over
};

struct Barrier {
  u32 arrived = 0;   ///< lanes
  u32 expected = 0;  ///< 0: all threads of the block that have not exited
  u32 votes = 0;     ///< lanes whose predicate held (bar.red)
  u32 voters = 0;
  bool has_arrivals = false;  ///< some went on without waiting
};
inline constexpr u32 k_barriers = 16;

/// State of a shared byte.
inline constexpr u8 k_unwritten = 0, k_written = 1, k_copy_pending = 2;

struct Block {
  const LaunchContext* context = nullptr;
  u64 index = 0;
  Dim3 id = {0, 0, 0};
  std::vector<Warp> warps;
  std::vector<u8> shared, shared_state;
  std::array<Barrier, k_barriers> barriers{};
  BlockOrder order;
  RaceDetector races;
  Publications published;                ///< by strong accesses to shared memory
  std::unique_ptr<Overwrite> overwrite;  ///< of the store that is being executed
  std::optional<EarlyRead> early_read;   ///< the first one of this interval
  u32 pending_copies = 0;                ///< asynchronous copies into shared memory that are under way
  MBarriers mbarriers;
  std::vector<BulkCopy> bulk_copies;  ///< under way, oldest first
  std::vector<LateArrival> late_arrivals;
  std::vector<ReadInFlight> reading;  ///< shared memory that asynchronous operations are reading
  std::vector<WgmmaGroups> warpgroups;
  u32 uncomputed_products = 0;            ///< wgmma in flight
  Cluster* cluster = nullptr;             ///< null: the kernel does not use it
  u32 rank = 0;                           ///< in the cluster
  Clock met;                              ///< how far units of other blocks had come when the block met them
  RemoteAccesses remote;                  ///< what other blocks of the cluster did to the shared memory
  std::optional<EarlyRead> early_remote;  ///< the first one by another block
  u64 stuck_at = 0;                       ///< Cluster::changes when no warp could go on
  u64 operations = 0;                     ///< asynchronous ones so far: their ids
  u32 spare_registers = 0;  ///< of the pool that setmaxnreg takes from: a thread's, summed over warps
  u32 timeouts = 0;         ///< of waits at mbarriers since the last phase ended
  bool gives_way = false;   ///< other blocks shall run now
  bool is_done = false;
  // Backing of the warps' pointers.
  std::unique_ptr<u8[]> arena;
  std::vector<u8> local, local_state;
  u64 random = 0;  ///< of the schedule; 0: in order
};

/// What was thrown, with kernel, line, block, thread and instruction. `warp`: of Raised::warp -1; null if unknown.
Fault located(const Raised& raised, const LaunchContext& context, const Block& running, const Warp* warp);
[[noreturn]] void raise(FaultKind kind, u32 lane, std::string message);
/// Notes something that is no fault at the instruction that the warp executes; of several blocks the first counts.
void remark(Warp& warp, FaultKind kind, u32 lane, std::string message);

inline u32 lowest_lane(Mask mask) { return static_cast<u32>(__builtin_ctz(mask)); }
inline u32 lane_count(Mask mask) { return static_cast<u32>(__builtin_popcount(mask)); }

/// Can a group of the warp make progress, as far as barriers are concerned?
bool can_run(const Warp& warp);
/// Runs a warp until it waits at a barrier, ends, or has executed `quantum` instructions. Throws Raised.
/// Returns the number of instructions executed.
u64 run_warp(Warp& warp, u64 quantum);
/// Makes the next runnable group the running one. False: none can run (all wait at barriers, or have exited).
bool pick_group(Warp& warp);

/// Arrival of the running group at a block barrier; it goes on behind the barrier only after an arrive.
void arrive_at_barrier(Warp& warp, const Instruction& i, Mask mask);
/// Opens every barrier whose threads have all arrived; true if one opened.
bool open_barriers(Block& block);
/// Says who waits where; throws Raised with a deadlock.
[[noreturn]] void report_deadlock(const Block& block, const Warp*& culprit);

/// Can no warp of the block go on, as far as `polls` fruitless looks at memory tell? It waits for other blocks then.
bool is_waiting(const Block& block, u64 polls);
/// The same of a block that nothing but memory can wake: a copy under way would, and warps that are all parked at
/// barriers go on, or are found to be stuck, when the block runs again.
bool is_polling(const Block& block, u64 polls);
/// Every resident block waits: throws Raised with a deadlock.
[[noreturn]] void report_spinning(const Block& block, const Warp*& culprit, bool has_more_blocks);

/// Allocates the state of a block (registers, shared and local memory) for a launch.
void allocate_block(Block& block, const LaunchContext& context, Tally& tally);
/// Makes an allocated block ready to run as number `index` of the grid.
void start_block(Block& block, u64 index);
/// Runs a block until it is done or has executed `limit` instructions; returns how many. Throws Raised, having set
/// `culprit` to the warp at fault.
u64 run_block(Block& block, u64 limit, const Warp*& culprit);

}  // namespace kernelites::worker::vgpu
