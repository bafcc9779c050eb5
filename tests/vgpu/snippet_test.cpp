// SPDX-License-Identifier: Apache-2.0
// One snippet per instruction variant: PTX text, three inputs, the expected result.
//
// In a snippet a, b, c are the inputs and d the result as 32-bit registers; A, B, C, D as 64-bit, ha, hb, hc, hd as
// 16-bit ones; p and q are predicates. The result is read from the register named in the row ("p" reads 1 or 0), of the
// last lane that stores it (31). The module has one constant, `table`.
#include <cmath>
#include <limits>

#include "evaluators/worker/vgpu/machine.h"
#include "tests/support/catch.h"

using namespace kernelites::worker::vgpu;

namespace {

struct Row {
  const char* text;
  u64 a, b, c;
  const char* result;
  u64 expected;
};

constexpr u64 k_one = 0x3f800000, k_two = 0x40000000, k_three = 0x40400000, k_half = 0x3f000000,
              k_nan = 0x7fffffff, k_inf = 0x7f800000;
u64 f(float value) {
  u32 bits;
  std::memcpy(&bits, &value, 4);
  return bits;
}
u64 g(double value) {
  u64 bits;
  std::memcpy(&bits, &value, 8);
  return bits;
}

std::string kernel_around(const Row& row) {
  const std::string result = row.result;
  std::string text =
      ".version 9.0\n.target sm_90a\n.address_size 64\n.const .b32 table = 7;\n.visible .entry k(.param .u64 "
      "in, .param .u64 "
      "out)\n{\n"
      ".reg .b16 ha, hb, hc, hd; .reg .b32 a, b, c, d, t; .reg .b64 A, B, C, D, I, O; .reg .pred p, q;\n"
      "mov.b16 hd, 0; mov.b32 d, 0; mov.b64 D, 0; setp.ne.u32 p, 0, 0; setp.ne.u32 q, 0, 0;\n"
      "ld.param.u64 I, [in]; ld.param.u64 O, [out]; ld.global.u64 A, [I]; ld.global.u64 B, [I+8]; "
      "ld.global.u64 C, [I+16];\n"
      "cvt.u32.u64 a, A; cvt.u32.u64 b, B; cvt.u32.u64 c, C; cvt.u16.u32 ha, a; cvt.u16.u32 hb, b; "
      "cvt.u16.u32 hc, c;\n";
  text += std::string("{ ") + row.text + " }\n";
  if (result == "d") text += "cvt.u64.u32 D, d;\n";
  if (result == "hd") text += "cvt.u64.u16 D, hd;\n";
  if (result == "p" || result == "q") text += "selp.u64 D, 1, 0, " + result + ";\n";
  return text + "st.global.u64 [O], D;\nret;\n}\n";
}

void check_snippet(const Row& row) {
  const auto program = parse(kernel_around(row));
  u64 in[3] = {row.a, row.b, row.c}, out = 0;
  Memory memory;
  const u64 addresses[2] = {memory.add(in, sizeof in, "in"), memory.add(&out, sizeof out, "out")};
  Launch launch{.kernel = "k",
                .grid = {},
                .block = {32, 1, 1},
                .cluster = {},
                .dynamic_shared_bytes = 0,
                .parameters = {},
                .cooperative = false};
  launch.parameters.resize(16);
  std::memcpy(launch.parameters.data(), addresses, 16);
  const LaunchResult result = run(*program, memory, launch, {.checks = {.races = false}, .sample = {}});
  INFO(row.text << " -> " << std::hex << out << " instead of " << row.expected
                << (result.fault ? describe(*result.fault) : ""));
  CHECK(!result.fault.has_value());
  CHECK(out == row.expected);
}

template <std::size_t N>
void check_all(const Row (&rows)[N]) {
  for (const Row& row : rows) check_snippet(row);
}

}  // namespace

