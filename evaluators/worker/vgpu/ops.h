// SPDX-License-Identifier: Apache-2.0
// What ops files share: operand placement for the common shapes, and element-wise functors.
#pragma once

#include <initializer_list>

#include "evaluators/worker/vgpu/decoder.h"
#include "evaluators/worker/vgpu/warp.h"

namespace kernelites::worker::vgpu {

/// Places d and the sources a, b, c, e, each `bytes` wide, from the statement's operands; sets handler and class.
/// False if the handler is null or operands are missing.
bool place(Decoder& decoder, const Statement& statement, Instruction& i, Handler handler, OpClass op_class,
           u32 sources, u32 bytes);

/// As `place`, for a result of `result` bytes and sources of different widths, for a, b, c, e.
bool place_mixed(Decoder& decoder, const Statement& statement, Instruction& i, Handler handler, u32 result,
                 std::initializer_list<u32> widths);

/// Elements that a statement moves at once: .v2, .v4, .v8; else 1.
u32 vector_width(const Statement& statement);

/// Decodes add, sub, mad with .cc (ops_carry.cpp).
bool decode_carry(Decoder& decoder, const Statement& statement, Instruction& i);
/// Decodes add, min, max of 16-bit pairs, and min, max with .relu (ops_packed.cpp).
bool decode_packed(Decoder& decoder, const Statement& statement, Instruction& i);

/// Decodes add, sub, mul, fma, min, ... of a floating-point type (ops_float.cpp, ops_half.cpp).
bool decode_float(Decoder& decoder, const Statement& statement, Instruction& i);
bool decode_half(Decoder& decoder, const Statement& statement, Instruction& i);
/// Decodes cvt of pairs, to tf32, and cvt.pack (ops_narrow.cpp).
bool decode_narrow(Decoder& decoder, const Statement& statement, Instruction& i);

/// Moves the bytes of cp.async copies that an mbarrier waits for, and arrives there (ops_async.cpp).
void complete_late_arrival(Block& block, std::size_t index);

/// Decodes cp.async.bulk and cp.reduce.async.bulk (ops_bulk.cpp).
bool decode_bulk(Decoder& decoder, const Statement& statement, Instruction& i);

/// Decodes st.async and red.async (ops_remote.cpp), barrier.cluster (ops_cluster.cpp).
bool decode_remote(Decoder& decoder, const Statement& statement, Instruction& i);
bool decode_cluster_barrier(const Statement& statement, Instruction& i);

/// Decodes wmma of doubles (ops_wmma_double.cpp).
bool decode_wmma_double(Decoder& decoder, const Statement& statement, Instruction& i);

/// Raises a fault unless all 32 lanes execute `what` together.
void require_whole_warp(const Warp& warp, Mask mask, const char* what);

}  // namespace kernelites::worker::vgpu
