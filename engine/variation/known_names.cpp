// SPDX-License-Identifier: Apache-2.0
// The words, in one text.
#include "engine/variation/known_names.h"

#include <set>
#include <sstream>
#include <string>

namespace kernelites {
namespace {

constexpr const char* k_words = R"(
    alignas alignof asm auto bool break case catch char class concept const consteval constexpr constinit
    const_cast continue decltype default delete do double dynamic_cast else enum explicit extern false float
    for friend goto if inline int long mutable namespace new noexcept nullptr operator private protected public
    register reinterpret_cast requires return short signed sizeof static static_assert static_cast struct
    switch template this throw true try typedef typename union unsigned using virtual void volatile while
    include define undef ifdef ifndef elif endif pragma unroll defined error warning line threadIdx blockIdx
    blockDim gridDim warpSize x y z w dim3 half nv_bfloat16 bfloat16 int8_t int16_t int32_t int64_t uint8_t
    uint16_t uint32_t uint64_t size_t uintptr_t char2 char4 uchar2 uchar4 short2 short4 ushort2 ushort4 int2
    int3 int4 uint2 uint3 uint4 float2 float3 float4 double2 longlong2 ulonglong2 half2 INFINITY NAN HUGE_VAL
    min max abs expf exp2f exp exp2 logf log2f log log2 sqrtf sqrt rsqrtf rsqrt fmaf fma fmaxf fminf fmax fmin
    fabsf fabs rintf floorf ceilf powf tanhf copysignf fdividef ldexpf atomicAdd atomicMax atomicMin atomicExch
    atomicCAS atomicOr atomicAnd atomicXor atomicInc atomicDec clock clock64 printf assert malloc free memcpy
    memset std cuda nvcuda wmma cooperative_groups kl kernelites Problem plan launch grid block cluster shared
    arg workspace require programmatic cooperative prepare carveout priority after tensor_map cdiv device sms
    zeroed self_clearing
)";

/// Beginnings of the names that CUDA keeps for itself: a candidate could call anything "__verified".
constexpr std::string_view k_beginnings[] = {
    "activemask", "align",         "all_sync", "any_sync",      "asm",         "attribute",    "ballot_sync",
    "bfloat16",   "brev",          "builtin_", "byte_perm",     "clz",         "cluster_dims", "constant__",
    "cvta_",      "device__",      "double",   "dp4a",          "exp",         "fadd",         "fdiv",
    "ffs",        "float",         "fma",      "fmul",          "forceinline", "frcp",         "frsqrt",
    "fsqrt",      "fsub",          "global__", "grid_constant", "hadd",        "half",         "halves",
    "hfma",       "high",          "hmax",     "hmin",          "hmul",        "host__",       "hsub",
    "int",        "launch_bounds", "ldc",      "ldg",           "ll2",         "log",          "longlong",
    "low",        "match_",        "mul",      "nanosleep",     "noinline",    "nv_",          "pipeline_",
    "popc",       "reduce_",       "restrict", "shared__",      "shfl",        "short",        "sinf",
    "cosf",       "stc",           "stwt",     "sync",          "tanhf",       "threadfence",  "uint",
    "umul",       "ushort",        "vadd",     "volatile",      "CUDA_ARCH"};
/// Longer ones are no intrinsics.
constexpr std::size_t k_intrinsic_bytes_max = 28;

bool is_intrinsic(std::string_view word) {
  if (!word.starts_with("__") || word.size() > k_intrinsic_bytes_max) return false;
  word.remove_prefix(2);
  for (const std::string_view beginning : k_beginnings) {
    if (word.starts_with(beginning)) return true;
  }
  return false;
}

}  // namespace

bool is_known_name(std::string_view word) {
  if (is_intrinsic(word)) return true;
  static const auto known = [] {
    std::set<std::string, std::less<>> names;
    std::istringstream in(k_words);
    for (std::string name; in >> name;) names.insert(name);
    return names;
  }();
  return known.contains(word);
}

}  // namespace kernelites