TEST_CASE("integer arithmetic", "[vgpu]") {
  const Row rows[] = {
      {"add.s32 d, a, b;", 7, ~2ull, 0, "d", 4},
      {"add.sat.s32 d, a, b;", 0x7fffffff, 5, 0, "d", 0x7fffffff},
      {"add.s64 D, A, B;", ~0ull, 2, 0, "D", 1},
      {"add.s16 hd, ha, hb;", 0xffff, 2, 0, "hd", 1},
      {"sub.u32 d, a, b;", 3, 5, 0, "d", 0xfffffffe},
      {"mul.lo.s32 d, a, b;", 0x10001, 0x10001, 0, "d", 0x20001},
      {"mul.hi.u32 d, a, b;", 0x80000000, 6, 0, "d", 3},
      {"mul.hi.s32 d, a, b;", 0xffffffff, 6, 0, "d", 0xffffffff},
      {"mul.wide.s32 D, a, b;", 0xffffffff, 3, 0, "D", static_cast<u64>(-3)},
      {"mul.wide.u32 D, a, b;", 0xffffffff, 3, 0, "D", 0x2fffffffdull},
      {"mul.wide.s16 d, ha, hb;", 0xffff, 3, 0, "d", 0xfffffffd},
      {"mul.hi.u64 D, A, B;", 1ull << 63, 6, 0, "D", 3},
      {"mul.lo.s64 D, A, B;", 1ull << 33, 5, 0, "D", 5ull << 33},
      {"mad.lo.s32 d, a, b, c;", 3, 4, 5, "d", 17},
      {"mad.wide.u32 D, a, b, C;", 0x80000000, 4, 1, "D", 0x200000001ull},
      {"mad.hi.s32 d, a, b, c;", 0x40000000, 8, 1, "d", 3},
      {"div.s32 d, a, b;", static_cast<u32>(-7), 2, 0, "d", static_cast<u32>(-3)},
      {"div.u32 d, a, b;", 7, 0, 0, "d", 0xffffffff},
      {"div.s32 d, a, b;", 0x80000000, 0xffffffff, 0, "d", 0x80000000},
      {"rem.s32 d, a, b;", static_cast<u32>(-7), 2, 0, "d", static_cast<u32>(-1)},
      {"rem.u64 D, A, B;", 1000000007ull * 5 + 3, 1000000007, 0, "D", 3},
      {"min.s32 d, a, b;", 0xffffffff, 1, 0, "d", 0xffffffff},
      {"min.u32 d, a, b;", 0xffffffff, 1, 0, "d", 1},
      {"max.s64 D, A, B;", ~0ull, 1, 0, "D", 1},
      {"neg.s32 d, a;", 5, 0, 0, "d", 0xfffffffb},
      {"abs.s32 d, a;", 0xfffffffb, 0, 0, "d", 5},
      {"sad.u32 d, a, b, c;", 3, 10, 1, "d", 8},
      {"dp4a.s32.s32 d, a, b, c;", 0x01ff02fe, 0x01010101, 10, "d", 10},
      {"dp4a.u32.u32 d, a, b, c;", 0x01ff02fe, 0x01010101, 0, "d", 512},
      {"add.cc.u32 t, a, b; addc.u32 d, c, 0;", 0xffffffff, 1, 5, "d", 6},
      {"add.cc.u32 t, a, b; addc.cc.u32 t, a, a; addc.u32 d, 0, 0;", 0xffffffff, 1, 0, "d", 1},
      {"sub.cc.u32 t, a, b; subc.u32 d, c, 0;", 0, 1, 5, "d", 4},
      {"add.cc.u64 D, A, B; addc.u64 D, C, 0;", ~0ull, 1, 7, "D", 8},
      {"mad.lo.cc.u32 t, a, b, c; madc.hi.u32 d, a, b, 0;", 0xffffffff, 0xffffffff, 0xffffffff, "d",
       0xffffffff},
      {"mad.hi.cc.s32 t, a, b, c; addc.u32 d, 0, 0;", 0xffffffff, 1, 1, "d", 1},
      {"sub.sat.s32 d, a, b;", 0x80000000, 1, 0, "d", 0x80000000},
      {"mad.hi.sat.s32 d, a, b, c;", 0x7fffffff, 0x7fffffff, 0x7fffffff, "d", 0x7fffffff},
      {"mul24.lo.u32 d, a, b;", 0x1ffffff, 2, 0, "d", 0x1fffffe},
      {"mul24.hi.u32 d, a, b;", 0xffffff, 0xffffff, 0, "d", 0xfffffe00},
      {"mul24.lo.s32 d, a, b;", 0xffffff, 3, 0, "d", 0xfffffffd},
      {"mad24.lo.u32 d, a, b, c;", 3, 4, 5, "d", 17},
      {"mad24.hi.sat.s32 d, a, b, c;", 0x7fffff, 0x7fffff, 0x7fffffff, "d", 0x7fffffff},
      {"dp2a.lo.s32.s32 d, a, b, c;", 0x0002ffff, 0x04030201, 10, "d", 13},
      {"dp2a.hi.u32.u32 d, a, b, c;", 0x0002ffff, 0x04030201, 0, "d", 196613},
      {"add.u16x2 d, a, b;", 0x0001ffff, 0x00010002, 0, "d", 0x00020001},
      {"min.s16x2 d, a, b;", 0xffff0003, 0x00020004, 0, "d", 0xffff0003},
      {"max.u16x2 d, a, b;", 0xffff0003, 0x00020004, 0, "d", 0xffff0004},
      {"min.relu.s16x2 d, a, b;", 0xffff0003, 0x00020004, 0, "d", 0x00000003},
      {"max.s32.relu d, a, b;", static_cast<u32>(-5), static_cast<u32>(-3), 0, "d", 0},
      {"vabsdiff4.u32.u32.u32 d, a, b, c;", 0x01020304, 0x04030201, 10, "d", 0x03010103},
      {"vabsdiff4.u32.u32.u32.add d, a, b, c;", 0x01020304, 0x04030201, 10, "d", 18},
      {"vabsdiff2.s32.s32.s32 d, a, b, c;", 0xffff0001, 0x00010003, 0, "d", 0x00020002},
  };
  check_all(rows);
}

