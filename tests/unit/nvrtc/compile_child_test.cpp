// SPDX-License-Identifier: Apache-2.0
// The toolkit search, the encoding of compiles, and the compile child.
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <thread>

#include "engine/core/error.h"
#include "tests/support/catch.h"
#include "tests/unit/nvrtc/compile_fixture.h"

using namespace kernelites;
using namespace kernelites::worker;

namespace {

CompileInput tiny(const std::string& body = "o[0] = 1;") {
  CompileInput input;
  input.source = "template <int N> __global__ void f(float* o) { " + body + " }\n";
  input.options = {"-arch=sm_90a", "--std=c++20"};
  input.name_expressions = {"f<3>"};
  return input;
}

/// Processes whose parent is this one.
std::set<pid_t> children() {
  std::set<pid_t> found;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    const std::string name = entry.path().filename().string();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    std::ifstream file(entry.path() / "stat");
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    std::istringstream rest(text.substr(std::min(text.rfind(')') + 1, text.size())));
    char state = 0;
    pid_t parent = 0;
    if (rest >> state >> parent && parent == ::getpid()) found.insert(std::stoi(name));
  }
  return found;
}

}  // namespace

TEST_CASE("warm children that were killed are replaced, and no candidate's verdict tells of it") {
  const std::set<pid_t> before = children();
  Compiler compiler(find_toolkit({}));
  int killed = 0;
  for (const pid_t child : children()) {
    if (!before.contains(child)) killed += ::kill(child, SIGKILL) == 0;
  }
  CHECK(killed == static_cast<int>(k_warm_children));
  CHECK(compiler.compile(tiny(), 30).ok);
}

TEST_CASE("a compile may use threads in its jail, and no processes") {
  CompileInput input = tiny();
  input.source += "__global__ void g(float* o) { o[1] = 2; }\n";
  input.name_expressions.push_back("g");
  Compiler compiler(find_toolkit({}));
  const auto split_by = [&](const std::string& threads) {
    CompileInput split = input;
    split.options.push_back("--ptxas-options=--split-compile=" + threads);
    return compiler.compile(split, 30);
  };
  const CompileOutput output = split_by("4");
  CHECK(output.failure == "");
  CHECK(output.lowered_names.size() == 2);
  // ptxas reads the option; that it then begins threads for two kernels is its word.
  CHECK_FALSE(split_by("many").ok);
}

TEST_CASE("the toolkit is found and says its version") {
  const Toolkit toolkit = find_toolkit({});
  CHECK(toolkit.version.substr(0, 6) == "NVRTC ");
  CHECK(std::filesystem::exists(toolkit.include_folders.at(0) / "cuda_bf16.h"));
}

TEST_CASE("an explicit folder without a toolkit is an error that names it") {
  const auto empty = std::filesystem::temp_directory_path();
  CHECK_THROWS_WITH(find_toolkit({.explicit_folder = empty, .further_folders = {}}),
                    Catch::Contains(empty.string()));
}

TEST_CASE("a folder laid out as wheels are is a toolkit") {
  const Toolkit real = find_toolkit({});
  const auto root =
      std::filesystem::temp_directory_path() / ("kernelites_wheels_" + std::to_string(::getpid()));
  std::filesystem::create_directories(root / "cu13" / "lib");
  std::filesystem::create_symlink(real.library, root / "cu13" / "lib" / real.library.filename());
  std::filesystem::create_directory_symlink(real.include_folders.at(0), root / "cu13" / "include");
  const Toolkit found = find_toolkit({.explicit_folder = root, .further_folders = {}});
  CHECK(found.library.parent_path() == root / "cu13" / "lib");
  CHECK(found.version == real.version);
  std::filesystem::remove_all(root);
}

TEST_CASE("inputs and outputs survive their encoding") {
  CompileInput input = tiny();
  input.headers = {{"a.h", "int a;"}};
  input.ptx_only = true;
  CHECK(decode_compile_input(encode(input)) == input);
  CompileOutput output{.ok = true,
                       .failure = "",
                       .log = "caf\xe9",
                       .ptx = "ptx",
                       .cubin = {std::byte{1}, std::byte{0}},
                       .lowered_names = {{"f<3>", "_Z1f"}},
                       .ms = 1.5};
  std::vector<std::byte> payload;
  const Json body = encode(output, payload);
  CHECK(decode_compile_output(body, payload) == output);
  payload.pop_back();
  CHECK(decode_compile_output(body, payload).failure == "bad_output");
}

TEST_CASE("a child compiles to PTX, cubin and lowered names") {
  const CompileOutput output = test_compiler().compile(tiny(), 30);
  INFO(output.log);
  REQUIRE(output.ok);
  CHECK(output.ptx.find(".target sm_90a") != std::string::npos);
  CHECK(output.cubin.size() > 500);
  CHECK(output.lowered_names.at("f<3>") == "_Z1fILi3EEvPf");
}

TEST_CASE("an error in the source is a value with the compiler's words") {
  const CompileOutput output = test_compiler().compile(tiny("o[0] = nonsense;"), 30);
  CHECK(output.failure == "compile_error");
  CHECK(output.log.find("nonsense") != std::string::npos);
}

TEST_CASE("compiles from several threads do not disturb each other") {
  std::vector<CompileOutput> outputs(3);
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    threads.emplace_back(
        [&, i] { outputs[i] = test_compiler().compile(tiny("o[0] = " + std::to_string(i) + ";"), 60); });
  }
  for (std::thread& thread : threads) thread.join();
  for (const CompileOutput& output : outputs) CHECK(output.ok);
  CHECK(outputs[0].ptx != outputs[1].ptx);
}

TEST_CASE("compile_once compiles an input once, and another one again") {
  Compiler compiler(find_toolkit({}));
  CompileInput input{.source = "extern \"C\" __global__ void k(int* p) { *p = 1; }",
                     .options = {"-arch=compute_90"},
                     .ptx_only = true};
  const CompileOutput first = compiler.compile_once(input, 60);
  REQUIRE(first.ok);
  // Milliseconds are measured: a second compile would hardly repeat them.
  CHECK(compiler.compile_once(input, 60) == first);
  input.source += "\n";
  CHECK(compiler.compile_once(input, 60).ms != first.ms);
}
