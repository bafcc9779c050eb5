// SPDX-License-Identifier: Apache-2.0
// PTX tokens and declarations.
#include "evaluators/worker/contract/ptx_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "engine/core/code_measures.h"
#include "evaluators/worker/contract/code_balance.h"
#include "evaluators/worker/contract/descriptors.h"
#include "evaluators/worker/contract/ptx_plain.h"
#include "evaluators/worker/contract/table_writes.h"
#include "tests/support/catch.h"

using namespace kernelites;
using namespace kernelites::worker;

namespace {

constexpr const char* k_module = R"(
.version 9.0
.target sm_90a
.global .align 4 .b8 table[16] = {1, 0, 0, 0, 2};
.global .align 4 .u32 unused; // .global .u32 in_comment;
.const .align 4 .f32 lut[2] = {0f00000000, 0f3F800000};
.extern .func (.param .b32 r) vprintf (.param .b64 a, .param .b64 b);
.visible .entry work(
	.param .u64 .ptr .global .align 1 work_param_0,
	.param .align 64 .b8 work_param_1[128],
	.param .f32 work_param_2
)
.maxntid 64, 4, 1
.reqnctapercluster 2, 1, 1
{
	.reg .b64 %rd<4>;
	ld.param.u64 %rd1, [work_param_0];
	mov.u64 %rd2, table;
	@%p1 ld.global.nc.u32 %r1, [%rd2+4];
$L__BB0_1:
	cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%r1], [%rd1, {%r2, %r3}], [%r4];
	{ wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {%f1, %f2}, %rd1, %rd2, p, 1, 1, 0, 0; }
	st.shared::cta.u32 [%r1], %r2;
	ret;
}
)";

/// Whether a function body with this text could write to `table`.
bool could_write(const std::string& body) {
  const std::string ptx =
      ".global .b8 table[16] = {1};\n.visible .entry f(.param .u64 f_param_0)\n{\n" + body + "\n}\n";
  const std::vector<PtxToken> tokens = tokenize_ptx(ptx);
  return find_writable_table(tokens, parse_ptx(tokens)).has_value();
}

/// Whether a kernel's body with this text uses the address of its parameter for more than it is for.
bool is_parameter_escaping(const std::string& body) {
  return find_escaping_parameter(tokenize_ptx(".visible .entry f(.param .u64 .ptr .align 1 "
                                              "f_param_0,\n.param .align 64 .b8 f_param_1[128])\n{\n" +
                                              body + "\n}\n"))
      .has_value();
}

}  // namespace

TEST_CASE("a parameter's address is for loading it and for tensor maps") {
  for (const char* body : {
           "ld.param.u64 %rd1, [f_param_0]; add.s64 %rd1, %rd1, 4; st.global.u32 [%rd1], %r1;",
           "mov.b64 %rd1, f_param_1; cvta.param.u64 %rd2, %rd1; prefetch.tensormap [%rd2];\n"
           "cp.async.bulk.tensor.1d.shared::cluster.global.mbarrier::complete_tx::bytes [%r1], [%rd2, "
           "{%r2}], [%r3];",
           "ld.param.v4.u32 {%r1, %r2, %r3, %r4}, [f_param_1+112]; ld.param.u8 %rs1, [f_param_1+0x7f];",
           "{ .param .b32 retval0; call.uni (retval0), g, (); ld.param.b32 %r1, [retval0+0]; }",
           "mov.b64 %rd1, f_param_1; mov.b64 %rd2, f_param_0; selp.b64 %rd3, %rd1, %rd2, %p1;\n"
           "cvta.param.u64 %rd4, %rd3; prefetch.tensormap [%rd4];",
           "mov.b64 %rd1, f_param_1; selp.b64 %rd2, %rd1, %rd3, %p1;\n"
           "cp.reduce.async.bulk.tensor.1d.global.shared::cta.add.bulk_group [%rd2, {%r2}], [%r3];",
       }) {
    INFO(body);
    CHECK_FALSE(is_parameter_escaping(body));
  }
  for (const char* body : {
           "mov.u64 %rd1, f_param_0; cvta.param.u64 %rd2, %rd1; st.u32 [%rd2], %r1;",
           "mov.u64 %rd1, f_param_0; cvta.param.u64 %rd2, %rd1; ld.u32 %r1, [%rd2+3840];",
           "mov.b64 %rd1, f_param_1; add.s64 %rd2, %rd1, 4096; prefetch.tensormap [%rd2];",
           "mov.b64 %rd1, f_param_1; mov.b64 {%r1, %r2}, %rd1;",
           "mov.b64 %rd1, f_param_1; st.shared.u64 [%r1], %rd1;",
           "mov.u64 %rd1, 4096; cvta.param.u64 %rd2, %rd1; st.u32 [%rd2], %r1;",
           "@%p1 mov.u64 %rd1, f_param_1; @!%p1 mov.u64 %rd1, 4096; cvta.param.u64 %rd2, %rd1; "
           "prefetch.tensormap [%rd2];",
           "mov.b64 %rd1, f_param_1; selp.b64 %rd2, %rd1, %rd3, %p1; cvta.param.u64 %rd4, %rd2; "
           "prefetch.tensormap [%rd4];",
           "cvta.param.u64 %rd2, %rd1; st.u32 [%rd2], %r1;",
           "mov.u64 %rd1, 4096; ld.param.u32 %r1, [%rd1];",
           "ld.param.u32 %r1, [4096];",
           "ld.param.u64 %rd1, [f_param_0+4];",
           "ld.param.u64 %rd1, [f_param_0+-8];",
           "ld.param.v4.u32 {%r1, %r2, %r3, %r4}, [f_param_1+116];",
       }) {
    INFO(body);
    CHECK(is_parameter_escaping(body));
  }
}

