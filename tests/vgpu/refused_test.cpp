// SPDX-License-Identifier: Apache-2.0
// An instruction that is not executed as written is refused: no modifier, operand form or declaration is ignored.
#include "engine/core/error.h"
#include "evaluators/worker/vgpu/instruction_table.h"
#include "evaluators/worker/vgpu/machine.h"
#include "tests/support/catch.h"

using namespace kernelites;
using namespace kernelites::worker::vgpu;

namespace {

std::string around(const std::string& statement) {
  return ".version 9.0\n.target sm_90a\n.address_size 64\n.visible .entry k() {\n"
         ".reg .b16 ha, hb, hc, hd; .reg .b32 a, b, c, d; .reg .b64 A, B, C, D; .reg .pred p, q;\n" +
         statement + "\nret;\n}\n";
}

std::vector<std::string> refused(const std::string& statement) {
  return unsupported(*parse(around(statement)));
}

void check_parse_error(const std::string& text) {
  INFO(text);
  CHECK_THROWS_AS(parse(text), Error);
}

}  // namespace

TEST_CASE("a modifier that no row names is refused with every opcode", "[vgpu]") {
  CHECK(all_rows().size() > 90);
  for (const InstructionRow* row : all_rows()) {
    if (row->opcode == "call" || row->opcode == "bra" || row->opcode == "brx") continue;
    const std::string opcode = std::string(row->opcode) + ".frobnicate.b32";
    INFO(opcode);
    CHECK(refused(opcode + " d, a, b;") == std::vector<std::string>{opcode});
  }
}

TEST_CASE("what would be executed differently from what it says is refused", "[vgpu]") {
  for (const char* statement : {
           "fma.rn.oob.f16x2 d, a, b, c;",
           "fma.rn.relu.f32 d, a, b, c;",
           "add.rz.f16 hd, ha, hb;",
           "add.sat.u32 d, a, b;",
           "add.sat.s64 D, A, B;",
           "add.sat.f64 D, A, B;",
           "min.abs.f32 d, a, b;",
           "max.relu.f16x2 d, a, b;",
           "mul.sat.lo.s32 d, a, b;",
           "cvt.rm.f16x2.f32 d, a, b;",
           "cvt.rs.satfinite.e4m3x4.f32 d, {a, b, c, d}, a;",
           "and.pred p, !q, q;",
           "selp.b32 d, a, b, !p;",
           "mov.pred p, !q;",
           "red.async.relaxed.cluster.shared::cluster.mbarrier::complete_tx::bytes.add.f32 [a], b, [c];",
           "st.shared::cluster.mbarrier::complete_tx::bytes.u32 [a], b;",
           "barrier.cluster.wait.release;",
           "barrier.cluster.arrive.acquire;",
           "barrier.sync.relaxed 0;",
           "mapa.u32 d, a, b;",
           "mbarrier.try_wait.shared::cluster.b64 p, [a], D;",
           "mbarrier.arrive.shared::cluster.b64 D, [a];",
           "mbarrier.arrive.noComplete.expect_tx.shared.b64 D, [a], b;",
           "mbarrier.arrive.noComplete.relaxed.cta.shared.b64 D, [a], b;",
           "mbarrier.arrive.acquire.cta.shared.b64 D, [a];",
           "mbarrier.try_wait.release.cta.shared.b64 p, [a], D;",
           "mbarrier.pending_count.shared.b64 d, D;",
           "setmaxnreg.inc.sync.aligned.u32 20;",
           "setmaxnreg.inc.sync.aligned.u32 42;",
           "setmaxnreg.dec.sync.aligned.u32 d;",
           "wgmma.mma_async.sync.aligned.m64n8k256.s32.b1.b1 {a, b, c, d}, D, D, p;",
           "wgmma.mma_async.sync.aligned.m64n8k256.satfinite.s32.b1.b1.and.popc {a, b, c, d}, D, D, p;",
           "wgmma.mma_async.sync.aligned.m64n8k32.s32.s8.s8.and.popc {a, b, c, d}, D, D, p;",
           "cp.reduce.async.bulk.global.shared::cta.bulk_group.add.f16 [A], [a], b;",
           "cp.reduce.async.bulk.global.shared::cta.bulk_group.min.f32 [A], [a], b;",
           "wgmma.mma_async.sync.aligned.m64n8k16.f16.bf16.bf16 {a, b}, D, D, p, 1, 1, 0, 0;",
           "wgmma.mma_async.sync.aligned.m64n8k32.s32.s8.s8 {a, b, c, d}, D, D, p, 1, 1;",
           "wgmma.mma_async.sync.aligned.m64n8k8.f32.tf32.tf32 {a, b, c, d}, D, D, p, 1, 1, 0, 0;",
           "wgmma.mma_async.sync.aligned.m64n8k32.satfinite.f32.e4m3.e4m3 {a, b, c, d}, D, D, p, 1, 1;",
           "ld.global.v2.u32 d, [A];",
           "ld.global.u32 {c, d}, [A];",
           "discard.global.L2 [A], 128;",
           "vote.sync.most.pred p, q, -1;",
           "vote.sync.all.b32 d, p, -1;",
           "isspacep.texture p, A;",
           "ldmatrix.sync.aligned.m8n8.x4.shared.b16 {d}, [a];",
           "ldmatrix.sync.aligned.m16n16.x1.trans.shared.b8 {c, d}, [a];",
           "mma.sync.aligned.m16n8k16.row.col.satfinite.f32.f16.f16.f32 {a, b, c, d}, {a, b, c, d}, {a, b}, "
           "{a, b, "
           "c, d};",
           "mov.u64 D, %clock65;",
       }) {
    INFO(statement);
    CHECK(refused(statement).size() == 1);
  }
}

