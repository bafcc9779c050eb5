// SPDX-License-Identifier: Apache-2.0
// Snippets of comparisons and selections.
#include "tests/vgpu/recorded/snippet_tables.h"

namespace kernelites::recorded {
namespace {

constexpr Row k_comparisons[] = {
    {"setp.<eq,ne,lt,le,gt,ge,equ,neu,ltu,leu,gtu,geu,num,nan>.f32", "a:f32 b:f32 -> p:pred q:pred"},
    {"setp.<eq,lt,geu>.ftz.f32", "a:f32 b:f32 -> p:pred q:pred"},
    {"setp.<eq,ne,lt,ge,equ,neu,leu,gtu,num,nan>.f64", "a:f64 b:f64 -> p:pred q:pred"},
    {"setp.<eq,ne,lt,ge,neu,ltu,nan>.f16", "a:f16 b:f16 -> p:pred"},
    {"setp.<eq,lt>.ftz.f16", "a:f16 b:f16 -> p:pred"},
    {"setp.<eq,lt,geu,neu>.<f16x2,bf16x2>", "a:$2 b:$2 -> p:pred q:pred"},
    {"setp.<eq,lt,geu,neu>.bf16", "a:bf16 b:bf16 -> p:pred"},
    {"setp.<eq,ne,lt,le,gt,ge>.<s32,u32,s64>", "a:$2 b:$2 -> p:pred q:pred"},
    {"setp.<lt,ge>.<s16,u16,u64>", "a:$2 b:$2 -> p:pred q:pred"},
    {"setp.<lo,ls,hi,hs>.u32", "a:u32 b:u32 -> p:pred q:pred"},
    {"setp.<lt,geu>.<and,or,xor>.f32", "a:f32 b:f32 c:pred -> p:pred q:pred"},
    {"setp.gt.<and,or,xor>.s32 negated", "a:s32 b:s32 c:pred -> p:pred q:pred", "$0 p|q, a, b, !c;"},
    {"set.<eq,lt,gtu>.<u32,f32>.f32", "a:f32 b:f32 -> d:$2"},
    {"set.<ne,ge>.<u32,f32>.s32", "a:s32 b:s32 -> d:$2"},
    {"set.lt.<and,or,xor>.u32.f32", "a:f32 b:f32 c:pred -> d:u32"},
    {"set.<lt,neu>.<f16,u16>.f16", "a:f16 b:f16 -> d:$2"},
    {"set.<lt,neu>.<f16x2,u32>.f16x2", "a:f16x2 b:f16x2 -> d:b32"},
    {"set.lt.<bf16,u16>.bf16", "a:bf16 b:bf16 -> d:$1"},
    {"selp.<b16,b32,b64,f32,f64>", "a:$1 b:$1 c:pred -> d:$1"},
    {"slct.<b16,b32,b64>.<s32,f32>", "a:$1 b:$1 c:$2 -> d:$1"},
    {"slct.ftz.u32.f32", "a:u32 b:u32 c:f32 -> d:u32"},
};

}  // namespace

std::vector<Family> predicate_families() { return {{"comparisons and selections", k_comparisons}}; }

}  // namespace kernelites::recorded
