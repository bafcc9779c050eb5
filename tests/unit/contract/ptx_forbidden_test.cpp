// SPDX-License-Identifier: Apache-2.0
// Words of PTX that are forbidden, and look-alikes that are not.
#include "evaluators/worker/contract/ptx_forbidden.h"

#include <string>

#include "tests/support/catch.h"

using namespace kernelites::worker;

namespace {

std::string code_of(const std::string& ptx) {
  const std::string text = ".visible .entry f()\n{\n" + ptx + "\nret;\n}\n";
  const std::vector<PtxToken> tokens = tokenize_ptx(text);
  const ForbiddenPtx* const found = find_forbidden_ptx(tokens);
  return found ? std::string(found->code) : "";
}

}  // namespace

TEST_CASE("each forbidden word of PTX is found wherever an instruction can stand") {
  const std::pair<const char*, const char*> rows[] = {
      {"mov.u32 %r1, %clock;", "screen_clock"},
      {"mov.u64 %rd1, %clock64;", "screen_clock"},
      {"mov.u32 %r1, %globaltimer_lo;", "screen_clock"},
      {"mov.u64 %rd1, %gridid;", "screen_launch_counter"},
      {"mov.b64 %rd1, %current_graph_exec;", "screen_environment"},
      {"mov.b32 %r1, %envreg3;", "screen_environment"},
      {"mov.b32 %r1, %reserved_smem_offset_1;", "screen_environment"},
      {"mov.u64 %rd1, %pm3_64;", "screen_counters"},
      {"pmevent 7;", "screen_counters"},
      {"brkpt;", "screen_breakpoint"},
      {"@%p1 brkpt;", "screen_breakpoint"},
      {"@p brkpt;", "screen_breakpoint"},
      {"@!p brkpt;", "screen_breakpoint"},
      {"here: brkpt;", "screen_breakpoint"},
      {"{ brkpt; }", "screen_breakpoint"},
      {"tensormap.replace.tile.rank.global.b1024.b32 [%rd1], 2;", "screen_tensormap"},
      {"tensormap.cp_fenceproxy.global.shared::cta.tensormap::generic.release.gpu.sync.aligned [a], [b], "
       "128;",
       "screen_tensormap"},
      {"multimem.ld_reduce.global.add.f32 %f1, [%rd1];", "screen_multimem"},
      {"discard.global.L2 [%rd1], 128;", "screen_discard"},
      {"@p discard.L2 [%rd1], 128;", "screen_discard"},
      {"ld.mmio.relaxed.sys.global.u32 %r1, [%rd1];", "screen_host_memory"},
      {"alloca.u32 %r1, 64;", "screen_stack"},
      {"tex.1d.v4.f32.s32 {a,b,c,d}, [%rd1, {%r1}];", "screen_texture"},
      {"suld.b.1d.b32.trap {a}, [%rd1, {%r1}];", "screen_texture"},
      {".blocksareclusters", "screen_cluster_attribute"},
      {".alias g, f;", "screen_alias"},
  };
  for (const auto& [ptx, code] : rows) {
    INFO(ptx);
    CHECK(code_of(ptx) == code);
  }
}

TEST_CASE("names that look like forbidden words, and what is allowed on purpose, pass") {
  for (const char* ptx :
       {"mov.u32 %r1, %smid;", "mov.u32 %r1, %nsmid;", "nanosleep.u32 20;", "trap;",
        "prefetch.global.L2 [%rd1];", "cp.async.bulk.prefetch.L2.global [%rd1], 128;",
        "prefetch.tensormap [%rd1];", "fence.proxy.tensormap::generic.acquire.gpu [%rd1], 128;",
        ".reg .b32 discard, tex, brkpt;", "mov.u32 discard, 1;", "add.u32 %r1, tex, brkpt;", "brkpt: ret;",
        ".reg .f32 %pmax; mov.f32 %pmax, %f1;", "applypriority.global.L2::evict_normal [%rd1], 128;",
        "mov.u32 %r1, %dynamic_smem_size;", "createpolicy.fractional.L2::evict_last.b64 %rd1, 1.0;",
        "texture_free.b32 %r1, 1;", "call (x), discard_tail, (y);"}) {
    INFO(ptx);
    CHECK(code_of(ptx) == "");
  }
}
