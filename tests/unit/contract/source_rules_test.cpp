// SPDX-License-Identifier: Apache-2.0
// Sources that hide words, headers and evaluation queries from the text rules, and honest ones that look alike.
#include "evaluators/worker/contract/source_rules.h"

#include <algorithm>
#include <chrono>

#include "evaluators/worker/contract/source_text.h"
#include "tests/support/catch.h"

using namespace kernelites::worker;

namespace {

std::string reason_of(const std::string& source) {
  const auto verdict = check_source(source);
  return verdict ? verdict->reason : "passed";
}

struct Row {
  const char* reason;
  const char* source;
};

constexpr Row k_rows[] = {
    // literal prefixes, separators and raw strings
    {"source_asks_evaluation", "int a = sizeof(L'/*');\nbool b = __builtin_is_constant_evaluated();\n// */"},
    {"source_asks_evaluation",
     "int a = sizeof(u8\"/*\");\nbool b = __builtin_is_constant_evaluated();\n// */"},
    {"source_asks_evaluation",
     "int a = sizeof(LR\"(\")\"); bool b = __builtin_is_constant_evaluated(); int c = sizeof(\"\");"},
    {"source_asks_evaluation",
     "int a = 1'0 + '\"'; bool b = __builtin_is_constant_evaluated(); int c = '\"';"},
    {"source_asks_time", "const char* t = __TI\\\nME__;"},
    {"source_asks_time", "auto r = R\"x()\\\nx\" /*)x\"; auto t = __TI\\\nME__; // */"},
    {"source_unclear", "#if 0\nR\"(\n#endif\nbool b = __TIME__;\n)\""},
    {"source_unclear", "#define X R\"(\n)\"\n"},
    {"source_unclear", "auto r = R\\\n\"(a)\";"},
    {"source_unclear", "int kernelite\\u0073_x;"},
    {"source_not_text", "\v#include \"/etc/passwd\""},
    {"source_not_text", "#\finclude \"/etc/passwd\""},
    {"source_not_text", "int a; // \r int b;"},
    {"passed", "int a = 1'000'000; char c = 'k'; auto s = u8\"// no\"; float f = 1.5e-3f; int h = 0xE+1;"},
    {"passed", "#define TWICE(x) \\\n  ((x) + \\\n   (x))\r\nint a = TWICE(2);\r\n"},
    {"passed", "auto s = R\"(\n  mov.u32 %0, 1; // \\n __TIME__\n)\";"},
    {"passed", "// it's a comment, isn't it? \\ here\nint a;"},
    // headers
    {"source_includes", "#include /* <cuda_fp16.h> */ \"/etc/passwd\""},
    {"source_includes", "#define H \"/etc/passwd\"\n#include H // \"cuda_fp16.h\""},
    {"source_includes", "#include <cuda_fp16.h> \"/etc/passwd\""},
    {"source_includes", "#include \"cuda_fp16.h\nint a;"},
    {"source_includes", "#include <cuda//../../etc/passwd>"},
    {"source_line_directive", "# 5 \"kernelites_plan.cu\"\n"},
    {"passed", "#include <cuda_bf16.h>  // half\n# include \"kernelites/ptx.cuh\" /* ours */\n"},
    // pasted words
    {"source_asks_evaluation",
     "#define P2(a, b) a##b\nbool f() { return P2(__builtin_is_const, ant_evaluated)(); }"},
    {"source_asks_time", "#define C(a, b) a %:%: b\nauto t = C(__TI, ME__);"},
    {"source_names_harness", "#define C(a, b) a##b\nvoid C(kern, elites_evaluate)();"},
    {"passed", "#define VARIANT(n) kernel_##n\nvoid VARIANT(1)(); void VARIANT(time)();"},
    // names of the harness
    {"source_names_harness", "#define kernelites_evaluate(a, b) touch<(a).M>()"},
    {"source_names_harness", "int kernelites_other;"},
    {"source_names_harness", "#define C(a) kernelites##a"},
    {"source_names_harness", "#define C(a, b) a##b\nint n = sizeof(C(kern, elites_stream));"},
    {"source_names_harness", "#define C(a, b) a##b\nint C(x = kernelites, _stream);"},
    {"source_names_harness", "#define A = kernelites\n;"},
    {"passed",
     "#define C(a, b) a##b\nnamespace ptx = kernelites::ptx;\nnamespace k = kernelites;\nint C(x, _y);"},
    {"passed", "namespace kx = kernelites;\nusing kernelites::Plan;\n#include <kernelites/plan.cuh>\n"},
    // consteval
    {"source_asks_evaluation", "#define I if\nint f() { I consteval { return 1; } return 2; }"},
    {"source_asks_evaluation", "#define I() if\nint f() { I() consteval { return 1; } return 2; }"},
    {"source_asks_evaluation", "int f() { if ! consteval { return 1; } return 2; }"},
    {"source_asks_evaluation", "#define C consteval\nint f() { if C { return 1; } return 2; }"},
    {"passed",
     "consteval int a() { return 1; }\nstatic consteval int b() { return 2; }\ntemplate <int N> consteval "
     "int c();"},
};

}  // namespace

TEST_CASE("no spelling hides a word, a header or a query from the text rules") {
  for (const Row& row : k_rows) {
    INFO(row.source);
    CHECK(reason_of(row.source) == row.reason);
  }
}

TEST_CASE("code keeps the length and lines of its source, splices or not") {
  for (const Row& row : k_rows) {
    const std::string_view source = row.source;
    const std::string code = read_source(source).code;
    INFO(source);
    CHECK(code.size() == source.size());
    CHECK(std::count(code.begin(), code.end(), '\n') == std::count(source.begin(), source.end(), '\n'));
  }
}

TEST_CASE("one long line of a whole source's size is judged at once") {
  std::string source = "#if ";
  while (source.size() < 60'000) source += "a<\"b\" ";
  const auto begin = std::chrono::steady_clock::now();
  CHECK(reason_of(source) == "passed");
  CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds(1));
}
