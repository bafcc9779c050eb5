// SPDX-License-Identifier: Apache-2.0
// The moving of bytes, and the rules about touching them meanwhile.
#include "evaluators/worker/vgpu/bulk_copy.h"

#include <algorithm>

#include <fmt/core.h>

#include "evaluators/worker/vgpu/access.h"
#include "evaluators/worker/vgpu/mbarrier.h"
#include "evaluators/worker/vgpu/ops.h"

#pragma GCC target("avx,avx2,fma,f16c,bmi,bmi2,lzcnt,popcnt")

namespace kernelites::worker::vgpu {
namespace {

constexpr u32 k_piece_bytes = 16;

u32 line_of(const Block& block, u32 pc) { return block.context->image->code[pc].line; }

/// The part of shared memory that a piece of a copy into it writes.
struct Written {
  u32 begin, bytes;
};
Written written_by(const BulkCopy& copy, const BulkPiece& piece) {
  return copy.fills ? Written{piece.shared, k_piece_bytes} : Written{piece.shared + piece.first, piece.bytes};
}

ExactSums* exact_sums_of(const Block& block) {
  const LaunchState* const state = block.context->state;
  return state ? state->sums.get() : nullptr;
}

void complete_into_shared(Block& block, BulkCopy& copy) {
  for (const BulkPiece& piece : copy.pieces) {
    const Written written = written_by(copy, piece);
    if (copy.fills) std::memset(block.shared.data() + written.begin, 0, written.bytes);
    combine_bytes(copy.operation, copy.element, block.shared.data() + piece.shared + piece.first, piece.other,
                  piece.bytes, exact_sums_of(block));
    std::memset(block.shared_state.data() + written.begin, k_written, written.bytes);
  }
  if (copy.operation == BulkOperator::move) --block.pending_copies;
  if (copy.sender != nullptr)
    std::erase_if(copy.sender->reading,
                  [&](const ReadInFlight& read) { return read.id == copy.id && read.is_sent; });
  note_cluster_change(block);
  if (LaunchState* const state = block.context->state; state != nullptr) ++state->changes;
  const auto barrier = block.mbarriers.find(copy.mbarrier);
  if (barrier != block.mbarriers.end())
    bring_bytes(block, barrier->second, copy.bytes, copy.known, BringingCopy{copy.warp, copy.lane, copy.pc});
}

void read_source(Block& block, BulkCopy& copy) {
  if (copy.has_read) return;
  copy.has_read = true;
  copy.staged.resize(copy.pieces.size() * k_piece_bytes);
  for (std::size_t k = 0; k < copy.pieces.size(); ++k)
    std::memcpy(copy.staged.data() + k * k_piece_bytes, block.shared.data() + copy.pieces[k].shared,
                k_piece_bytes);
  std::erase_if(block.reading, [&](const ReadInFlight& read) { return read.id == copy.id; });
}

void complete_store(Block& block, BulkCopy& copy) {
  read_source(block, copy);
  for (std::size_t k = 0; k < copy.pieces.size(); ++k) {
    const BulkPiece& piece = copy.pieces[k];
    if (piece.bytes != 0)
      combine_bytes(copy.operation, copy.element, piece.other,
                    copy.staged.data() + k * k_piece_bytes + piece.first, piece.bytes, exact_sums_of(block));
  }
  if (LaunchState* const state = block.context->state; state != nullptr) ++state->changes;
}

/// Takes the copy out first: completing it may wake threads, but issues nothing.
void complete(Block& block, std::size_t index) {
  BulkCopy copy = std::move(block.bulk_copies[index]);
  block.bulk_copies.erase(block.bulk_copies.begin() + static_cast<std::ptrdiff_t>(index));
  if (copy.is_into_shared)
    complete_into_shared(block, copy);
  else
    complete_store(block, copy);
}

/// Does an operation whose range is hit really read one of these bytes?
bool does_read(const Block& block, const ReadInFlight& read, u32 begin, u32 bytes) {
  auto is_hit = [&](u32 chunk) { return chunk < begin + bytes && begin < chunk + k_piece_bytes; };
  if (read.is_sent) return true;
  for (const BulkCopy& copy : block.bulk_copies) {
    if (copy.is_into_shared || copy.id != read.id) continue;
    return std::any_of(copy.pieces.begin(), copy.pieces.end(),
                       [&](const BulkPiece& piece) { return is_hit(piece.shared); });
  }
  for (const WgmmaFlight& flight : block.warps[read.warp].wgmma.flights) {
    if (flight.id == read.id) return std::any_of(flight.chunks.begin(), flight.chunks.end(), is_hit);
  }
  return false;
}

}  // namespace

bool advance_copies(Block& block, u64 random) {
  const std::size_t bulk = block.bulk_copies.size(), all = bulk + block.late_arrivals.size();
  if (all == 0) return false;
  const std::size_t index = random % all;
  if (index < bulk)
    complete(block, index);
  else
    complete_late_arrival(block, index - bulk);
  return true;
}

void wait_for_bulk_groups(Warp& warp, Mask mask, u32 keep, bool is_read) {
  Block& block = *warp.block;
  for (std::size_t k = 0; k < block.bulk_copies.size();) {
    BulkCopy& copy = block.bulk_copies[k];
    const bool is_mine = !copy.is_into_shared && copy.warp == warp.index && is_active(mask, copy.lane);
    if (!is_mine || u64{copy.group} + keep >= warp.bulk_group[copy.lane]) {
      ++k;
    } else if (is_read) {
      read_source(block, copy);
      ++k;
    } else {
      complete(block, k);
    }
  }
}

namespace {

/// A copy that the block should have waited for.
Raised unawaited(const char* what, u32 warp, u32 lane, u32 pc) {
  return {.kind = FaultKind::async_in_flight,
          .message = what,
          .lane = lane,
          .warp = static_cast<int>(warp),
          .pc = pc};
}

}  // namespace

void settle_copies(Block& block) {
  constexpr const char* k_load =
      "the block ends and nobody has waited for the mbarrier of this copy, which may still be filling shared "
      "memory";
  constexpr const char* k_store =
      "the block ends while this copy may still be reading its shared memory: a cp.async.bulk.wait_group (at "
      "least .read) is missing";
  constexpr const char* k_sent =
      "the block ends while this copy to another block may still be reading its shared memory: it must wait "
      "until the "
      "other one has received it (barrier.cluster)";
  for (const BulkCopy& copy : block.bulk_copies) {
    const bool is_load = copy.is_into_shared;
    if (is_load || !copy.has_read) throw unawaited(is_load ? k_load : k_store, copy.warp, copy.lane, copy.pc);
  }
  for (const ReadInFlight& read : block.reading)
    if (read.is_sent) throw unawaited(k_sent, read.warp, 0, read.pc);
  for (const auto& [offset, barrier] : block.mbarriers) {
    const auto& copy = barrier.coming_copy ? barrier.coming_copy : barrier.past_copy;
    if (copy) throw unawaited(k_load, copy->warp, copy->lane, copy->pc);
  }
  while (!block.bulk_copies.empty()) complete(block, 0);
}

void start_copy(Block& target, BulkCopy copy) {
  if (copy.operation == BulkOperator::move) {
    ++target.pending_copies;
    for (const BulkPiece& piece : copy.pieces) {
      const Written written = written_by(copy, piece);
      std::memset(target.shared_state.data() + written.begin, k_copy_pending, written.bytes);
    }
  }
  note_cluster_change(target);
  target.bulk_copies.push_back(std::move(copy));
}

namespace {

/// The same of what other blocks of the cluster have stored there.
void require_remote_proxied(Warp& warp, u32 lane, u32 begin, u32 bytes, const char* reader) {
  const Block& block = *warp.block;
  const auto& code = block.context->image->code;
  const RemoteAccess* const writer =
      block.remote.find_unordered(begin, bytes, false, [&](const RemoteAccess& access) {
        return (code[access.pc].flags & k_async_proxy) != 0 ||
               block.order.is_unit_proxied(warp.index, access.unit, access.stamp);
      });
  if (writer == nullptr) return;
  raise(FaultKind::missing_proxy_fence, lane,
        fmt::format("{} reads byte {} of shared memory, which block {} of the cluster wrote with an ordinary "
                    "store at line "
                    "{}: between the two a fence.proxy.async is missing",
                    reader, begin, writer->rank, line_of(block, writer->pc)));
}

}  // namespace

void require_proxied(Warp& warp, u32 lane, u32 begin, u32 bytes, const char* reader) {
  Block& block = *warp.block;
  if (!block.races.is_on()) return;
  const auto& code = block.context->image->code;
  const auto writer = block.races.find_writer(begin, bytes, [&](u32 other, u32 stamp, u32 pc) {
    return (code[pc].flags & k_async_proxy) != 0 || block.order.is_proxied(warp.index, other, stamp);
  });
  if (!writer) return require_remote_proxied(warp, lane, begin, bytes, reader);
  raise(
      FaultKind::missing_proxy_fence, lane,
      fmt::format("{} reads byte {} of shared memory, which warp {} wrote with an ordinary store at line {}: "
                  "between the two a "
                  "fence.proxy.async is missing (behind the store, before the barrier that tells the reader)",
                  reader, writer->byte, writer->warp, line_of(block, writer->pc)));
}

void require_not_reading(const Block& block, u32 lane, u32 begin, u32 bytes) {
  if (!block.context->options.checks.flights) return;
  for (const ReadInFlight& read : block.reading) {
    if (read.begin >= begin + bytes || begin >= read.end || !does_read(block, read, begin, bytes)) continue;
    raise(FaultKind::async_in_flight, lane,
          fmt::format("write of byte {} of shared memory, which the asynchronous operation of warp {} at "
                      "line {} may still be "
                      "reading: its wait is missing, or what says that the memory is free comes before it",
                      std::max(begin, read.begin), read.warp, line_of(block, read.pc)));
  }
}

}  // namespace kernelites::worker::vgpu