TEST_CASE("permutes, fields and wide registers", "[vgpu]") {
  constexpr u64 k_low = 0x33221100, k_high = 0x77665544;
  const Row rows[] = {
      {"prmt.b32.f4e d, a, b, c;", k_low, k_high, 1, "d", 0x44332211},
      {"prmt.b32.b4e d, a, b, c;", k_low, k_high, 1, "d", 0x66770011},
      {"prmt.b32.rc8 d, a, b, c;", k_low, k_high, 2, "d", 0x22222222},
      {"prmt.b32.ecl d, a, b, c;", k_low, k_high, 1, "d", 0x33221111},
      {"prmt.b32.ecr d, a, b, c;", k_low, k_high, 2, "d", 0x22221100},
      {"prmt.b32.rc16 d, a, b, c;", k_low, k_high, 1, "d", 0x33223322},
      {"setp.eq.u32 q, 0, 0; lop3.or.b32 d|p, a, b, c, 128, q;", 1, 2, 4, "p", 1},
      {"lop3.and.b32 _|p, a, b, c, 254, q;", 1, 2, 4, "p", 0},
      {"lop3.or.b32 d|p, a, b, c, 254, q;", 1, 2, 4, "d", 7},
      {"szext.clamp.s32 d, a, b;", 0xff, 8, 0, "d", 0xffffffff},
      {"szext.clamp.u32 d, a, b;", 0xffffffff, 40, 0, "d", 0xffffffff},
      {"szext.wrap.u32 d, a, b;", 0xabcd, 40, 0, "d", 0xcd},
      {"bmsk.wrap.b32 d, a, b;", 36, 4, 0, "d", 0xf0},
      {"cnot.b32 d, a;", 0, 0, 0, "d", 1},
      {"cnot.b64 D, A;", 5, 0, 0, "D", 0},
      {"fns.b32 d, a, b, c;", 11, 0, 3, "d", 3},
      {"fns.b32 d, a, b, c;", 11, 2, static_cast<u32>(-1), "d", 1},
      {"fns.b32 d, a, b, c;", 11, 2, 0, "d", 0xffffffff},
      {"{ .reg .f64 x, y; mov.b64 x, A; mov.b64 y, B; "
       "wmma.mma.sync.aligned.row.col.m8n8k4.f64.f64.f64.f64.rn {x, y}, {x}, "
       "{y}, {y, y}; mov.b64 D, x; }",
       g(1), g(2), 0, "D", g(10)},
      {"{ .reg .f64 x, y; .shared .align 8 .b8 s[512]; mov.b64 x, A; mov.b64 y, B; mov.u32 t, s; "
       "wmma.store.d.sync.aligned.row.m8n8k4.shared.f64 [t], {x, y}, 8; bar.sync 0; "
       "wmma.load.b.sync.aligned.row.m8n8k4.shared.f64 {x}, [t], 8; mov.b64 D, x; }",
       g(1), g(2), 0, "D", g(2)},
      {"mov.u64 D, %gridid;", 0, 0, 0, "D", 0},
      {"{ .reg .b128 W; mov.b128 W, {A, B}; mov.b128 {C, D}, W; }", 1, 2, 3, "D", 2},
      {"{ .reg .b128 W, X; .shared .align 16 .b8 s[16]; mov.b128 W, {A, B}; mov.b128 X, {C, C}; "
       "st.shared.b128 [s], "
       "W; atom.shared.cas.b128 W, [s], W, X; ld.shared.b128 X, [s]; mov.b128 {D, C}, X; }",
       1, 2, 3, "D", 3},
      {"{ .reg .f32 x, y; mov.b64 {x, y}, A; atom.global.v2.f32.add {x, y}, [O], {x, y}; ld.global.u64 D, "
       "[O]; }",
       k_two << 32 | k_one, 0, 0, "D", 0x4280000042000000},
  };
  check_all(rows);
}

