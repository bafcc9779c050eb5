// SPDX-License-Identifier: Apache-2.0
// The arithmetic of asynchronous reductions (cp.reduce.async.bulk, with and without a tensor map; red.async).
#pragma once

#include <string_view>

#include "evaluators/worker/vgpu/exact_sums.h"
#include "evaluators/worker/vgpu/types.h"

namespace kernelites::worker::vgpu {

/// `move` is no reduction: the values replace what was there.
enum class BulkOperator : u8 { move, add, min, max, inc, dec, and_, or_, xor_ };
enum class BulkElement : u8 { bytes, int_u32, int_s32, int_u64, int_s64, f16, bf16, f32, f64 };

/// Combines `bytes` bytes, a multiple of the element's size, with those at `to`.
/// `sums`: floating-point sums are kept there without roundings; null: they are rounded at every step.
void combine_bytes(BulkOperator operation, BulkElement element, u8* to, const u8* from, u32 bytes,
                   ExactSums* sums);

/// The operator of a name such as "add"; `move` for another word.
BulkOperator bulk_operator(std::string_view name);
/// The element of a type such as "u32" or "b64"; `bytes` for another word.
BulkElement bulk_element(std::string_view type);
/// Does the device have this reduction at all (PTX ISA, cp.reduce.async.bulk)?
bool is_reduction(BulkOperator operation, BulkElement element);

}  // namespace kernelites::worker::vgpu