TEST_CASE("entries come with parameters, bounds and cluster") {
  const auto tokens = tokenize_ptx(k_module);
  const PtxModule module = parse_ptx(tokens);
  REQUIRE(module.entries.size() == 1);
  const KernelSignature& signature = module.entries[0].signature;
  CHECK(signature.lowered == "work");
  CHECK(signature.parameters ==
        std::vector<KernelParameter>{{8, true, false}, {128, false, false}, {4, false, true}});
  CHECK(signature.threads_max == 256);
  CHECK(signature.cluster_required[0] == 2);
}

TEST_CASE("variables know their size, their initialiser and whether the code names them") {
  const auto tokens = tokenize_ptx(k_module);
  const PtxModule module = parse_ptx(tokens);
  REQUIRE(module.variables.size() == 3);
  CHECK(module.variables[0].bytes == 16);
  CHECK(module.variables[0].has_initialiser);
  CHECK(module.variables[0].is_referenced);
  CHECK_FALSE(module.variables[1].is_referenced);
  CHECK_FALSE(module.variables[1].has_initialiser);
  CHECK(module.variables[2].is_constant);
  CHECK(module.variables[2].bytes == 8);
  CHECK(module.external_functions == std::vector<std::string>{"vprintf"});
}

TEST_CASE("a variable of absurd size saturates") {
  const auto tokens = tokenize_ptx(".global .v4 .b64 big[9223372036854775807];");
  CHECK(parse_ptx(tokens).variables.at(0).bytes == INT64_MAX);
}

TEST_CASE("opcodes are counted by class, guarded ones and those in braces too") {
  const StaticCounts counts = count_opcodes(k_module);
  CHECK(counts.opcodes.at("cp.async.bulk.tensor") == 1);
  CHECK(counts.opcodes.at("wgmma.mma_async") == 1);
  CHECK(counts.opcodes.at("ld.global") == 1);
  CHECK(counts.opcodes.at("st.shared") == 1);
  CHECK(counts.opcodes.at("ret") == 1);
  CHECK_FALSE(counts.opcodes.contains("table"));
}

TEST_CASE("only additions of floating-point numbers in memory count as such") {
  const auto adds = [](const std::string& code) {
    return adds_floats(count_opcodes(".visible .entry f()\n{\n" + code + "\n}\n"));
  };
  for (const char* code :
       {"red.global.add.f32 [%rd1], %f1;", "atom.shared.add.noftz.f16x2 %r1, [%r2], %r3;",
        "@%p1 atom.global.v2.f32.add {%f1, %f2}, [%rd1], {%f1, %f2};",
        "red.global.gpu.relaxed.add.noftz.bf16 [%rd1], %rs1;", "atom.add.f64 %fd1, [%rd1], %fd2;",
        "cp.reduce.async.bulk.global.shared::cta.bulk_group.add.f32 [%rd1], [%r1], %r2;",
        "cp.reduce.async.bulk.tensor.2d.global.shared::cta.add.bulk_group [%rd1, {%r1, %r2}], [%r3];"})
    CHECK(adds(code));
  for (const char* code : {"atom.global.add.u32 %r1, [%rd1], 1;", "red.global.max.s32 [%rd1], %r1;",
                           "atom.global.cas.b32 %r1, [%rd1], %r2, %r3;",
                           "atom.global.exch.b32 %r1, [%rd1], %r2;", "add.f32 %f1, %f2, %f3;",
                           "red.global.max.noftz.f16x2 [%rd1], %r1;", "redux.sync.add.u32 %r1, %r2, -1;",
                           "cp.reduce.async.bulk.global.shared::cta.bulk_group.add.u32 [%rd1], [%r1], %r2;"})
    CHECK_FALSE(adds(code));
  // Examinations of an older harness did not count: any atomic may be one.
  CHECK(adds_floats({.opcodes = {{"atom.global", 1}}, .sass = {}}));
  CHECK_FALSE(adds_floats({.opcodes = {{"ld.global", 1}}, .sass = {}}));
}