TEST_CASE("bit operations", "[vgpu]") {
  const Row rows[] = {
      {"and.b32 d, a, b;", 12, 10, 0, "d", 8},
      {"or.b64 D, A, B;", 12, 1ull << 40, 0, "D", (1ull << 40) + 12},
      {"xor.b16 hd, ha, hb;", 12, 10, 0, "hd", 6},
      {"not.b32 d, a;", 0, 0, 0, "d", 0xffffffff},
      {"shl.b32 d, a, b;", 1, 35, 0, "d", 0},
      {"shl.b64 D, A, b;", 1, 35, 0, "D", 1ull << 35},
      {"shr.s32 d, a, b;", 0x80000000, 40, 0, "d", 0xffffffff},
      {"shr.u32 d, a, b;", 0x80000000, 31, 0, "d", 1},
      {"shf.l.wrap.b32 d, a, b, c;", 0x80000000, 1, 33, "d", 3},
      {"shf.r.clamp.b32 d, a, b, c;", 1, 0x12345678, 32, "d", 0x12345678},
      {"lop3.b32 d, a, b, c, 0x96;", 0xff00, 0xf0f0, 0xaaaa, "d", 0xff00 ^ 0xf0f0 ^ 0xaaaa},
      {"lop3.b32 d, a, b, c, 0xe2;", 0xff00, 0x00ff, 0xf0f0, "d", 0xf000},
      {"popc.b32 d, a;", 0xff0f, 0, 0, "d", 12},
      {"popc.b64 d, A;", ~0ull, 0, 0, "d", 64},
      {"clz.b32 d, a;", 1, 0, 0, "d", 31},
      {"clz.b64 d, A;", 0, 0, 0, "d", 64},
      {"bfind.u32 d, a;", 0x10, 0, 0, "d", 4},
      {"bfind.s32 d, a;", 0xffffffef, 0, 0, "d", 4},
      {"bfind.shiftamt.u32 d, a;", 0x10, 0, 0, "d", 27},
      {"brev.b32 d, a;", 1, 0, 0, "d", 0x80000000},
      {"bfe.u32 d, a, b, c;", 0x12345678, 8, 12, "d", 0x456},
      {"bfe.s32 d, a, b, c;", 0x00000f00, 8, 4, "d", 0xffffffff},
      {"bfi.b32 d, a, b, 8, 4;", 0xf, 0x12345678, 0, "d", 0x12345f78},
      {"bfi.b64 D, A, B, 32, 32;", 5, 7, 0, "D", (5ull << 32) + 7},
      {"prmt.b32 d, a, b, 0x5410;", 0x11112222, 0x33334444, 0, "d", 0x44442222},
      {"prmt.b32 d, a, b, 0x9876;", 0x80000000, 0x12345678, 0, "d", 0x1234},
      {"copysign.f32 d, a, b;", f(-1), f(3), 0, "d", f(-3)},
  };
  check_all(rows);
}

