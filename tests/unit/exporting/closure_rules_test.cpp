// SPDX-License-Identifier: Apache-2.0
// Nothing of a run's text reaches a host compiler but constant expressions.
#include "engine/core/json.h"
#include "tests/support/catch.h"
#include "tests/support/temporary_folder.h"
#include "tests/unit/exporting/library_candidate.h"
#include "tools/exporting/host_plan.h"
#include "tools/exporting/host_proof.h"

using namespace kernelites;
namespace fs = std::filesystem;

namespace {

struct Row {
  const char *text, *words;
};

/// A candidate whose plan names KEEP, and `text` before it.
std::string with_text(const std::string& text) {
  return "extern \"C\" __global__ void k_1(unsigned short* y) {}\n" + text +
         "\nconstexpr void plan(const Problem& p, kl::Plan& plan) {\n"
         "  plan.launch(\"k_1\").grid(1).block(32 + KEEP).arg(p.y);\n}\n";
}

/// Why its plan is no host code: the closure's words, or those of the compiler and the object file; empty: it is.
std::string trouble_of(const std::string& text) {
  const Task task = library_task();
  const PortfolioArm arm = library_arm("arm_0", 1, with_text(text).c_str());
  const auto plan = host_plan(task, arm);
  if (const auto* problem = std::get_if<ClosureProblem>(&plan)) return "closure: " + problem->words;
  const std::vector<ProofBatch> batches = proof_batches(task, domain_of(task, {}), DeviceFacts{}, 8);
  const auto digests = host_digests(task, "arm_0", std::get<std::string>(plan), "c++", batches);
  const auto* problem = std::get_if<HostProblem>(&digests);
  return problem == nullptr ? "" : "host: " + problem->words;
}

}  // namespace

TEST_CASE("text that is more than constant expressions does not become host code") {
  CHECK(trouble_of("static const int KEEP = [] { return 0; }();") == "");
  const std::vector<Row> rows{
      // The condition that NVRTC does not see, and the initialiser that runs when a program is loaded.
      {"#ifndef __CUDACC_RTC__\n#define KEEP probe\nstatic const int probe = [] { asm volatile(\"syscall\"); "
       "return 0; }();\n#else\n#define KEEP 0\n#endif",
       "closure: "},
      {"constexpr int KEEP = 0;\n#ifdef ELSEWHERE\nconstexpr int other = KEEP;\n#endif", "ELSEWHERE"},
      {"#ifdef NDEBUG\nconstexpr int KEEP = 1;\n#else\nconstexpr int KEEP = 0;\n#endif\n#define NDEBUG",
       "NDEBUG"},
      {"constexpr int run() { if (false) asm(\"\"); return 0; }\nconstexpr int KEEP = run();", "asm"},
      {"#define JOIN(a, b) a##b\nconstexpr int KEEP = JOIN(0, 0);", "##"},
      {"struct __attribute__((packed)) A { int a = 0; };\nconstexpr int KEEP = A().a;", "__attribute__"},
      {"[[gnu::constructor]] constexpr int run() { return 0; }\nconstexpr int KEEP = run();", "gnu"},
      {"constexpr int run() { _Pragma(\"weak f\") return 0; }\nconstexpr int KEEP = run();", "_Pragma"},
      {"constexpr int run() {\n#pragma weak f\n  return 0; }\nconstexpr int KEEP = run();", "pragma"},
      {"constexpr int KEEP = sizeof(__FILE__);", "__FILE__"},
      // What a compiler checks and a program does not: memory that is reached by an address or an index.
      {"constexpr int run(int n) { int a[2] = {}; if (n > 1 << 20) a[n] = 1; return 0; }\n#define KEEP "
       "run(p.M)",
       "\"[\""},
      {"constexpr int run(int n) { int a = 0; auto b = [&] { return a; }; int* c = &a; return 0; }\n#define "
       "KEEP run(p.M)",
       "\"*\""},
      {"constexpr int run(int n) { int a = n; auto c = &a; *(c + n) = 0; return 0; }\n#define KEEP run(p.M)",
       "\"&\""},
      {"struct A { int a; int get() const { return this->a; } constexpr int run() const { return this->a; } "
       "};\n#define KEEP A{0}.run()",
       "->"},
      {"struct A { int t[2]; int n; int x = t[n]; };\n#define KEEP A{{0, 0}, 0}.x", "\"[\""},
      // What the words allow shows in the compiler or in the object file.
      {"static const int KEEP = [] { static int n = 0; return ++n; }();", "host: "},
      {"struct A { inline static int n = 1; static constexpr int KEPT = 0; };\n#define KEEP kl::max(A::KEPT, "
       "p.M > "
       "1 << 20 ? A::n : 0)",
       "variables"},
      {"constexpr int run(int n) { int other(int); return n > 1 << 20 ? other(n) : 0; }\n#define KEEP "
       "run(p.M)",
       "it calls"},
      {"struct A { int n; A() : n([] { int x = 0; return x; }()) {} };\nstruct B { inline static A a; };\n"
       "#define KEEP B::a.n",
       "host: "},
  };
  for (const Row& row : rows) {
    INFO(row.text);
    CHECK_THAT(trouble_of(row.text), Catch::Contains(row.words));
  }
}

