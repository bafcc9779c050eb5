// SPDX-License-Identifier: Apache-2.0
// Copies of TMA (cp.async.bulk, with and without a tensor map) and asynchronous stores to other blocks of a cluster
// (st.async, red.async): what is under way.
//
// A copy is checked when it is issued, as an access of the thread that issues it: bounds, initialisation, races, and
// whether ordinary stores before it are fenced. Its bytes move as late as they may: at the wait for its group, or when
// the block can do nothing else; with a schedule seed at moments drawn from it. Until then a destination in shared
// memory is pending, so that reading it is a fault, and a source in shared memory must not be written. A copy into
// shared memory belongs to the block whose memory it is, whoever has issued it; a multicast is one copy for each block.
#pragma once

#include <vector>

#include "evaluators/worker/vgpu/bulk_reduction.h"
#include "evaluators/worker/vgpu/order.h"
#include "evaluators/worker/vgpu/types.h"

namespace kernelites::worker::vgpu {

struct Block;
struct Instruction;
struct Warp;

/// 16 bytes of shared memory and the part of them that is copied: `bytes` from `first` on. Of a load into shared memory
/// (BulkCopy::fills) the others become zero.
struct BulkPiece {
  u32 shared = 0;
  u8 first = 0, bytes = 0;
  u8* other =
      nullptr;  ///< the other side of byte `first`: global memory, or the source of what goes into shared memory
};

struct BulkCopy {
  BulkOperator operation = BulkOperator::move;
  BulkElement element = BulkElement::bytes;  ///< of a reduction
  bool is_into_shared = false;  ///< ends at an mbarrier; else it belongs to a group of its issuer
  bool fills = false;
  std::vector<BulkPiece> pieces;
  u32 mbarrier = 0;        ///< of what goes into shared memory: where it completes
  u32 bytes = 0;           ///< that it brings there
  BlockOrder::Gate known;  ///< the same: what its issuer knew
  Block* sender =
      nullptr;  ///< the same: the block whose shared memory it reads (ReadInFlight `id`), if it does
  std::vector<u8> staged;  ///< of a store that has read its source; of st.async the values
  bool has_read = false;
  u32 warp = 0, lane = 0, pc = 0;
  u32 group = 0;  ///< of a store or reduction
  u64 id = 0;     ///< distinct in a block
};

/// A part of shared memory that something asynchronous is reading.
struct ReadInFlight {
  u32 begin = 0, end = 0;
  u32 warp = 0, pc = 0;
  u64 id = 0;            ///< of the operation
  u32 group = ~0u;       ///< of a wgmma
  bool is_sent = false;  ///< to another block: every byte of the range is read
};

/// Lets every lane that waits for an event look again.
void wake(Block& block);

/// Lets one copy make progress, because nothing else can: the oldest, or one that `random` draws, those of cp.async
/// included that an mbarrier waits for. False if none is under way.
bool advance_copies(Block& block, u64 random);
/// Completes the copies of these lanes but the `keep` latest groups; `is_read`: only as far as their sources are read.
void wait_for_bulk_groups(Warp& warp, Mask mask, u32 keep, bool is_read);
/// At the end of a block. Throws Raised for copies that the block should have waited for.
void settle_copies(Block& block);

/// Throws Raised if ordinary stores to these bytes of shared memory are not fenced for the asynchronous proxy, which is
/// about to read them for `warp`.
void require_proxied(Warp& warp, u32 lane, u32 begin, u32 bytes, const char* reader);
/// Throws Raised if something asynchronous is still reading what is about to be written.
void require_not_reading(const Block& block, u32 lane, u32 begin, u32 bytes);

/// Puts a copy into shared memory of `target` under way: marks its destination, unless it is a reduction.
void start_copy(Block& target, BulkCopy copy);

}  // namespace kernelites::worker::vgpu
