// SPDX-License-Identifier: Apache-2.0
// Snippets of integer arithmetic, carry chains, bit operations and permutes.
#include "tests/vgpu/recorded/snippet_tables.h"

namespace kernelites::recorded {
namespace {

constexpr Row k_arithmetic[] = {
    {"<add,sub>.<u16,s32,u64>", "a:$2 b:$2 -> d:$2"},
    {"<add,sub>.sat.s32", "a:s32 b:s32 -> d:s32"},
    {"mul.lo.<s16,s32,u64>", "a:$1 b:$1 -> d:$1"},
    {"mul.hi.<s16,u16,s32,u32,s64,u64>", "a:$1 b:$1 -> d:$1"},
    {"mul.wide.<s16,u16>", "a:$1 b:$1 -> d:b32"},
    {"mul.wide.<s32,u32>", "a:$1 b:$1 -> d:b64"},
    {"mad.lo.<u16,s32,s64>", "a:$1 b:$1 c:$1 -> d:$1"},
    {"mad.hi.<s16,u16,s32,u32,s64,u64>", "a:$1 b:$1 c:$1 -> d:$1"},
    {"mad.hi.sat.s32", "a:s32 b:s32 c:s32 -> d:s32"},
    {"mad.wide.<s16,u16>", "a:$1 b:$1 c:b32 -> d:b32"},
    {"mad.wide.<s32,u32>", "a:$1 b:$1 c:b64 -> d:b64"},
    {"mul24.<lo,hi>.<s32,u32>", "a:$2 b:$2 -> d:$2"},
    {"mad24.<lo,hi>.<s32,u32>", "a:$2 b:$2 c:$2 -> d:$2"},
    {"<div,rem>.<s16,u16,s32,u32,s64,u64>", "a:$2 b:$2 -> d:$2"},
    {"<min,max>.<s16,u16,s32,u32,s64,u64>", "a:$2 b:$2 -> d:$2"},
    {"<min,max>.relu.s32", "a:s32 b:s32 -> d:s32"},
    {"<add,min,max>.<s16x2,u16x2>", "a:$2 b:$2 -> d:$2"},
    {"<min,max>.relu.s16x2", "a:s16x2 b:s16x2 -> d:s16x2"},
    {"<neg,abs>.<s16,s32,s64>", "a:$2 -> d:$2"},
    {"sad.<s16,u16,s32,u32,s64,u64>", "a:$1 b:$1 c:$1 -> d:$1"},
    {"dp4a.<s32,u32>.<s32,u32>", "a:b32 b:b32 c:b32 -> d:b32"},
    {"dp2a.<lo,hi>.<s32,u32>.<s32,u32>", "a:b32 b:b32 c:b32 -> d:b32"},
};

constexpr Row k_carry[] = {
    {"add.cc.<u32,s32,u64>", "a:$1 b:$1 c:$1 -> d:$1 e:$1", "$0 d, a, b; addc.$1 e, c, 0;"},
    {"addc.cc.<u32,u64>", "a:$1 b:$1 c:$1 -> d:$1 e:$1 f:$1",
     "add.cc.$1 d, a, b; $0 e, b, c; addc.$1 f, a, c;"},
    {"sub.cc.<u32,s32,u64>", "a:$1 b:$1 c:$1 -> d:$1 e:$1", "$0 d, a, b; subc.$1 e, c, 0;"},
    {"subc.cc.<u32,u64>", "a:$1 b:$1 c:$1 -> d:$1 e:$1 f:$1",
     "sub.cc.$1 d, a, b; $0 e, b, c; subc.$1 f, a, c;"},
    {"mad.lo.cc.<u32,s32,u64>", "a:$1 b:$1 c:$1 -> d:$1 e:$1", "$0 d, a, b, c; madc.hi.$1 e, a, b, c;"},
    {"mad.hi.cc.<u32,s32>", "a:$1 b:$1 c:$1 -> d:$1 e:$1", "$0 d, a, b, c; madc.lo.$1 e, a, b, c;"},
    {"madc.<lo,hi>.cc.u32", "a:u32 b:u32 c:u32 -> d:u32 e:u32 f:u32",
     "add.cc.u32 d, a, b; $0 e, a, b, c; addc.u32 f, a, 0;"},
};

constexpr Row k_bits[] = {
    {"<and,or,xor>.<b16,b32,b64>", "a:$2 b:$2 -> d:$2"},
    {"<not,cnot>.<b16,b32,b64>", "a:$2 -> d:$2"},
    {"<and,or,xor>.pred", "p:pred q:pred -> d:pred"},
    {"not.pred", "p:pred -> d:pred"},
    {"shl.<b16,b32,b64>", "a:$1 b:u32/shift -> d:$1"},
    {"shr.<s16,u16,s32,u32,s64,u64,b32>", "a:$1 b:u32/shift -> d:$1"},
    {"shf.<l,r>.<wrap,clamp>.b32", "a:b32 b:b32 c:u32/shift -> d:b32"},
    {"lop3.b32 <0x00,0x1b,0x6a,0x80,0x96,0xb8,0xe8,0xfe>", "a:b32 b:b32 c:b32 -> d:b32",
     "$0 d, a, b, c, $1;"},
    {"lop3.<or,and>.b32", "a:b32 b:b32 c:b32 q:pred -> d:b32 p:pred", "$0 d|p, a, b, c, 0x80, q;"},
    {"<popc,clz>.<b32,b64>", "a:$2 -> d:b32"},
    {"bfind.<s32,u32,s64,u64>", "a:$1 -> d:b32"},
    {"bfind.shiftamt.<s32,u32,s64,u64>", "a:$1 -> d:b32"},
    {"brev.<b32,b64>", "a:$1 -> d:$1"},
    {"bfe.<s32,u32,s64,u64>", "a:$1 b:u32/bit c:u32/bit -> d:$1"},
    {"bfi.<b32,b64>", "a:$1 b:$1 c:u32/bit e:u32/bit -> d:$1"},
    {"bmsk.<clamp,wrap>.b32", "a:u32/shift b:u32/shift -> d:b32"},
    {"szext.<clamp,wrap>.<s32,u32>", "a:$2 b:u32/shift -> d:$2"},
    {"fns.b32", "a:b32 b:u32/lane c:s32/n -> d:b32"},
    {"prmt.b32", "a:b32 b:b32 c:b32 -> d:b32"},
    {"prmt.b32.<f4e,b4e,rc8,ecl,ecr,rc16>", "a:b32 b:b32 c:u32/few -> d:b32"},
    {"mov.b32 vector", "a:b32 b:b16 c:b16 -> d:b32 e:b16 f:b16", "mov.b32 {e, f}, a; mov.b32 d, {b, c};"},
    {"mov.b64 vector", "a:b64 b:b32 c:b32 -> d:b64 e:b32 f:b32", "mov.b64 {e, f}, a; mov.b64 d, {b, c};"},
};

}  // namespace

std::vector<Family> integer_families() {
  return {{"integer arithmetic", k_arithmetic}, {"carry chains", k_carry}, {"bit operations", k_bits}};
}

}  // namespace kernelites::recorded