TEST_CASE("floating point", "[vgpu]") {
  const Row rows[] = {
      {"add.f32 d, a, b;", k_one, k_two, 0, "d", k_three},
      {"add.rz.f32 d, a, b;", k_one, f(0x1p-24f * 1.5f), 0, "d", k_one},
      {"add.rp.f32 d, a, b;", k_one, f(0x1p-30f), 0, "d", k_one + 1},
      {"add.ftz.f32 d, a, b;", 1, 1, 0, "d", 0},
      {"add.sat.f32 d, a, b;", k_one, k_two, 0, "d", k_one},
      {"mul.rn.f32 d, a, b;", k_two, k_half, 0, "d", k_one},
      {"fma.rn.f32 d, a, b, c;", f(1 + 0x1p-12f), f(1 + 0x1p-12f), f(-1), "d", f(0x1p-11f + 0x1p-24f)},
      {"fma.rn.f64 D, A, B, C;", g(3), g(4), g(5), "D", g(17)},
      {"div.rn.f32 d, a, b;", k_one, k_three, 0, "d", f(1.0f / 3.0f)},
      {"rcp.rn.f64 D, A;", g(4), 0, 0, "D", g(0.25)},
      {"sqrt.rn.f32 d, a;", f(9), 0, 0, "d", k_three},
      {"rsqrt.approx.f32 d, a;", f(4), 0, 0, "d", k_half},
      {"ex2.approx.ftz.f32 d, a;", k_three, 0, 0, "d", f(8)},
      {"ex2.approx.f32 d, a;", f(-140), 0, 0, "d", f(0x1p-140f)},
      {"ex2.approx.ftz.f32 d, a;", f(-INFINITY), 0, 0, "d", 0},
      {"lg2.approx.f32 d, a;", f(8), 0, 0, "d", k_three},
      {"tanh.approx.f32 d, a;", 0, 0, 0, "d", 0},
      {"min.f32 d, a, b;", k_nan, k_two, 0, "d", k_two},
      {"max.f32 d, a, b;", f(-0.0f), 0, 0, "d", 0},
      {"max.NaN.f32 d, a, b;", k_nan, k_two, 0, "d", k_nan},
      {"neg.f32 d, a;", k_one, 0, 0, "d", f(-1)},
      {"abs.f64 D, A;", g(-2), 0, 0, "D", g(2)},
      {"testp.infinite.f32 p, a;", k_inf, 0, 0, "p", 1},
      {"add.f16 hd, ha, hb;", 0x3c00, 0x4000, 0, "hd", 0x4200},
      {"fma.rn.f16 hd, ha, hb, hc;", 0x3c01, 0x3c01, 0xbc00, "hd", 0x1800},
      {"fma.rn.f16x2 d, a, b, c;", 0x3c004000, 0x40004000, 0x3c003c00, "d", 0x42004500},
      {"mul.bf16x2 d, a, b;", 0x3f804000, 0x40004000, 0, "d", 0x40004080},
      {"fma.rn.relu.bf16 hd, ha, hb, hc;", 0x3f80, 0xbf80, 0, "hd", 0},
      {"max.f16 hd, ha, hb;", 0x7fff, 0x4000, 0, "hd", 0x4000},
      {"neg.f16x2 d, a;", 0x3c00bc00, 0, 0, "d", 0xbc003c00},
      {"ex2.approx.f16 hd, ha;", 0x4200, 0, 0, "hd", 0x4800},
  };
  check_all(rows);
}