TEST_CASE("what another GPU has or no plan can say is refused with the reason", "[vgpu]") {
  const auto words_of = [](const std::string& statement) {
    Memory memory;
    const Launch launch{
        .kernel = "k", .grid = {1, 1, 1}, .block = {32, 1, 1}, .cluster = {}, .parameters = {}};
    return run(*parse(around(statement)), memory, launch, {.sample = {}}).fault->message;
  };
  CHECK(words_of("cp.async.bulk.tensor.2d.shared::cta.global.tile::gather4.mbarrier::complete_tx::bytes "
                 "[a], [A, {a, b, c, d, a}], [b];")
            .find("from sm_100 on have it") != std::string::npos);
  CHECK(words_of("cp.async.bulk.tensor.4d.shared::cluster.global.im2col.mbarrier::complete_tx::bytes "
                 "[a], [A, {a, b, c, d}], [b], {ha, hb};")
            .find("maps of a plan are tiled") != std::string::npos);
}

TEST_CASE("the list of what a kernel needs and lacks is bounded", "[vgpu]") {
  std::string text;
  for (int k = 0; k < 500; ++k) text += "frobnicate" + std::to_string(k) + ".u32 d, a;\n";
  CHECK(refused(text).size() == 32);
}

TEST_CASE("declarations that cannot be are errors", "[vgpu]") {
  const std::string header = ".version 9.0\n.target sm_90a\n.address_size 64\n";
  check_parse_error(header + ".global .attribute(.managed .u32 x;");
  check_parse_error(header + ".global .align 3 .b8 x[4];");
  check_parse_error(header + ".global .align 2147483648 .b8 x[4];");
  check_parse_error(header + ".global .b8 x[4294967296][4294967296];");
  std::string scopes;
  for (int k = 0; k < 100; ++k) scopes += "{ ";
  check_parse_error(around(scopes));
}

TEST_CASE("a function with more registers and branches than liveness can be solved for is an error",
          "[vgpu]") {
  std::string text = ".reg .b32 many<1000000>;\n";
  for (int k = 0; k < 3000; ++k) text += "L" + std::to_string(k) + ": @p bra L" + std::to_string(k) + ";\n";
  check_parse_error(around(text));
}

TEST_CASE("a register number beyond its range, or beyond any number, is no register", "[vgpu]") {
  CHECK(refused(".reg .b32 %r<5>; mov.u32 d, %r4;").empty());
  CHECK(refused(".reg .b32 %r<5>; mov.u32 d, %r5;").size() == 1);
  CHECK(refused(".reg .b32 %r<5>; mov.u32 d, %r99999999999999999999;").size() == 1);
}

TEST_CASE("launches beyond what a device and this machine hold are refused, large grids are not listed",
          "[vgpu]") {
  const auto program = parse(around(".local .align 4 .b8 frame[400000]; trap;"));
  Memory memory;
  const auto fault_of = [&](Dim3 grid, Dim3 block, bool cooperative = false) {
    const Launch launch{.kernel = "k",
                        .grid = grid,
                        .block = block,
                        .cluster = {},
                        .dynamic_shared_bytes = 0,
                        .parameters = {},
                        .cooperative = cooperative};
    return std::string(to_string(run(*program, memory, launch, {.sample = {}}).fault->kind));
  };
  CHECK(fault_of({2147483647, 1, 1}, {32, 1, 1}) == "trap");
  CHECK(fault_of({1, 1, 1}, {1u << 31, 1u << 31, 4}) == "invalid_launch");
  CHECK(fault_of({1, 1, 1}, {1, 1, 65}) == "invalid_launch");
  CHECK(fault_of({8, 1, 1}, {1024, 1, 1}, true) == "invalid_launch");
}

TEST_CASE("an arrival at a barrier of unknown size is refused", "[vgpu]") {
  CHECK(refused("barrier.arrive 0;").size() == 1);
  CHECK(refused("barrier.arrive 0, 64;").empty());
}
