// SPDX-License-Identifier: Apache-2.0
// Sources that attack the compiler, its files, or the screen; each is refused at its stage for its reason.
#include <unistd.h>

#include <chrono>
#include <filesystem>

#include "evaluators/worker/contract/screen.h"
#include "tests/support/catch.h"
#include "tests/unit/nvrtc/compile_fixture.h"

using namespace kernelites;
using namespace kernelites::worker;

namespace {

constexpr const char* k_plan = R"(
constexpr void plan(const Problem& p, kl::Plan& plan) { plan.launch("work").arg(p.o).arg(p.lse); }
)";

struct Row {
  const char* stage;
  const char* reason;
  const char* source;  ///< the plan follows
};

constexpr Row k_rows[] = {
    {"compile", "source_includes", "#include \"/etc/passwd\"\n__global__ void work(void* o, float* l) {}"},
    {"compile", "source_includes",
     "#include </proc/self/environ>\n__global__ void work(void* o, float* l) {}"},
    {"compile", "source_includes", "#include \"../secret.h\"\n__global__ void work(void* o, float* l) {}"},
    {"compile", "source_includes",
     "#include \"cuda/../../../../etc/passwd\"\n__global__ void work(void* o, float* l) {}"},
    {"compile", "source_includes", "%:include \"/etc/passwd\"\n__global__ void work(void* o, float* l) {}"},
    {"compile", "source_includes",
     "#inc\\\nlude \"/etc/passwd\"\n__global__ void work(void* o, float* l) {}"},
    {"compile", "source_includes",
     "# /* x */ include \"/etc/passwd\"\n__global__ void work(void* o, float* l) {}"},
    {"compile", "source_includes",
     "#define F \"/etc/passwd\"\n#include F\n__global__ void work(void* o, float* l) {}"},
    {"compile", "source_includes", "#include_next <cuda_bf16.h>\n__global__ void work(void* o, float* l) {}"},
    {"compile", "source_line_directive",
     "#line 1 \"kernelites_plan.cu\"\n__global__ void work(void* o, float* l) {}"},
    {"compile", "source_asks_files",
     "#if __has_include(\"/etc/passwd\")\n#endif\n__global__ void work(void* o, float* l) {}"},
    {"compile", "source_asks_evaluation",
     "__global__ void work(void* o, float* l) {}\nconstexpr int f() { if consteval { return 1; } return 2; "
     "}"},
    {"compile", "source_asks_evaluation",
     "__global__ void work(void* o, float* l) {}\nconstexpr int f() { return "
     "__builtin_is_constant_evaluated() ? 1 : 2; }"},
    {"compile", "source_asks_time", "__global__ void work(void* o, float* l) { l[0] = __TIME__[7]; }"},
    {"compile", "source_names_harness",
     "__device__ int kernelites_plans;\n__global__ void work(void* o, float* l) {}"},
    {"compile", "option_not_allowed",
     "// options: --pre-include=/etc/passwd\n__global__ void work(void* o, float* l) {}"},
    {"compile", "option_not_allowed", "// options: -I/etc\n__global__ void work(void* o, float* l) {}"},
    {"screen", "screen_hidden_entry",
     "__global__ void work(void* o, float* l) {\n  l[0] = 1;\n  asm volatile(\"ret;\\n}\\n.visible .entry "
     "evil() {\\n ret;\\n\");\n}"},
    {"screen", "screen_module_state",
     "__device__ int calls;\n__global__ void work(void* o, float* l) { l[0] = ++calls; }"},
    {"screen", "screen_module_state",
     "__global__ void work(void* o, float* l) {\n  asm volatile(\"{\\n.global .u32 hidden;\\n.reg .b32 "
     "r;\\nld.global.u32 r, [hidden];\\n"
     "st.global.u32 [%0], r;\\n}\" ::\"l\"(l));\n}"},
    {"screen", "screen_module_state",
     "__device__ char big[1ull << 36];\n__global__ void work(void* o, float* l) { l[0] = 1; }"},
    {"screen", "screen_module_state",
     "__device__ int state[4] = {1, 2, 3, 4};\n__global__ void work(void* o, float* l) { l[0] = state[0]++; "
     "}"},
    {"passed", "passed",
     "constexpr int table[4] = {1, 2, 3, 4};\n__global__ void work(void* o, float* l) { l[0] = "
     "table[threadIdx.x & 3]; }"},
    {"screen", "screen_clock", "__global__ void work(void* o, float* l) { l[0] = clock64() & 1; }"},
    {"screen", "screen_clock",
     "__global__ void work(void* o, float* l) { unsigned t; asm(\"mov.u32 %0, %%globaltimer_lo;\" : "
     "\"=r\"(t)); l[0] = t; }"},
    {"screen", "screen_launch_counter",
     "__global__ void work(void* o, float* l) { unsigned long long t; asm(\"mov.u64 %0, %%gridid;\" : "
     "\"=l\"(t)); l[0] = t; }"},
    {"screen", "screen_external_symbol",
     "__global__ void work(void* o, float* l) { l[0] = *(float*)malloc(8); }"},
    {"screen", "screen_external_symbol",
     "__global__ void work(void* o, float* l) { printf(\"%p\", o); l[0] = 1; }"},
    {"screen", "screen_local_memory",
     "__global__ void work(void* o, float* l) { float x[20000]; for (int i = 0; i < 20000; ++i) x[i] = l[i]; "
     "float s = 0; for (int i = 0; i < 20000; ++i) s += x[int(l[i])]; l[0] = s; }"},
    {"screen", "screen_tensormap",
     "__global__ void work(void* o, float* l) { asm "
     "volatile(\"tensormap.replace.tile.global_address.global.b1024.b64 [%0], "
     "%1;\" ::\"l\"(o), \"l\"(l)); }"},
    {"screen", "screen_unplain_assembly",
     "__global__ void work(void* o, float* l) { unsigned t; asm volatile(\"mov.u32 %0, 1; .pragma "
     "\\\"a\\\\\\\"; mov.u32 "
     "%0, %%clock; // \\\";\\n\" : \"=r\"(t)); l[0] = t; }"},
    {"screen", "screen_unplain_assembly",
     "__global__ void work(void* o, float* l) { unsigned n; asm volatile(\"{ mov.u32 %0, 0; .pragma "
     "\\\"a\\\\\\\"; .global "
     ".align 4 .u32 hidden; atom.global.add.u32 %0, [hidden], 1; // \\\";\\n }\" : \"=r\"(n)); l[0] = n; }"},
    {"screen", "screen_module_state",
     "__managed__ int table[2] = {1, 2};\n__global__ void work(void* o, float* l) { l[0] = table[1]; }"},
    {"screen", "screen_module_state",
     "#include <mma.h>\n__device__ float table[256] = {1.0f};\n__global__ void work(void* o, float* l) {\n  "
     "using "
     "namespace nvcuda::wmma;\n  fragment<accumulator, 16, 16, 16, float> f;\n  fill_fragment(f, "
     "table[5]);\n  "
     "store_matrix_sync(table, f, 16, mem_row_major);\n  l[0] = 1;\n}"},
    {"screen", "screen_module_state",
     "__device__ int table[256] = {1};\n__global__ void work(void* o, float* l) {\n  unsigned long long a = "
     "(unsigned "
     "long long)table, b = 0;\n  for (int i = 0; i < 64; ++i) if (a >> i & 1) b |= 1ull << i;\n  *(int*)b = "
     "7;\n  l[0] "
     "= table[3];\n}"},
    {"screen", "screen_module_state",
     "__constant__ unsigned calls[2] = {1, 2};\n__global__ void work(void* o, float* l) {\n  unsigned long "
     "long at;\n"
     "  asm volatile(\"cvta.const.u64 %0, %1;\" : \"=l\"(at) : \"l\"(__cvta_generic_to_constant(calls)));\n"
     "  atomicAdd((unsigned*)at, 1u);\n  l[0] = calls[1];\n}"},
    {"passed", "passed",
     "__constant__ float table[64] = {1, 2, 3};\n__device__ float at(const float* t, int i) { return t[i]; "
     "}\n"
     "__global__ void work(void* o, float* l) {\n  l[0] = at(table + threadIdx.x % 8, int(l[1]) & 31) + "
     "table[threadIdx.x & 63];\n}"},
    {"screen", "screen_harness_name",
     "extern \"C\" __global__ void harness_poison(void* o) {}\n__global__ void work(void* o, float* l) { "
     "l[0] = 1; }"},
    {"passed", "passed",
     "__device__ const float table[64] = {1, 2, 3};\n__device__ float at(const float* t, int i) { return "
     "t[i]; }\n__global__ "
     "void work(void* o, float* l) {\n  float s = 0;\n  for (int i = 0; i < 64; ++i) s += at(table, i) * "
     "l[i];\n  l[0] = "
     "s + table[threadIdx.x & 63];\n}"},
    {"passed", "passed",
     "#include <stdio.h>\n__global__ void work(void* o, float* l) { printf(\"%p\", o); assert(l); l[0] = 1; "
     "}"},
    {"passed", "passed",
     "__constant__ float table[4] = {1, 2, 3, 4};\nconstexpr int k_zero = 0;\nstruct C { static constexpr "
     "bool off "
     "= false; };\n__global__ void work(void* o, float* l) { l[0] = table[threadIdx.x & 3] + k_zero + "
     "C::off; }"},
    {"passed", "passed",  // its macros end where the harness's table of plans begins
     "#define bf16 unsigned short\n#define stream 3\n#define begin(n) begin((n) + 1)\n"
     "__global__ void work(bf16* o, float* l) { l[0] = stream; }"},
    {"passed",
     "passed",  // a macro of a word that the compiler owns does not reach the harness's table either
     "__global__ void work(void* o, float* l) { l[0] = 1; }\n#define __device__ @\n#define __attribute__(x) "
     "@\n"
     "#undef __global__\n#define K(x) x\n"},
    {"compile", "source_names_harness",
     "#define GLUE(a, b) a##b\nconstexpr int plans();\n__global__ void work(void* o, float* l) { l[0] = 1; "
     "}\n"
     "#define __device__ int unused; constexpr int plans() { return sizeof(GLUE(kern, elites_stream)); } "
     "extern \"C\" __attribute__((device))\n"},
    {"compile", "compile_error",
     "template <> struct kl::detail::Stream<1> {};\n__global__ void work(void* o, float* l) { l[0] = 1; }"},
    {"passed", "passed",
     "// not %clock, \"#include </etc/passwd>\"\n__global__ void work(void* o, float* l) { l[0] = 1; }"},
};

