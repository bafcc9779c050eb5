// SPDX-License-Identifier: Apache-2.0
// Snippets of f16 and bf16 arithmetic, single and in pairs.
#include "tests/vgpu/recorded/snippet_tables.h"

namespace kernelites::recorded {
namespace {

constexpr Row k_f16[] = {
    {"<add,sub,mul>.<f16,f16x2>", "a:$2 b:$2 -> d:$2"},
    {"<add,mul>.rn.<f16,f16x2>", "a:$2 b:$2 -> d:$2"},
    {"<add,sub,mul>.<sat,ftz,ftz.sat>.f16x2", "a:f16x2 b:f16x2 -> d:f16x2"},
    {"<add,mul>.<sat,ftz>.f16", "a:f16 b:f16 -> d:f16"},
    {"fma.rn.<f16,f16x2>", "a:$1 b:$1 c:$1 -> d:$1"},
    {"fma.rn.<sat,relu,ftz,ftz.sat,ftz.relu>.f16x2", "a:f16x2 b:f16x2 c:f16x2 -> d:f16x2"},
    {"<min,max>.<f16,f16x2>", "a:$2 b:$2 -> d:$2"},
    {"<min,max>.<ftz,NaN,ftz.NaN,xorsign.abs,NaN.xorsign.abs>.f16x2", "a:f16x2 b:f16x2 -> d:f16x2"},
    {"<neg,abs>.<f16,f16x2>", "a:$2 -> d:$2"},
    {"<neg,abs>.ftz.<f16,f16x2>", "a:$2 -> d:$2"},
};

constexpr Row k_bf16[] = {
    {"<add,sub,mul>.rn.<bf16,bf16x2>", "a:$2 b:$2 -> d:$2"},
    {"fma.rn.<bf16,bf16x2>", "a:$1 b:$1 c:$1 -> d:$1"},
    {"fma.rn.relu.<bf16,bf16x2>", "a:$1 b:$1 c:$1 -> d:$1"},
    {"<min,max>.<bf16,bf16x2>", "a:$2 b:$2 -> d:$2"},
    {"<min,max>.<NaN,xorsign.abs,NaN.xorsign.abs>.bf16x2", "a:bf16x2 b:bf16x2 -> d:bf16x2"},
    {"<neg,abs>.<bf16,bf16x2>", "a:$2 -> d:$2"},
};

// The errors of the approximations are those of PTX ISA: ex2 2^-9.9 (f16) and 2^-7 (bf16), tanh 2^-10.987 and 2^-8.
constexpr Row k_functions[] = {
    {"ex2.approx.<f16,f16x2>", "a:$1 -> d:$1", "", relative(0x1.12p-10, 0x1p-24), 8},
    {"ex2.approx.ftz.<bf16,bf16x2>", "a:$1 -> d:$1", "", relative(0x1p-7), 8},
    {"tanh.approx.<f16,f16x2>", "a:$1 -> d:$1", "", relative(0, 0x1.02p-11), 8},
    {"tanh.approx.<bf16,bf16x2>", "a:$1 -> d:$1", "", relative(0, 0x1p-8), 8},
};

}  // namespace

std::vector<Family> half_families() {
  return {{"f16 arithmetic", k_f16},
          {"bf16 arithmetic", k_bf16},
          {"approximate functions of halves", k_functions}};
}

}  // namespace kernelites::recorded
