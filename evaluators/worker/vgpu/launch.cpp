// SPDX-License-Identifier: Apache-2.0
// A launch: validation, the address space, blocks over OS threads and time slices, counts and the first fault.
#include <algorithm>
#include <atomic>
#include <mutex>
#include <numeric>
#include <thread>

#include <fmt/core.h>

#include "engine/core/error.h"
#include "evaluators/worker/vgpu/launch_limits.h"
#include "evaluators/worker/vgpu/program.h"
#include "evaluators/worker/vgpu/tally.h"
#include "evaluators/worker/vgpu/warp.h"

namespace kernelites::worker::vgpu {
namespace {

constexpr u64 k_slice = 1u << 22;  ///< instructions before another block gets a turn
constexpr u64 k_cooperative_slice = 1u << 15;
constexpr u64 k_seeded_slice = 1u << 10;
/// By each warp, while memory stays as it is; shared by the open blocks, at least k_polls_before_yield.
constexpr u64 k_polls_of_deadlock = 4096;
constexpr u64 k_max_units = u64{1} << 24;          ///< warps of a grid that the race detector can tell apart
constexpr u64 k_max_tracked_units = u64{1} << 16;  ///< the same where their order is kept by warp
constexpr u64 k_max_shuffled_blocks = u64{1} << 24;  ///< larger grids start in order, whatever the seed

void map_regions(LaunchContext& context, const Program& program, Memory& memory) {
  const auto& module = memory.module_of(program);
  context.memory = &memory;
  context.windows.assign(k_module_slot + module.size(), nullptr);
  for (const auto& variable : module) context.windows[variable->region.base >> 32] = &variable->region;
  for (const auto& allocation : memory.allocations())
    context.regions.push_back(allocation ? &allocation->region : nullptr);
}

u64 next_draw(u64& state) {
  state = state * 6364136223846793005ull + 1442695040888963407ull;
  return state >> 33;
}

/// The block indices to run, in the order in which they start. A list only where they are not simply 0, 1, 2, ...: a
/// grid may have 2^31 blocks.
struct StartOrder {
  u64 count = 0;
  std::vector<u64> listed;

  u64 at(u64 position) const { return listed.empty() ? position : listed[position]; }
};

/// `count` places of an axis, one drawn from each of as many equal parts, in an order drawn too.
std::vector<u64> drawn_places(u64 extent, u64 count, u64& state) {
  std::vector<u64> places(count);
  for (u64 k = 0; k < count; ++k) {
    const u64 draw = next_draw(state);
    places[k] = static_cast<u64>((u128{k} << 31 | (draw & 0x7fffffff)) * extent / (u128{count} << 31));
  }
  for (u64 k = count; k > 1; --k) std::swap(places[k - 1], places[next_draw(state) % k]);
  return places;
}

/// Blocks spread over every axis of the grid alike (a Latin hypercube), each once, ascending: where the work of a block
/// grows along an axis, as under a causal mask, a few of them stand for all.
std::vector<u64> sampled_blocks(const Dim3& grid, u64 count, u64 seed) {
  u64 state = seed;
  const std::vector<u64> x = drawn_places(grid.x, count, state), y = drawn_places(grid.y, count, state),
                         z = drawn_places(grid.z, count, state);
  std::vector<u64> blocks;
  for (u64 k = 0; k < count; ++k) blocks.push_back(x[k] + grid.x * (y[k] + u64{grid.y} * z[k]));
  std::sort(blocks.begin(), blocks.end());
  blocks.erase(std::unique(blocks.begin(), blocks.end()), blocks.end());
  return blocks;
}

StartOrder start_order(const Launch& launch, const LaunchOptions& options) {
  if (!options.only_blocks.empty()) return {options.only_blocks.size(), options.only_blocks};
  const u64 total = launch.grid.count();
  const u64 count = options.sample ? std::clamp<u64>(options.sample->blocks, 1, total) : total;
  const bool is_drawn = options.schedule_seed != 0 && count <= k_max_shuffled_blocks;
  StartOrder order{.count = count, .listed = {}};
  if (options.sample && count < total) {
    order.listed = sampled_blocks(launch.grid, count, options.sample->seed);
    order.count = order.listed.size();
    return order;
  }
  if (!is_drawn) return order;
  order.listed.resize(count);
  std::iota(order.listed.begin(), order.listed.end(), u64{0});
  u64 state = options.schedule_seed;
  for (u64 k = count; is_drawn && k > 1; --k)
    std::swap(order.listed[k - 1], order.listed[next_draw(state) % k]);
  return order;
}

/// Shared by the OS threads of a launch.
struct Progress {
  std::atomic<u64> next{0};
  std::atomic<u64> fault_position{~u64{0}};
  std::atomic<u64> executed{0};
  std::mutex mutex;
  std::optional<Fault> fault;
  std::vector<u64> given_up;
};

struct OpenBlock {
  std::unique_ptr<Block> block;
  u64 position = 0;
};

/// One OS thread's share: takes blocks in order, runs them in slices, keeps those that are not done open.
class Worker {
 public:
  Worker(const LaunchContext& context, const StartOrder& order, Progress& progress, Tally& tally,
         u64 residents)
      : context_(context),
        order_(order),
        progress_(progress),
        tally_(tally),
        residents_(residents),
        random_(context.options.schedule_seed) {}