TEST_CASE("conversions", "[vgpu]") {
  const Row rows[] = {
      {"cvt.rn.f16.f32 hd, a;", f(65520), 0, 0, "hd", 0x7c00},
      {"cvt.rn.f16.f32 hd, a;", f(1.0f + 0x1p-11f), 0, 0, "hd", 0x3c00},
      {"cvt.rz.f16.f32 hd, a;", f(1.0f + 0x1p-10f * 0.9f), 0, 0, "hd", 0x3c00},
      {"cvt.f32.f16 d, ha;", 1, 0, 0, "d", f(0x1p-24f)},
      {"cvt.rn.bf16.f32 hd, a;", f(1.0f + 0x1p-8f), 0, 0, "hd", 0x3f80},
      {"cvt.f32.bf16 d, ha;", 0x4040, 0, 0, "d", k_three},
      {"cvt.rn.f16x2.f32 d, a, b;", k_one, k_two, 0, "d", 0x3c004000},
      {"cvt.rn.bf16x2.f32 d, a, b;", k_one, k_two, 0, "d", 0x3f804000},
      {"cvt.rzi.s32.f32 d, a;", f(-2.7f), 0, 0, "d", static_cast<u32>(-2)},
      {"cvt.rzi.s32.f32 d, a;", k_nan, 0, 0, "d", 0},
      {"cvt.rzi.s32.f32 d, a;", f(1e20f), 0, 0, "d", 0x7fffffff},
      {"cvt.rzi.u32.f32 d, a;", f(-1), 0, 0, "d", 0},
      {"cvt.rni.s32.f32 d, a;", f(2.5f), 0, 0, "d", 2},
      {"cvt.rmi.f32.f32 d, a;", f(-1.5f), 0, 0, "d", f(-2)},
      {"cvt.rpi.f32.f32 d, a;", f(1.5f), 0, 0, "d", k_two},
      {"cvt.sat.f32.f32 d, a;", f(-1.5f), 0, 0, "d", 0},
      {"cvt.rn.f32.s32 d, a;", 0xffffffff, 0, 0, "d", f(-1)},
      {"cvt.rn.f32.u32 d, a;", 0xffffffff, 0, 0, "d", f(4294967296.0f)},
      {"cvt.rn.f32.u64 d, A;", (1ull << 40) + 1, 0, 0, "d", f(0x1p40f)},
      {"cvt.rn.f64.s64 D, A;", ~0ull, 0, 0, "D", g(-1)},
      {"cvt.rn.f32.f64 d, A;", g(0.1), 0, 0, "d", f(0.1f)},
      {"cvt.s64.s32 D, a;", 0xffffffff, 0, 0, "D", ~0ull},
      {"cvt.u64.u32 D, a;", 0xffffffff, 0, 0, "D", 0xffffffff},
      {"cvt.s64.s32 D, A;", 0x1234567880000001, 0, 0, "D", 0xffffffff80000001},
      {"cvt.u64.s32 D, A;", 0x1234567880000001, 0, 0, "D", 0xffffffff80000001},
      {"cvt.s64.u32 D, A;", 0x1234567880000001, 0, 0, "D", 0x80000001},
      {"cvt.u64.u32 D, A;", 0x1234567880000001, 0, 0, "D", 0x80000001},
      {"cvt.s32.s8 d, a;", 0x180, 0, 0, "d", 0xffffff80},
      {"cvt.u32.u8 d, ha;", 0x1ff, 0, 0, "d", 0xff},
      {"cvt.sat.s8.s32 d, a;", 1000, 0, 0, "d", 127},
      {"cvt.sat.u8.s32 d, a;", 0xffffffff, 0, 0, "d", 0},
      {"cvt.rn.satfinite.e4m3x2.f32 hd, a, b;", f(448), f(1000), 0, "hd", 0x7e7e},
      {"cvt.rn.satfinite.e4m3x2.f32 hd, a, b;", k_one, f(-0.0f), 0, "hd", 0x3880},
      {"cvt.rn.satfinite.e4m3x2.f32 hd, a, b;", f(0x1p-9f), f(17), 0, "hd", 0x0158},
      {"cvt.rn.satfinite.e5m2x2.f32 hd, a, b;", k_one, f(0x1p-16f), 0, "hd", 0x3c01},
      {"cvt.rn.f16x2.e4m3x2 d, ha;", 0x387e, 0, 0, "d", 0x3c005f00},
      {"cvt.rn.f16x2.e5m2x2 d, ha;", 0x3c01, 0, 0, "d", 0x3c000100},
      {"cvt.rna.tf32.f32 d, a;", f(1.0f + 0x1p-11f), 0, 0, "d", f(1.0f + 0x1p-10f)},
  };
  check_all(rows);
}