TEST_CASE("floating-point operations and bytes are counted by type, vector and shape of each instruction") {
  const auto balance = [](const std::string& code, double bulk_bytes = 0) {
    const std::string text = "{\n" + code + "\n}";
    return balance_of(tokenize_ptx(text), bulk_bytes, 128);
  };
  CHECK(balance("fma.rn.f32 %f1, %f2, %f3, %f4;").flops == 2);
  CHECK(balance("fma.rn.bf16x2 %r1, %r2, %r3, %r4;").flops == 4);
  CHECK(balance("add.s32 %r1, %r2, %r3;").flops == 0);
  CHECK(balance("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {}, {}, {}, {};").flops ==
        2 * 16 * 8 * 16 / 32);
  CHECK(balance("wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {}, %rd1, %rd2;").flops ==
        2 * 64 * 128 * 16 / 128);
  CHECK(balance("ld.global.nc.v4.f32 {%f1,%f2,%f3,%f4}, [%rd1];").global_bytes == 16);
  CHECK(balance("@%p1 ld.global.v2.u16 {%r1,%r2}, [%rd1];\nst.global.f32 [%rd1], %f1;").access_bytes == 4);
  CHECK(balance("ld.shared.v4.f32 {%f1,%f2,%f3,%f4}, [%r1];").global_bytes == 0);
  CHECK(balance("cp.async.ca.shared.global [%r1], [%rd1], 8, %r2;").access_bytes == 8);
  CHECK(balance("cp.async.cg.shared.global [%r1], [%rd1+64], 16;").global_bytes == 16);
  const CodeBalance bulk = balance(
      "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%r1], [%rd1], "
      "[%r2];",
      4096);
  CHECK(bulk.access_bytes == 4096);
  CHECK(bulk.global_bytes == 32);
  CHECK(balance("fma.rn.f32 %f1, %f2, %f3, %f4;").intensity() == 2);
}

TEST_CASE("a table that is only read stays, one that a store could reach does not") {
  CHECK_FALSE(
      could_write("mov.u64 %rd1, table; add.s64 %rd2, %rd1, %rd9; ld.global.u32 %r1, [%rd2]; st.global.u32 "
                  "[%rd9], %r1;"));
  CHECK_FALSE(could_write("mov.u64 %rd1, table; cp.async.ca.shared.global [%r1], [%rd1], 16;"));
  CHECK(could_write("mov.u64 %rd1, table; st.global.u32 [%rd1], %r1;"));
  CHECK(could_write("st.global.u32 [table+4], %r1;"));
  CHECK(
      could_write("mov.u64 %rd1, table; cvta.to.global.u64 %rd2, %rd1; atom.global.add.u32 %r1, [%rd2], 1;"));
  CHECK(could_write(
      "mov.u64 %rd1, table; mov.b64 {%r1, %r2}, %rd1; mov.b64 %rd3, {%r1, %r2}; st.global.u32 [%rd3], %r5;"));
  CHECK(could_write("mov.u64 %rd1, table; st.shared.u64 [%r1], %rd1;"));
  CHECK(could_write(
      "LOOP: st.global.u32 [%rd3], %r1; add.s64 %rd3, %rd3, %rd2; mov.u64 %rd2, table; bra LOOP;"));
  CHECK(
      could_write("mov.u64 %rd1, table; setp.ne.u64 p, %rd1, 0; selp.b64 %rd2, %rd3, %rd4, p; "
                  "red.global.add.u32 [%rd2], 1;"));
}

TEST_CASE("every use of a table's address that is not on the list refuses the table") {
  const std::string take = "mov.u64 %rd1, table; ";
  for (const char* use : {
           "wmma.store.d.sync.aligned.row.m16n16k16.global.f32 [%rd1], {%f1, %f2}, 16;",
           "wmma.store.d.sync.aligned.row.m16n16k16.global.f32 [table], {%f1, %f2}, 16;",
           "setp.eq.u64 %p1, %rd1, %rd2;",
           "and.b64 %rd2, %rd1, 255; ld.shared.u8 %r1, [%rd2];",
           "cvt.u32.u64 %r1, %rd1;",
           "mov.b64 {%r1, %r2}, %rd1;",
           "mul.lo.s64 %rd2, %rd1, 3;",
           "add.s64 %rd2, %rd1, %rd1;",
           "sub.s64 %rd2, %rd9, %rd1;",
           "mad.lo.s64 %rd2, %rd1, %rd3, %rd4;",
           "isspacep.global %p1, %rd1;",
           "@%rd1 bra DONE;",
           "cp.async.bulk.global.shared::cta.bulk_group [%rd1], [%r1], 16;",
           "cp.async.bulk.tensor.1d.global.shared::cta.bulk_group [%rd1, {%r1}], [%r2];",
           "call.uni (r), f, (%rd1);",
           "discard.global.L2 [%rd1], 128;",
           ".loc 1 2 3, function_name $L__info_string0, inlined_at 1 2 3\nst.global.u32 [%rd1], %r1;",
           ".loc 1 2 3 st.global.u32 [%rd1], %r1;",
           ".global .u64 other = table;",
       }) {
    INFO(use);
    CHECK(could_write(take + use));
  }
}

