// SPDX-License-Identifier: Apache-2.0
// A launch: validation, the address space, blocks over OS threads and time slices, counts and the first fault.
#include <algorithm>
#include <atomic>
#include <mutex>
#include <thread>

#include <fmt/core.h>

#include "engine/core/error.h"
#include "evaluators/worker/vgpu/launch_limits.h"
#include "evaluators/worker/vgpu/program.h"
#include "evaluators/worker/vgpu/start_order.h"
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

void map_regions(LaunchContext& context, const Program& program, Memory& memory) {
  const auto& module = memory.module_of(program);
  context.memory = &memory;
  context.windows.assign(k_module_slot + module.size(), nullptr);
  for (const auto& variable : module) context.windows[variable->region.base >> 32] = &variable->region;
  for (const auto& allocation : memory.allocations())
    context.regions.push_back(allocation ? &allocation->region : nullptr);
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

/// A block, or the blocks of a cluster, that run.
struct OpenCluster {
  std::vector<std::unique_ptr<Block>> blocks;  ///< by rank
  std::unique_ptr<Cluster> cluster;            ///< null where the kernel does not use it
  u64 position = 0;
  u64 turn = 0;

  bool is_done() const {
    return std::all_of(blocks.begin(), blocks.end(), [](const auto& block) { return block->is_done; });
  }
};

/// One OS thread's share: takes clusters in order, runs their blocks in slices, keeps those that are not done open.
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
    const bool is_interleaved =
        is_cooperative || context_.image->needs_order || context_.launch->cluster.count() > 1;
    const u64 slice = is_interleaved && is_seeded ? k_seeded_slice
                      : is_cooperative            ? k_cooperative_slice
                                                  : k_slice;
    const u64 budgeted = std::min(slice, context_.options.instruction_budget + 1);
    while (open_next(is_cooperative) || !open_.empty()) {
      const std::size_t turn = (is_seeded ? next_draw(random_) : turn_) % open_.size();
      ++turn_;
      if (!advance(open_[turn], budgeted)) return;
      if (open_[turn].is_done()) {
        for (auto& block : open_[turn].blocks) {
          count_block(*block);
          spare_.push_back(std::move(block));
        }
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

  std::unique_ptr<Block> fresh_block() {
    if (!spare_.empty()) {
      std::unique_ptr<Block> block = std::move(spare_.back());
      spare_.pop_back();
      return block;
    }
    auto block = std::make_unique<Block>();
    allocate_block(*block, context_, tally_);
    return block;
  }

  OpenCluster started(u64 position) {
    OpenCluster open{.blocks = {}, .cluster = nullptr, .position = position};
    const u64 size = context_.launch->cluster.count();
    if (context_.has_clusters) open.cluster = std::make_unique<Cluster>();
    for (u64 rank = 0; rank < size; ++rank) {
      open.blocks.push_back(fresh_block());
      Block& block = *open.blocks.back();
      block.cluster = open.cluster.get();
      block.rank = static_cast<u32>(rank);
      if (block.cluster != nullptr) block.cluster->blocks.push_back(&block);
      start_block(block, block_of(*context_.launch, order_.at(position), rank));
    }
    return open;
  }

  /// Starts another cluster: all of a cooperative grid at once, else one when the open ones had their slice.
  bool open_next(bool is_cooperative) {
    bool any = false;
    while (open_.size() < residents_ && (is_cooperative || open_.empty() || turn_ % open_.size() == 0)) {
      const u64 position = progress_.next.fetch_add(1);
      if (position >= order_.count || position > progress_.fault_position.load()) break;
      open_.push_back(started(position));
      any = true;
      if (!is_cooperative) break;
    }
    return any;
  }

  /// Do all running blocks poll memory that nobody changes?
  bool is_stuck(const Block& latest) const {
    const u64 polls = std::max(k_polls_before_yield, k_polls_of_deadlock / open_.size());
    const bool runs =
        std::any_of(latest.warps.begin(), latest.warps.end(), [](const Warp& warp) { return can_run(warp); });
    if (!runs || !is_polling(latest, polls)) return false;
    const bool can_start = open_.size() < residents_ && progress_.next.load() < order_.count;
    return !can_start && std::all_of(open_.begin(), open_.end(), [polls](const OpenCluster& open) {
      return std::all_of(open.blocks.begin(), open.blocks.end(),
                         [polls](const auto& block) { return is_polling(*block, polls); });
    });
  }

  /// The next block of a cluster that is not done. REQUIRES: there is one.
  Block& next_block(OpenCluster& open) {
    const std::size_t size = open.blocks.size();
    const bool is_seeded = context_.options.schedule_seed != 0 && size > 1;
    std::size_t at = (is_seeded ? next_draw(random_) : open.turn++) % size;
    while (open.blocks[at]->is_done) at = (at + 1) % size;
    return *open.blocks[at];
  }

  bool advance(OpenCluster& open, u64 slice) {
    const Warp* culprit = nullptr;
    Block& block = next_block(open);
    try {
      const u64 executed = run_block(block, slice, culprit);
      if (is_stuck(block)) report_spinning(block, culprit, progress_.next.load() < order_.count);
      const u64 total = progress_.executed.fetch_add(executed) + executed;
      if (total > context_.options.instruction_budget) {
        culprit = nullptr;
        for (const Warp& warp : block.warps) {
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
      const EarlyRead* const early = early_read_of(open);
      const Raised& raised = early != nullptr && thrown.kind != FaultKind::race ? early->raised : thrown;
      const LaunchState* const state = context_.state;
      const bool is_consequence = state != nullptr && state->early_read && thrown.kind != FaultKind::race;
      const std::lock_guard lock(progress_.mutex);
      if (open.position < progress_.fault_position.load()) {
        progress_.fault_position = open.position;
        progress_.fault =
            is_consequence ? state->early_read->fault : located(raised, context_, block, culprit);
      }
      return false;
    }
  }

  /// In a part of a grid: what the blocks that do not run would have written or released is missing.
  bool lacks_others(const Raised& raised) const {
    return !context_.options.only_blocks.empty() &&
           (raised.kind == FaultKind::uninitialised || raised.kind == FaultKind::deadlock);
  }

  /// What a block has read before it was written, if nothing has been decided about that yet.
  static const EarlyRead* early_read_of(const OpenCluster& open) {
    for (const auto& block : open.blocks) {
      if (block->early_read) return &*block->early_read;
      if (block->early_remote) return &*block->early_remote;
    }
    return nullptr;
  }

  bool give_up(OpenCluster& open) {
    const std::lock_guard lock(progress_.mutex);
    for (const auto& block : open.blocks) {
      block->is_done = true;
      progress_.given_up.push_back(block->index);
    }
    return true;
  }

  const LaunchContext& context_;
  const StartOrder& order_;
  Progress& progress_;
  Tally& tally_;
  u64 residents_;
  std::vector<OpenCluster> open_;
  std::vector<std::unique_ptr<Block>> spare_;
  u64 turn_ = 0;
  u64 random_;
};

}  // namespace

Fault located(const Raised& raised, const LaunchContext& context, const Block& running, const Warp* warp) {
  const Block& block = raised.block != nullptr ? *raised.block : running;
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

void remark(Warp& warp, FaultKind kind, u32 lane, std::string message) {
  auto& remarks = warp.steps->remarks;
  const u64 number = warp.block->index;
  const u32 line = warp.context->image->code[warp.pc].line;
  const auto found = remarks.find({kind, line});
  if (found == remarks.end() ? remarks.size() == k_max_remarks : found->second.first <= number) return;
  remarks.insert_or_assign({kind, line}, std::pair(number, located({kind, std::move(message), lane},
                                                                   *warp.context, *warp.block, &warp)));
}

namespace {

void tell_remarks(const std::vector<Tally>& tallies, LaunchResult& result) {
  std::map<std::pair<FaultKind, u32>, std::pair<u64, Fault>> first;
  for (const Tally& tally : tallies) {
    result.waits_for_grid |= tally.waits_for_grid;
    result.lets_next_begin |= tally.lets_next_begin;
    for (const auto& [place, told] : tally.remarks) {
      const auto [known, is_new] = first.try_emplace(place, told);
      if (!is_new && told.first < known->second.first) known->second = told;
    }
  }
  for (auto& [place, told] : first)
    if (result.remarks.size() < k_max_remarks) result.remarks.push_back(std::move(told.second));
}

}  // namespace

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
  context.has_clusters = launch.cluster.count() > 1 || image->uses_cluster;
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
  const u64 cluster_size = launch.cluster.count();
  const bool is_ordered =
      image->needs_order || launch.cooperative || checks_global || cluster_size > 1 || options.adds_exactly;
  const u64 threads = is_ordered ? 1 : std::clamp<u64>(options.threads, 1, std::min<u64>(order.count, 256));
  const u64 resident_clusters = resident_cluster_limit(context, order.count);
  if (resident_clusters == 0) {
    return {launch_fault(launch, fmt::format("the state of a {} of {} blocks does not fit into 4 GiB",
                                             launch.cooperative ? "cooperative grid" : "cluster",
                                             launch.cooperative ? order.count * cluster_size : cluster_size)),
            {}};
  }
  LaunchState state{.sums = options.adds_exactly ? std::make_unique<ExactSums>() : nullptr};
  if (checks_global) state.races = std::make_unique<GlobalRaces>(image->global_granule, image->tracks_order);
  if (threads == 1) context.state = &state;
  Progress progress;
  std::vector<Tally> tallies(threads);
  std::vector<std::thread> pool;
  for (Tally& tally : tallies) start_tally(tally, *image);
  auto work = [&](Tally& tally) { Worker(context, order, progress, tally, resident_clusters).run(); };
  for (u64 k = 1; k < threads; ++k) pool.emplace_back(work, std::ref(tallies[k]));
  work(tallies[0]);
  for (std::thread& thread : pool) thread.join();

  LaunchResult result;
  result.fault = std::move(progress.fault);
  if (!result.fault && state.early_read) result.fault = std::move(state.early_read->fault);
  result.given_up = std::move(progress.given_up);
  tell_remarks(tallies, result);
  const u64 blocks_run = order.count * cluster_size;
  const double factor =
      static_cast<double>(launch.grid.count()) / static_cast<double>(std::max<u64>(blocks_run, 1));
  if (!result.fault && options.collect_counts) result.counts = sum_tallies(tallies, *image, factor);
  result.counts.blocks_total = launch.grid.count();
  result.counts.blocks_run = blocks_run;
  result.counts.warps_per_block = context.warps_per_block;
  return result;
}

}  // namespace kernelites::worker::vgpu
