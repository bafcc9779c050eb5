// SPDX-License-Identifier: Apache-2.0
// Snippets of cvt: all pairs that kernels have, with rounding, saturation and values out of range.
#include "tests/vgpu/recorded/snippet_tables.h"

namespace kernelites::recorded {
namespace {

constexpr Row k_to_integer[] = {
    {"cvt.<rni,rzi,rmi,rpi>.<s32,u32,s64,u64>.f32", "a:f32 -> d:$2"},
    {"cvt.rzi.<s8,u8,s16,u16>.f32", "a:f32 -> d:$1"},
    {"cvt.rni.<s8,u16>.f32", "a:f32 -> d:$1"},
    {"cvt.<rni,rmi>.ftz.<s32,u64>.f32", "a:f32 -> d:$2"},
    {"cvt.<rni,rzi,rmi,rpi>.<s32,u32,s64,u64>.f64", "a:f64 -> d:$2"},
    {"cvt.rzi.<s8,u8,s16,u16>.f64", "a:f64 -> d:$1"},
    {"cvt.rzi.<s8,u8,s16,u16,s32,u32,s64,u64>.f16", "a:f16 -> d:$1"},
    {"cvt.<rni,rmi,rpi>.<s16,s32>.f16", "a:f16 -> d:$2"},
    {"cvt.rzi.<s16,u16,s32,u32,s64,u64>.bf16", "a:bf16 -> d:$1"},
};

constexpr Row k_from_integer[] = {
    {"cvt.<rn,rz,rm,rp>.f32.<s32,u32,s64,u64>", "a:$2 -> d:f32"},
    {"cvt.rn.f32.<s8,u8,s16,u16>", "a:$1 -> d:f32"},
    {"cvt.rn.f64.<s8,u16,s32,u32>", "a:$1 -> d:f64"},
    {"cvt.<rn,rz,rm,rp>.f64.<s64,u64>", "a:$2 -> d:f64"},
    {"cvt.rn.f16.<s8,u8,s16,u16,s32,u32,s64,u64>", "a:$1 -> d:f16"},
    {"cvt.<rz,rm,rp>.f16.<s16,u32>", "a:$2 -> d:f16"},
    {"cvt.rn.bf16.<s16,u16,s32,u32,s64,u64>", "a:$1 -> d:bf16"},
    {"cvt.<rz,rm,rp>.bf16.<s16,u32>", "a:$2 -> d:bf16"},
};

constexpr Row k_between_floats[] = {
    {"cvt.f32.<f16,bf16>", "a:$1 -> d:f32"},
    {"cvt.ftz.f32.f16", "a:f16 -> d:f32"},
    {"cvt.f64.<f16,bf16,f32>", "a:$1 -> d:f64"},
    {"cvt.ftz.f64.f32", "a:f32 -> d:f64"},
    {"cvt.<rn,rz,rm,rp>.f32.f64", "a:f64 -> d:f32"},
    {"cvt.<rn,rz>.ftz.f32.f64", "a:f64 -> d:f32"},
    {"cvt.<rn,rz,rm,rp>.f16.f32", "a:f32 -> d:f16"},
    {"cvt.<rn,rz>.<relu,satfinite,relu.satfinite>.f16.f32", "a:f32 -> d:f16"},
    {"cvt.<rn,rz>.bf16.f32", "a:f32 -> d:bf16"},
    {"cvt.<rn,rz>.<relu,satfinite,relu.satfinite>.bf16.f32", "a:f32 -> d:bf16"},
    {"cvt.rn.<sat,ftz>.f16.f32", "a:f32 -> d:f16"},
    {"cvt.<rn,rz,rm,rp>.f16.f64", "a:f64 -> d:f16"},
    {"cvt.<rn,rz>.bf16.f64", "a:f64 -> d:bf16"},
    {"cvt.<rn,rz>.f16.bf16", "a:bf16 -> d:f16"},
    {"cvt.<rn,rz>.bf16.f16", "a:f16 -> d:bf16"},
    {"cvt.<rni,rzi,rmi,rpi>.f32.f32", "a:f32 -> d:f32"},
    {"cvt.<rni,rpi>.ftz.f32.f32", "a:f32 -> d:f32"},
    {"cvt.<rni,rzi,rmi,rpi>.f64.f64", "a:f64 -> d:f64"},
    {"cvt.<rni,rzi,rmi,rpi>.f16.f16", "a:f16 -> d:f16"},
    {"cvt.<rni,rzi>.bf16.bf16", "a:bf16 -> d:bf16"},
    {"cvt.<sat,ftz.sat>.f32.f32", "a:f32 -> d:f32"},
    {"cvt.sat.f64.f64", "a:f64 -> d:f64"},
    {"cvt.sat.f16.f16", "a:f16 -> d:f16"},
    {"cvt.rn.sat.f32.f64", "a:f64 -> d:f32"},
};

constexpr Row k_narrow[] = {
    {"cvt.<rn,rz>.<f16x2,bf16x2>.f32", "a:f32 b:f32 -> d:$2"},
    {"cvt.<rn,rz>.relu.<f16x2,bf16x2>.f32", "a:f32 b:f32 -> d:$2"},
    {"cvt.<rn,rz>.satfinite.<f16x2,bf16x2>.f32", "a:f32 b:f32 -> d:$2"},
    {"cvt.rn.satfinite.<e4m3x2,e5m2x2>.f32", "a:f32 b:f32 -> d:$1", "", k_exact, 8},
    {"cvt.rn.satfinite.relu.<e4m3x2,e5m2x2>.f32", "a:f32 b:f32 -> d:$1"},
    {"cvt.rn.satfinite.<e4m3x2,e5m2x2>.f16x2", "a:f16x2 -> d:$1", "", k_exact, 8},
    {"cvt.rn.satfinite.relu.<e4m3x2,e5m2x2>.f16x2", "a:f16x2 -> d:$1"},
    {"cvt.rn.f16x2.<e4m3x2,e5m2x2>", "a:$1 -> d:f16x2", "", k_exact, 8},
    {"cvt.rn.relu.f16x2.<e4m3x2,e5m2x2>", "a:$1 -> d:f16x2"},
    {"cvt.<rna,rn,rz>.tf32.f32", "a:f32 -> d:f32"},
    {"cvt.rna.satfinite.tf32.f32", "a:f32/f -> d:f32"},
    {"cvt.<rn,rz>.relu.tf32.f32", "a:f32 -> d:f32"},
};

constexpr Row k_between_integers[] = {
    {"cvt.<s16,s32,u32,s64,u64>.s8", "a:s8 -> d:$1"},
    {"cvt.<s32,u64>.u8", "a:u8 -> d:$1"},
    {"cvt.<s8,u8,s32,u32,s64,u64>.s16", "a:s16 -> d:$1"},
    {"cvt.<s8,u8,s16,u16,s64,u64>.s32", "a:s32 -> d:$1"},
    {"cvt.<s8,u8,s16,u16,s64,u64>.u32", "a:u32 -> d:$1"},
    {"cvt.<s8,u16,s32,u32>.s64", "a:s64 -> d:$1"},
    {"cvt.sat.<s8,u8,s16,u16,u32,u64>.s32", "a:s32 -> d:$1"},
    {"cvt.sat.<s8,u8,s16,u16,s32>.u32", "a:u32 -> d:$1"},
    {"cvt.sat.<s8,u8,s32,u32,u64>.s64", "a:s64 -> d:$1"},
    {"cvt.sat.<s8,u32,s64>.u64", "a:u64 -> d:$1"},
    {"cvt.sat.<s8,u8,u16>.s16", "a:s16 -> d:$1"},
    {"cvt.pack.sat.<s16,u16>.s32", "a:s32 b:s32 -> d:b32"},
    {"cvt.pack.sat.<s8,u8>.s32.b32", "a:s32 b:s32 c:b32 -> d:b32"},
};

}  // namespace

std::vector<Family> conversion_families() {
  return {{"conversions to integers", k_to_integer},
          {"conversions from integers", k_from_integer},
          {"conversions between floats", k_between_floats},
          {"conversions to and from narrow formats", k_narrow},
          {"conversions between integers", k_between_integers}};
}

}  // namespace kernelites::recorded