TEST_CASE("reading a table in the ways compilers do keeps it") {
  for (const char* body : {
           "mov.u64 %rd1, table; mul.wide.s32 %rd2, %r1, 4; add.s64 %rd3, %rd2, %rd1; ld.global.nc.u32 %r2, "
           "[%rd3+4];",
           "mov.b64 %rd1, table; cvta.global.u64 %rd2, %rd1; ld.v2.u32 {%r1, %r2}, [%rd2];",
           "LOOP: add.s64 %rd1, %rd1, 4; ld.global.u32 %r1, [%rd1]; @%p1 bra LOOP; mov.u64 %rd1, table;",
           "selp.b64 %rd1, table, table, %p1; prefetch.global.L2 [%rd1];",
           ".reg .b32 a, b; .loc 1 2 3, function_name $L__info_string0, inlined_at 1 2 3\nld.global.u32 a, "
           "[table];",
           "mad.wide.s32 %rd2, %r1, 4, %rd1; mov.u64 %rd1, table; ld.global.u32 %r1, [%rd2]; setp.eq.u32 "
           "%p1, %r1, 0;",
       }) {
    INFO(body);
    CHECK_FALSE(could_write(body));
  }
}

TEST_CASE("a chain of copies as long as a source allows is followed in linear time") {
  std::string body;
  for (int i = 100'000; i > 0; --i) body += fmt::format("mov.u64 %rd{}, %rd{};\n", i, i - 1);
  const auto begin = std::chrono::steady_clock::now();
  CHECK(could_write(body + "mov.u64 %rd0, table; st.global.u32 [%rd100000], %r1;"));
  CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds(5));
  body.clear();
  for (std::size_t i = 0; i <= k_followed_instructions_max; ++i) body += "ret;";
  CHECK(could_write(body + "ld.global.u32 %r1, [table];"));
}

TEST_CASE("a managed variable is known by its attribute, under its own name") {
  const auto tokens = tokenize_ptx(".global .attribute(.managed) .align 4 .b8 shown[8] = {1};");
  const PtxVariable variable = parse_ptx(tokens).variables.at(0);
  CHECK(variable.name == "shown");
  CHECK(variable.is_managed);
  CHECK(variable.bytes == 8);
}

TEST_CASE("a backslash does not keep a PTX string open") {
  const auto tokens = tokenize_ptx(R"(.pragma "a\"; mov.u32 %r1, %clock; // ";)");
  const auto is_clock = [](const PtxToken& token) { return !token.is_string && token.text == "%clock"; };
  CHECK(std::any_of(tokens.begin(), tokens.end(), is_clock));
}

TEST_CASE("text that an assembler could split otherwise is not plain") {
  const auto is_plain = [](std::string_view ptx) {
    return !find_unplain_ptx(ptx, tokenize_ptx(ptx)).has_value();
  };
  for (const char* ptx :
       {".pragma \"a\\\"; mov.u32 %r1, %clock; // \";", "// a \\\nmov", "mov.u32\f%r1, 1;", "// a\rmov",
        "\n# 5 \"x\"", ".pragma \"anything\";", ".pragma \"nounroll\", \"/*\";",
        ".pragma \"used_bytes_mask 4;\";", ".file 1 \"a\nb\"", "\"nounroll\"", "// caf\xc3\xa9"}) {
    INFO(ptx);
    CHECK_FALSE(is_plain(ptx));
  }
  for (const char* ptx : {k_module, ".pragma \"nounroll\";", ".pragma \"used_bytes_mask 4095\";",
                          "\t.file\t1 \"kernelites/plan.cuh\"", "// begin # inline \"asm\""}) {
    INFO(ptx);
    CHECK(is_plain(ptx));
  }
}

TEST_CASE("a table whose address lies in another table is refused") {
  const std::string ptx =
      ".global .b8 a[8] = {1};\n.global .u64 b = a;\n.entry f() { ld.global.u64 %rd1, [b]; st.global.u32 "
      "[%rd1], 1; }";
  const auto tokens = tokenize_ptx(ptx);
  CHECK(find_writable_table(tokens, parse_ptx(tokens)).has_value());
}