TEST_CASE(
    "no address is formed or followed behind a cast, a macro, a reference or the contract's own arrays") {
  const std::vector<Row> rows{
      // The same behind a cast, a block, an alias, a macro or another spelling.
      {"using I = int;\nstruct A { int t[2] = {}; };\nconstexpr int run(int n) { A a{}; return (I) * (a.t + "
       "n); }\n"
       "#define KEEP run(p.M)",
       "\"*\""},
      {"struct A { int t[2] = {}; };\nconstexpr int run(int n) { A a{}; if (n > 9) * (a.t + n) = 1; return "
       "0; }\n"
       "#define KEEP run(p.M)",
       "\"*\""},
      {"struct A { int t[2] = {}; };\nconstexpr int run(int n) { A a{}; { } * (a.t + n) = 1; return 0; }\n"
       "#define KEEP run(p.M)",
       "\"*\""},
      {"#define AT *\nstruct A { int t[2] = {}; };\nconstexpr int run(int n) { A a{}; return AT (a.t + n); "
       "}\n"
       "#define KEEP run(p.M)",
       "\"#define\""},
      {"#define E(x) x\nusing I = int;\nstruct A { int t[2] = {}; };\nconstexpr int run(int n) { A a{}; "
       "return "
       "E((I)) * (a.t + n); }\n#define KEEP run(p.M)",
       "\"#define\""},
      {"struct A { int t[2] = {}; };\nconstexpr int run(int n) { A a{}; return __device__ * (a.t + n); }\n"
       "#define KEEP run(p.M)",
       "\"*\""},
      {"using R = int&;\nconstexpr int run(int n) { return (R)n; }\n#define KEEP run(p.M)", "\"&\""},
      {"constexpr int run(int n) { auto a = bitand n; return 0; }\n#define KEEP run(p.M)", "\"bitand\""},
      {"using I = int;\n#define E 1 + (I)\nstruct A { int t[2] = {}; };\nconstexpr int run(int n) { A a{}; "
       "return "
       "E * (a.t + n); }\n#define KEEP run(p.M)",
       "\"#define\""},
      // References that outlive what they name.
      {"constexpr int& run(int n) { int a = n; return a; }\n#define KEEP run(p.M)", "\"&\""},
      {"struct A { int& a; };\nconstexpr A run(int n) { return {n}; }\n#define KEEP run(p.M).a", "\"&\""},
      {"constexpr auto run(int n) { return [&](int v) { n = v; }; }\n#define KEEP (run(p.M)(1), 0)",
       "\"auto\""},
      {"constexpr int run(int n) { int& r = r; r = n; return 0; }\n#define KEEP run(p.M)", "\"&\""},
      // The contract's own arrays.
      {"constexpr int run(const Problem& p) { return p.x.with_stride(p.M, 1).elements(); }\n#define KEEP "
       "run(p)",
       "with_stride"},
      {"constexpr int run(const Problem& p) { auto t = p.x; t.rank = p.M; return t.elements(); }\n"
       "#define KEEP run(p)",
       "\"rank\""},
      {"constexpr int run(int n) { kl::Plan a{}; a.launch_count_ = n; return 0; }\n#define KEEP run(p.M)",
       "\"Plan\""},
      {"constexpr int run(kl::Plan& a) { a.launch(\"k_1\") = {{}, 9}; return 0; }\n#define KEEP run(plan)",
       "\"{\""},
      {"constexpr int run(int n) { const char* a = \"k\"; return kl::detail::copy_text(a, a, n); }\n"
       "#define KEEP run(p.M)",
       "\"detail\""},
      {"constexpr const char* name(int n) { const char* a = \"k\"; return a + n; }\n"
       "#define KEEP plan.require(true, name(p.M))",
       "\"+\""},
  };
  for (const Row& row : rows) {
    INFO(row.text);
    CHECK_THAT(trouble_of(row.text), Catch::Contains(row.words));
  }
}

TEST_CASE("sources whose plans would smuggle host code into an export are refused for what they hold") {
  int count = 0;
  for (const auto& entry :
       fs::directory_iterator(fs::path(KERNELITES_SOURCE_DIR) / "tests/exploits/host_code")) {
    const std::string source = read_text(entry.path());
    const std::string mark = "// refused for: ";
    const std::size_t at = source.find(mark);
    REQUIRE(at != std::string::npos);
    const std::string expected = source.substr(at + mark.size(), source.find('\n', at) - at - mark.size());
    INFO(entry.path());
    const auto closure = plan_closure(source);
    const auto* problem = std::get_if<ClosureProblem>(&closure);
    REQUIRE(problem != nullptr);
    CHECK_THAT(problem->words, Catch::Contains(expected));
    ++count;
  }
  CHECK(count >= 9);
}

TEST_CASE("the seeds' plans can be taken out of their files") {
  int count = 0;
  for (const auto& entry :
       fs::recursive_directory_iterator(fs::path(KERNELITES_SOURCE_DIR) / "kernels_seed")) {
    if (entry.path().extension() != ".cu") continue;
    const auto closure = plan_closure(read_text(entry.path()));
    INFO(entry.path());
    const auto* problem = std::get_if<ClosureProblem>(&closure);
    INFO((problem == nullptr ? "" : problem->words));
    CHECK(std::holds_alternative<std::string>(closure));
    ++count;
  }
  CHECK(count > 20);
}
