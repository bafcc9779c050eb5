// SPDX-License-Identifier: Apache-2.0
// What is checked when a copy of TMA is issued (cp.async.bulk, cp.reduce.async.bulk).
#pragma once

#include "evaluators/worker/vgpu/instruction.h"

namespace kernelites::worker::vgpu {

// Instruction fields: a, offset, flags: global address, that of the tensor map, or of a copy to another block that of
// its source; c: bytes (without a map); count: coordinates (0: without a map); mode: BulkOperator; size: BulkElement;
// extra: bits below. List: shared address (register, offset), address of the mbarrier (the same), register of the
// blocks that a multicast goes to (0: no multicast), coordinates.
enum ListPlace : u32 { k_shared, k_shared_offset, k_mbarrier, k_mbarrier_offset, k_blocks, k_coordinates };
inline constexpr u16 k_into_shared = 1, k_element_of_map = 2, k_from_shared = 4;

/// Issues the copies of some lanes, between shared and global memory or from one block of a cluster to another: checks
/// both sides and puts them under way (bulk_copy.h). Throws Raised.
void issue_copy(Warp& warp, const Instruction& i, Mask mask);

}  // namespace kernelites::worker::vgpu