  void run() {
    const bool is_cooperative = context_.launch->cooperative;
    const bool is_seeded = context_.options.schedule_seed != 0;
    const bool is_interleaved = is_cooperative || context_.image->needs_order;
    const u64 slice = is_interleaved && is_seeded ? k_seeded_slice
                      : is_cooperative            ? k_cooperative_slice
                                                  : k_slice;
    const u64 budgeted = std::min(slice, context_.options.instruction_budget + 1);
    while (open_next(is_cooperative) || !open_.empty()) {
      const std::size_t turn = (is_seeded ? next_draw(random_) : turn_) % open_.size();
      ++turn_;
      if (!advance(open_[turn], budgeted)) return;
      if (open_[turn].block->is_done) {
        count_block(*open_[turn].block);
        spare_.push_back(std::move(open_[turn].block));
        open_.erase(open_.begin() + static_cast<std::ptrdiff_t>(turn));
      }
    }
  }

 private:
  void count_block(const Block& block) {
    u64 all = 0, longest = 0;
    for (const Warp& warp : block.warps) {
      all += warp.executed;
      longest = std::max(longest, warp.executed);
    }
    tally_.block_instructions_max = std::max(tally_.block_instructions_max, all);
    tally_.longest_warp_instructions += longest;
  }

  /// Starts another block: all of a cooperative grid at once, else one when the open ones had their slice.
  bool open_next(bool is_cooperative) {
    bool any = false;
    while (open_.size() < residents_ && (is_cooperative || open_.empty() || turn_ % open_.size() == 0)) {
      const u64 position = progress_.next.fetch_add(1);
      if (position >= order_.count || position > progress_.fault_position.load()) break;
      std::unique_ptr<Block> block;
      if (!spare_.empty()) {
        block = std::move(spare_.back());
        spare_.pop_back();
      } else {
        block = std::make_unique<Block>();
        allocate_block(*block, context_, tally_);
      }
      start_block(*block, order_.at(position));
      open_.push_back({std::move(block), position});
      any = true;
      if (!is_cooperative) break;
    }
    return any;
  }

  /// Do all running blocks poll memory that nobody changes?
  bool is_stuck(const Block& latest) const {
    const u64 polls = std::max(k_polls_before_yield, k_polls_of_deadlock / open_.size());
    if (latest.is_done || !is_polling(latest, polls)) return false;
    const bool can_start = open_.size() < residents_ && progress_.next.load() < order_.count;
    return !can_start && std::all_of(open_.begin(), open_.end(), [polls](const OpenBlock& open) {
      return is_polling(*open.block, polls);
    });
  }

  bool advance(OpenBlock& open, u64 slice) {
    const Warp* culprit = nullptr;
    try {
      const u64 executed = run_block(*open.block, slice, culprit);
      if (is_stuck(*open.block)) report_spinning(*open.block, culprit, progress_.next.load() < order_.count);
      const u64 total = progress_.executed.fetch_add(executed) + executed;
      if (total > context_.options.instruction_budget) {
        culprit = nullptr;
        for (const Warp& warp : open.block->warps) {
          if (culprit == nullptr && !warp.is_done) culprit = &warp;
        }
        raise(FaultKind::budget_exceeded, 0,
              fmt::format("more than {} warp instructions: an endless loop, or far too much work",
                          context_.options.instruction_budget));
      }
      return open.position < progress_.fault_position.load();
    } catch (const Raised& thrown) {
      if (lacks_others(thrown)) return give_up(open);
      // What follows a read of unwritten memory is its consequence.
      const auto& early = open.block->early_read;
      const Raised& raised = early && thrown.kind != FaultKind::race ? early->raised : thrown;
      const LaunchState* const state = context_.state;
      const bool is_consequence = state != nullptr && state->early_read && thrown.kind != FaultKind::race;
      const std::lock_guard lock(progress_.mutex);
      if (open.position < progress_.fault_position.load()) {
        progress_.fault_position = open.position;
        progress_.fault =
            is_consequence ? state->early_read->fault : located(raised, context_, *open.block, culprit);
      }
      return false;
    }
  }

  /// In a part of a grid: what the blocks that do not run would have written or released is missing.
  bool lacks_others(const Raised& raised) const {
    return !context_.options.only_blocks.empty() &&
           (raised.kind == FaultKind::uninitialised || raised.kind == FaultKind::deadlock);
  }

  bool give_up(OpenBlock& open) {
    open.block->is_done = true;
    const std::lock_guard lock(progress_.mutex);
    progress_.given_up.push_back(order_.at(open.position));
    return true;
  }

