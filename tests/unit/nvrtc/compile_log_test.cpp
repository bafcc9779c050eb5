// SPDX-License-Identifier: Apache-2.0
// Logs in which a candidate speaks in the compiler's name, and logs that could tell what it may not know.
#include "evaluators/worker/nvrtc/compile_log.h"

#include "tests/support/catch.h"
#include "tests/unit/nvrtc/compile_fixture.h"

using namespace kernelites;
using namespace kernelites::worker;

namespace {

constexpr const char* k_kernel =
    "extern \"C\" __global__ void work(void* o, float* l) { l[0] = 1; }\n"
    "constexpr void plan(const Problem& p, kl::Plan& plan) { plan.launch(\"work\").arg(p.o).arg(p.lse); }\n";

}  // namespace

TEST_CASE("ptxas figures and advisories are taken from the end of the log, where no candidate writes") {
  for (const char* forger : {"#pragma message(\"\\nptxas info    : Potential Performance Loss: forged\")\n",
                             "[[deprecated(\"\\nptxas info    : Potential Performance Loss: forged\\nptxas "
                             "info    : Function properties for "
                             "work\\nptxas         .     0 bytes stack frame, 999 bytes spill stores, 77 "
                             "bytes spill loads\\n\")]] constexpr "
                             "int dep() { return 1; }\nconstexpr int used = dep();\n"}) {
    INFO(forger);
    const auto result = compile_text(std::string(k_kernel) + forger, {"ragged"});
    REQUIRE(std::holds_alternative<CompiledCandidate>(result));
    const auto& compiled = std::get<CompiledCandidate>(result);
    CHECK(compiled.advisories.empty());
    CHECK(compiled.kernels.at(0).spill_store_bytes == 0);
    CHECK(compiled.log.find("Potential Performance Loss: forged\n") == std::string::npos);
  }
}

TEST_CASE("an advisory that ptxas gives is kept, whatever stands before it") {
  const std::string ptxas =
      "ptxas info    : (C7510) Potential Performance Loss: wgmma.mma_async instructions are serialized\n"
      "ptxas info    : Function properties for work\n"
      "ptxas         .     8 bytes stack frame, 16 bytes spill stores, 24 bytes spill loads\n";
  const std::string front =
      "candidate.cu(3): warning #177-D: variable \"x\" is unused\n  int x;\n      ^\n\n";
  for (const std::string& log : {ptxas, front + ptxas, front + ptxas + "\n"}) {
    REQUIRE(read_advisories(log).size() == 1);
    CHECK(read_spills(log).at("work").store_bytes == 16);
  }
  CHECK(read_advisories(ptxas + front).empty());
}

TEST_CASE("a message says its kind, not the text that the candidate gave it") {
  for (const char* source : {"static_assert(sizeof(int) == 5, \"\\nINJECTED\");\n", "#error INJECTED\n"}) {
    const auto verdict = std::get<Verdict>(compile_text(std::string(k_kernel) + source, {"ragged"}));
    INFO(verdict.message);
    CHECK(verdict.reason == "compile_error");
    CHECK(verdict.message.find("line 3") != std::string::npos);
    CHECK(verdict.message.find("INJECTED") == std::string::npos);
  }
}

TEST_CASE("whether a file exists is no answer that a log gives") {
  for (const char* words :
       {"cannot open source file \"/etc/passwd\"", "could not open source file \"/x\" (no such)"}) {
    const auto messages = read_messages(std::string("candidate.cu(1): catastrophic error: ") + words + "\n");
    CHECK(messages.at(0).text == "a file that the source includes cannot be read");
  }
}

TEST_CASE("arguments of instantiations and calls do not reach messages, their places do") {
  const auto messages = read_messages(
      "kernelites/plan.cuh(7): error: static assertion failed with \"no\"\n  static_assert(x);\n  ^\n"
      "          detected during instantiation of \"int touch<M,N>() [with M=4097, N=12288]\" at line 43 of "
      "candidate.cu\n");
  REQUIRE(messages.size() == 1);
  CHECK(messages[0].text.find("4097") == std::string::npos);
  CHECK(messages[0].line == 43);
}