TEST_CASE("predicates and selection", "[vgpu]") {
  const Row rows[] = {
      {"setp.lt.s32 p, a, b;", 0xffffffff, 1, 0, "p", 1},
      {"setp.lt.u32 p, a, b;", 0xffffffff, 1, 0, "p", 0},
      {"setp.lo.s32 p, a, b;", 0xffffffff, 1, 0, "p", 0},
      {"setp.gt.f32 p, a, b;", k_nan, k_one, 0, "p", 0},
      {"setp.gtu.f32 p, a, b;", k_nan, k_one, 0, "p", 1},
      {"setp.ne.f32 p, a, b;", k_nan, k_nan, 0, "p", 0},
      {"setp.neu.f32 p, a, b;", k_nan, k_nan, 0, "p", 1},
      {"setp.nan.f64 p, A, B;", g(NAN), g(1), 0, "p", 1},
      {"setp.eq.u32 p|q, a, b;", 1, 2, 0, "q", 1},
      {"setp.eq.s32 q, a, a; setp.eq.and.s32 p, a, b, q;", 1, 1, 0, "p", 1},
      {"setp.eq.s32 q, a, a; setp.eq.and.s32 p, a, b, !q;", 1, 1, 0, "p", 0},
      {"setp.lt.f16 p, ha, hb;", 0x3c00, 0x4000, 0, "p", 1},
      {"setp.lt.f16x2 p|q, a, b;", 0x3c004200, 0x40004000, 0, "q", 1},
      {"setp.lt.s32 p, a, b; selp.b32 d, a, b, p;", 3, 4, 0, "d", 3},
      {"slct.u32.s32 d, a, b, c;", 3, 4, 0xffffffff, "d", 4},
      {"set.lt.u32.s32 d, a, b;", 3, 4, 0, "d", 0xffffffff},
      {"set.gt.f32.s32 d, a, b;", 5, 4, 0, "d", k_one},
      {"setp.eq.s32 p, a, b; @p mov.b32 d, 7; @!p mov.b32 d, 9;", 3, 4, 0, "d", 9},
      {"setp.eq.s32 p, a, b; not.pred q, p;", 3, 4, 0, "q", 1},
  };
  check_all(rows);
}

