// SPDX-License-Identifier: Apache-2.0
// Snippets of f32 and f64 arithmetic and of the approximate functions.
//
// Bounds of approximate functions are the PTX ISA's (chapter "Floating Point Instructions"), against the true value.
#include <cmath>

#include "tests/vgpu/recorded/snippet_tables.h"

namespace kernelites::recorded {
namespace {

constexpr Row k_single[] = {
    {"<add,mul>.<rn,rz,rm,rp>.f32", "a:f32 b:f32 -> d:f32"},
    {"<add,mul>.<rn,rz,rm,rp>.ftz.f32", "a:f32 b:f32 -> d:f32"},
    {"<add,mul>.<rn,rz>.sat.f32", "a:f32 b:f32 -> d:f32"},
    {"<add,mul>.<rn,rp>.ftz.sat.f32", "a:f32 b:f32 -> d:f32"},
    {"sub.<rn,rm,rn.ftz,rn.sat>.f32", "a:f32 b:f32 -> d:f32"},
    {"fma.<rn,rz,rm,rp>.f32", "a:f32 b:f32 c:f32 -> d:f32"},
    {"fma.<rn,rz,rm,rp>.ftz.f32", "a:f32 b:f32 c:f32 -> d:f32"},
    {"fma.<rn,rz,rn.ftz>.sat.f32", "a:f32 b:f32 c:f32 -> d:f32"},
    {"<min,max>.f32", "a:f32 b:f32 -> d:f32"},
    {"<min,max>.<ftz,NaN,ftz.NaN,xorsign.abs,NaN.xorsign.abs>.f32", "a:f32 b:f32 -> d:f32"},
    {"<neg,abs>.f32", "a:f32 -> d:f32"},
    {"<neg,abs>.ftz.f32", "a:f32 -> d:f32"},
    {"rcp.<rn,rz,rm,rp>.f32", "a:f32 -> d:f32", "", k_exact, 8},
    {"rcp.<rn,rp>.ftz.f32", "a:f32 -> d:f32", "", k_exact, 8},
    {"sqrt.<rn,rz,rm,rp>.f32", "a:f32 -> d:f32", "", k_exact, 8},
    {"sqrt.<rn,rm>.ftz.f32", "a:f32 -> d:f32", "", k_exact, 8},
    {"div.<rn,rz,rm,rp>.f32", "a:f32 b:f32 -> d:f32", "", k_exact, 8},
    {"div.<rn,rz>.ftz.f32", "a:f32 b:f32 -> d:f32", "", k_exact, 8},
    {"copysign.f32", "a:f32 b:f32 -> d:f32"},
    {"testp.<finite,infinite,number,notanumber,normal,subnormal>.f32", "a:f32 -> d:pred"},
};

constexpr Row k_double[] = {
    {"<add,sub,mul>.<rn,rz,rm,rp>.f64", "a:f64 b:f64 -> d:f64"},
    {"fma.<rn,rz,rm,rp>.f64", "a:f64 b:f64 c:f64 -> d:f64"},
    {"<min,max>.f64", "a:f64 b:f64 -> d:f64"},
    {"<neg,abs>.f64", "a:f64 -> d:f64"},
    {"rcp.<rn,rz,rm,rp>.f64", "a:f64 -> d:f64"},
    {"sqrt.<rn,rz,rm,rp>.f64", "a:f64 -> d:f64"},
    {"div.<rn,rz,rm,rp>.f64", "a:f64 b:f64 -> d:f64"},
    {"copysign.f64", "a:f64 b:f64 -> d:f64"},
    {"testp.<finite,infinite,number,notanumber,normal,subnormal>.f64", "a:f64 -> d:pred"},
};

constexpr Row k_approximate[] = {
    {"rcp.approx.f32", "a:f32 -> d:f32", "", ulp(1), 8},
    {"rcp.approx.ftz.f32", "a:f32 -> d:f32", "", ulp(1), 8},
    {"sqrt.approx.f32", "a:f32/p -> d:f32", "", relative(0x1p-23), 8},
    {"sqrt.approx.ftz.f32", "a:f32/p -> d:f32", "", relative(0x1p-23), 8},
    {"rsqrt.approx.f32", "a:f32/p -> d:f32", "", relative(0x1p-22), 8},
    {"rsqrt.approx.ftz.f32", "a:f32/p -> d:f32", "", relative(0x1p-22), 8},
    {"div.approx.f32", "a:f32/w b:f32/w -> d:f32", "", ulp(2), 8},
    {"div.approx.ftz.f32 special", "a:f32 b:f32/w -> d:f32", "$0 d, a, b;", ulp(2), 8},
    {"div.full.f32", "a:f32/w b:f32 -> d:f32", "", ulp(2), 8},
    {"div.full.ftz.f32", "a:f32 b:f32/w -> d:f32", "", ulp(2), 8},
    {"ex2.approx.f32", "a:f32 -> d:f32", "", relative(0x1p-22, 0x1p-148), 8},
    {"ex2.approx.f32 usual", "a:f32/t -> d:f32", "$0 d, a;", relative(0x1p-22, 0x1p-148), 8},
    {"ex2.approx.ftz.f32", "a:f32 -> d:f32", "", relative(0x1p-22, 0x1p-148), 8},
    {"lg2.approx.f32", "a:f32/p -> d:f32", "", relative(0x1p-22, 0x1p-22), 8},
    {"lg2.approx.ftz.f32", "a:f32/p -> d:f32", "", relative(0x1p-22, 0x1p-22), 8},
    {"sin.approx.f32", "a:f32/t -> d:f32", "", absolute(0x1.6ap-21), 8},
    {"cos.approx.f32", "a:f32/t -> d:f32", "", absolute(0x1.6ap-21), 8},
    {"<sin,cos>.approx.ftz.f32 special", "a:f32 -> d:f32", "$0 d, a;", absolute(0x1.6ap-21), 2},
    {"<sqrt,rsqrt>.approx.ftz.f32 special", "a:f32 -> d:f32", "$0 d, a;", relative(0x1p-22), 2},
    {"lg2.approx.ftz.f32 special", "a:f32 -> d:f32", "$0 d, a;", relative(0x1p-22, 0x1p-22), 2},
    {"sin.approx.ftz.f32", "a:f32/m -> d:f32", "", absolute(0x1.6ap-21), 8},
    {"cos.approx.ftz.f32", "a:f32/m -> d:f32", "", absolute(0x1.6ap-21), 8},
    {"tanh.approx.f32", "a:f32 -> d:f32", "", relative(0x1p-11), 8},
    {"tanh.approx.f32 usual", "a:f32/t -> d:f32", "$0 d, a;", relative(0x1p-11), 8},
    {"rcp.approx.ftz.f64", "a:f64 -> d:f64", "", relative(0x1p-20), 8},
    {"rsqrt.approx.f64", "a:f64/p -> d:f64", "", relative(0x1p-20), 8},
    {"rsqrt.approx.ftz.f64", "a:f64 -> d:f64", "", relative(0x1p-20), 8},
};

}  // namespace

std::vector<Family> float_families() {
  return {
      {"f32 arithmetic", k_single}, {"f64 arithmetic", k_double}, {"approximate functions", k_approximate}};
}

}  // namespace kernelites::recorded