std::pair<std::string, std::string> outcome_of(const std::string& source, std::string& words) {
  auto result = compile_text(source, {"ragged"});
  if (const auto* verdict = std::get_if<Verdict>(&result)) {
    words = verdict->message;
    return {verdict->stage, verdict->reason};
  }
  const auto verdict = screen(std::get<CompiledCandidate>(result));
  words = verdict ? verdict->message : "";
  return verdict ? std::pair(verdict->stage, verdict->reason)
                 : std::pair<std::string, std::string>("passed", "passed");
}

double seconds_of(const std::string& source, std::string& reason) {
  const auto begin = std::chrono::steady_clock::now();
  std::string words;
  reason = outcome_of(source, words).second;
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

}  // namespace

TEST_CASE("hostile sources are refused at their stage for their reason, and honest look-alikes pass") {
  for (const Row& row : k_rows) {
    std::string words;
    const auto [stage, reason] = outcome_of(std::string(row.source) + k_plan, words);
    INFO(row.source << "\n" << words);
    CHECK(stage == row.stage);
    CHECK(reason == row.reason);
  }
}

TEST_CASE("the jail keeps files out of the compiler, whatever the text rules miss") {
  const auto file =
      std::filesystem::temp_directory_path() / ("kernelites_sentinel_" + std::to_string(::getpid()) + ".h");
  write_text_atomically(file, "sentinel_4711 this is no code\n");
  CompileInput input;
  input.source = "#include \"" + file.string() + "\"\n__global__ void f(float* o) {}\n";
  input.options = {"-arch=sm_90a"};
  const CompileOutput jailed = test_compiler().compile(input, 20);
  CHECK(jailed.failure == "compile_error");
  CHECK(jailed.log.find("sentinel_4711") == std::string::npos);
  // Without a jail the compiler reads the file and quotes it: the test can fail.
  const CompileOutput open = compile_in_process(open_nvrtc(test_compiler().toolkit()), input);
  CHECK(open.log.find("sentinel_4711") != std::string::npos);
  std::filesystem::remove(file);
}