  const LaunchContext& context_;
  const StartOrder& order_;
  Progress& progress_;
  Tally& tally_;
  u64 residents_;
  std::vector<OpenBlock> open_;
  std::vector<std::unique_ptr<Block>> spare_;
  u64 turn_ = 0;
  u64 random_;
};

}  // namespace

Fault located(const Raised& raised, const LaunchContext& context, const Block& block, const Warp* warp) {
  Fault fault{.kind = raised.kind,
              .message = raised.message,
              .kernel = context.image->name,
              .line = 0,
              .block = block.id,
              .thread = {0, 0, 0},
              .instruction = {}};
  if (raised.warp >= 0) warp = &block.warps[static_cast<std::size_t>(raised.warp)];
  if (warp == nullptr) return fault;
  const Dim3 size = context.launch->block;
  const u32 thread = warp->index * k_lanes + raised.lane;
  fault.thread = {thread % size.x, thread / size.x % size.y, thread / (size.x * size.y)};
  u32 pc = raised.warp >= 0 ? raised.pc : warp->pc;
  for (const Group& group : warp->groups) {
    if (raised.kind == FaultKind::deadlock && group.wait == Wait::barrier) pc = group.pc - 1;
    if (raised.kind == FaultKind::deadlock && group.wait == Wait::event) pc = group.pc;
  }
  if (pc >= context.image->code.size()) return fault;
  fault.line = static_cast<int>(context.image->code[pc].line);
  for (char c : context.image->texts[pc]) {
    const bool is_blank = c == '\n' || c == '\t' || c == ' ';
    if (is_blank && (fault.instruction.empty() || fault.instruction.back() == ' ')) continue;
    fault.instruction += is_blank ? ' ' : c;
  }
  return fault;
}

LaunchResult run(const Program& program, Memory& memory, const Launch& launch, const LaunchOptions& options) {
  const KernelImage* image = program.find(launch.kernel);
  if (auto fault = validate(image, launch)) return {std::move(fault), {}};
  LaunchContext context;
  context.program = &program;
  context.image = image;
  context.launch = &launch;
  context.options = options;
  context.threads_per_block = static_cast<u32>(launch.block.count());
  context.warps_per_block = (context.threads_per_block + k_lanes - 1) / k_lanes;
  context.dynamic_shared_offset = (image->static_shared_bytes + 15) / 16 * 16;
  context.shared_bytes = launch.dynamic_shared_bytes > 0
                             ? context.dynamic_shared_offset + launch.dynamic_shared_bytes
                             : image->static_shared_bytes;
  map_regions(context, program, memory);
  // Cooperative groups finds its grid barrier through %envreg1 and %envreg2: a size and a counter.
  std::vector<u8> workspace(64, 0);
  Region grid{.name = "grid barrier",
              .base = (k_grid_slot << 32) + k_slot_offset,
              .bytes = workspace.size(),
              .host = workspace.data(),
              .index = k_max_allocations + k_module_slots};
  if (launch.cooperative) {
    context.windows[k_grid_slot] = &grid;
    context.grid_workspace = grid.base;
  }

  const StartOrder order = start_order(launch, options);
  // Conflicts between blocks are told apart by who came first: one thread, so that it is always the same one.
  const u64 units = launch.grid.count() * context.warps_per_block;
  const bool checks_global = options.checks.races && options.checks.global_races &&
                             units < (image->tracks_order ? k_max_tracked_units : k_max_units);
  const bool is_ordered = image->needs_order || launch.cooperative || checks_global;
  const u64 threads = is_ordered ? 1 : std::clamp<u64>(options.threads, 1, std::min<u64>(order.count, 256));
  const u64 resident_blocks = resident_block_limit(context, order.count);
  if (resident_blocks == 0) {
    return {launch_fault(launch,
                         fmt::format("the state of a cooperative grid of {} blocks does not fit into 4 GiB",
                                     order.count)),
            {}};
  }
  LaunchState state;
  if (checks_global) state.races = std::make_unique<GlobalRaces>(image->global_granule, image->tracks_order);
  if (threads == 1) context.state = &state;
  Progress progress;
  std::vector<Tally> tallies(threads);
  std::vector<std::thread> pool;
  for (Tally& tally : tallies) start_tally(tally, *image);
  auto work = [&](Tally& tally) { Worker(context, order, progress, tally, resident_blocks).run(); };
  for (u64 k = 1; k < threads; ++k) pool.emplace_back(work, std::ref(tallies[k]));
  work(tallies[0]);
  for (std::thread& thread : pool) thread.join();

  LaunchResult result;
  result.fault = std::move(progress.fault);
  if (!result.fault && state.early_read) result.fault = std::move(state.early_read->fault);
  result.given_up = std::move(progress.given_up);
  const double factor =
      static_cast<double>(launch.grid.count()) / static_cast<double>(std::max<u64>(order.count, 1));
  if (!result.fault && options.collect_counts) result.counts = sum_tallies(tallies, *image, factor);
  result.counts.blocks_total = launch.grid.count();
  result.counts.blocks_run = order.count;
  result.counts.warps_per_block = context.warps_per_block;
  return result;
}

}  // namespace kernelites::worker::vgpu