TEST_CASE("moves, memory and warp-wide operations", "[vgpu]") {
  const Row rows[] = {
      {"mov.b32 d, {ha, hb};", 0x1234, 0x5678, 0, "d", 0x56781234},
      {"mov.b64 {d, t}, A;", 0x1122334455667788, 0, 0, "d", 0x55667788},
      {"mov.b64 D, {a, b};", 1, 2, 0, "D", 0x200000001ull},
      {"mov.u32 d, %ntid.x;", 0, 0, 0, "d", 32},
      {"ld.global.s8 d, [I];", 0x80, 0, 0, "d", 0xffffff80},
      {"ld.global.v2.u32 {t, d}, [I+8];", 0, 5ull << 32, 0, "d", 5},
      {".shared .align 8 .b8 s[64]; mov.u32 t, s; st.shared.u64 [t+8], A; ld.shared.u32 d, [t+12];",
       7ull << 32, 0, 0, "d", 7},
      {".local .align 8 .b8 l[16]; st.local.u64 [l], A; ld.local.u32 d, [l+4];", 9ull << 32, 0, 0, "d", 9},
      {".local .align 8 .b8 l[16]; st.local.u64 [l], A; mov.u64 B, l; cvta.local.u64 B, B; ld.u32 d, [B+4];",
       9ull << 32, 0, 0, "d", 9},
      {"mov.u64 A, table; cvta.const.u64 A, A; isspacep.const p, A;", 0, 0, 0, "p", 1},
      {"mov.u64 A, table; cvta.const.u64 A, A; isspacep.global p, A;", 0, 0, 0, "p", 0},
      {"isspacep.const p, I;", 0, 0, 0, "p", 0},
      {"isspacep.global p, I;", 0, 0, 0, "p", 1},
      {".shared .b32 s; mov.u32 t, s; cvt.u64.u32 A, t; cvta.shared.u64 A, A; isspacep.shared p, A;", 0, 0, 0,
       "p", 1},
      {"mov.u32 d, %clock_hi;", 0, 0, 0, "d", 0},
      {"setp.eq.u32 p, 0, 0; @!p activemask.b32 d; @p activemask.b32 d;", 0, 0, 0, "d", 0xffffffff},
      {"mov.u32 t, %laneid; setp.gt.u32 p, t, 15; @p activemask.b32 d;", 0, 0, 0, "d", 0xffff0000},
      {"mov.u32 t, %laneid; setp.gt.u32 p, t, 15; @!p ret; bar.warp.sync -1; mov.u32 d, 5;", 0, 0, 0, "d", 5},
      {"shfl.sync.idx.b32 d|p, a, 3, 31, -1;", 11, 0, 0, "d", 11},
      {"mov.u32 t, %laneid; shfl.sync.down.b32 t|p, t, 4, 31, -1; mov.b32 d, t;", 0, 0, 0, "d", 31},
      {"vote.sync.ballot.b32 d, 1, -1;", 0, 0, 0, "d", 0xffffffff},
      {"mov.u32 t, %laneid; redux.sync.max.u32 d, t, -1;", 0, 0, 0, "d", 31},
      {"mov.u32 t, %laneid; and.b32 t, t, 7; match.any.sync.b32 d, t, -1; popc.b32 d, d;", 0, 0, 0, "d", 4},
      {"elect.sync d|p, -1;", 0, 0, 0, "d", 0},
      {"atom.global.add.u32 d, [I], 0;", 5, 0, 0, "d", 5},
      {"atom.global.cas.b32 d, [I], 5, 5;", 5, 0, 0, "d", 5},
      {"atom.global.max.s32 d, [I+8], a;", 5, 7, 0, "d", 7},
      {"{ .reg .b32 d; mov.b32 d, 5; } mov.b32 d, 6;", 0, 0, 0, "d", 6},
      {"mov.b32 d, 0; L: add.u32 d, d, 1; setp.lt.u32 p, d, a; @p bra L;", 10, 0, 0, "d", 10},
      {"ts: .branchtargets X, Y; brx.idx a, ts; X: mov.b32 d, 1; bra E; Y: mov.b32 d, 2; E: add.u32 d, d, "
       "10;",
       1, 0, 0, "d", 12},
  };
  check_all(rows);
}

TEST_CASE("cp.async with a short source reads no byte beyond it, and needs every byte of it", "[vgpu]") {
  // 7 of 8 bytes: the source's last byte lies in the third word of the inputs, which ends 24 bytes behind their start.
  const auto copy = [](const char* offset) {
    return std::string(
               ".shared .align 16 .b8 s[16]; mov.u32 t, s; mov.u32 d, 7; cp.async.ca.shared.global [t], "
               "[I+") +
           offset + "], 8, d; cp.async.wait_all; ld.shared.u64 D, [t];";
  };
  check_snippet({copy("16").c_str(), 0, 0, 0x8877665544332211, "D", 0x0077665544332211});
  const auto program = parse(kernel_around({copy("24").c_str(), 0, 0, 0, "D", 0}));
  u64 in[4] = {}, out = 0;  // of the fourth word only four bytes are mapped: the source ends beyond them
  Memory memory;
  const u64 addresses[2] = {memory.add(in, 28, "in"), memory.add(&out, sizeof out, "out")};
  Launch launch{.kernel = "k",
                .grid = {},
                .block = {32, 1, 1},
                .cluster = {},
                .dynamic_shared_bytes = 0,
                .parameters = {},
                .cooperative = false};
  launch.parameters.resize(16);
  std::memcpy(launch.parameters.data(), addresses, 16);
  const LaunchResult result = run(*program, memory, launch, {.sample = {}});
  REQUIRE(result.fault.has_value());
  CHECK(result.fault->kind == FaultKind::out_of_bounds);
}