TEST_CASE("a runaway plan ends within seconds and says so") {
  std::string reason;
  const std::string source =
      "__global__ void work(void* o, float* l) {}\n"
      "constexpr int fib(int n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); }\n"
      "constexpr void plan(const Problem& p, kl::Plan& plan) { plan.launch(\"work\").grid(fib(80)); }";
  CHECK(seconds_of(source, reason) < 12);
  CHECK((reason == "plan_not_constant" || reason == "compile_deadline"));
}

TEST_CASE(
    "a compiler that runs out of memory after thousands of warnings is named so, not the source's error") {
  CompileInput input;
  input.source =
      "template <int N, int I> struct Tree {\n"
      "  static constexpr int value = Tree<N - 1, 2 * I>::value + Tree<N - 1, 2 * I + 1>::value;\n"
      "};\n"
      "template <int I> struct Tree<0, I> { static constexpr int value = I; };\n"
      "__global__ void f(int* o) { o[0] = Tree<24, 1>::value; }\n";
  input.options = {"-arch=sm_90a"};
  const CompileOutput output = test_compiler().compile(input, 60);
  CHECK_FALSE(output.ok);
  CHECK((output.failure == "compiler_out_of_memory" || output.failure == "compiler_crash" ||
         output.failure == "compile_deadline"));
}

TEST_CASE("a compile bomb is killed at its deadline and named") {
  std::string bomb = "#define A0 x+x\n";
  for (int i = 1; i < 30; ++i)
    bomb +=
        "#define A" + std::to_string(i) + " A" + std::to_string(i - 1) + "+A" + std::to_string(i - 1) + "\n";
  CompileInput input;
  input.source = bomb + "__global__ void f(int* o) { int x = 1; o[0] = A29; }\n";
  input.options = {"-arch=sm_90a"};
  const CompileOutput output = test_compiler().compile(input, 1.5);
  CHECK_FALSE(output.ok);
  CHECK((output.failure == "compile_deadline" || output.failure == "compiler_crash"));
  input.source = "__global__ void f(int* o) { o[0] = 1; }\n";
  CHECK(test_compiler().compile(input, 20).ok);  // the next compile has a healthy child
}
