// SPDX-License-Identifier: Apache-2.0
// An exported library builds with the host compiler alone and asks the driver for what the plans say.
#include <fmt/format.h>
#include <stdlib.h>

#include <cstring>
#include <fstream>
#include <sstream>

#include "engine/core/error.h"
#include "tests/support/catch.h"
#include "tests/support/temporary_folder.h"
#include "tests/unit/exporting/library_candidate.h"
#include "tools/exporting/export_session.h"
#include "tools/exporting/manifest.h"
#include "tools/exporting/plan_closure.h"

using namespace kernelites;
namespace fs = std::filesystem;

namespace {

const fs::path k_worker = fs::path(KERNELITES_BUILD_DIR) / "evaluators" / "worker" / "kernelites-worker";
const fs::path k_source = KERNELITES_SOURCE_DIR;
/// Of the CMake project and the program in a library's README, together.
constexpr int k_readme_lines_max = 20;

ExportInputs made(const Task& task, const Portfolio& portfolio, PlanMode plans, bool has_test = false,
                  std::vector<std::string> architectures = {}) {
  ExportOrder order;
  order.architectures = std::move(architectures);
  order.plans = plans;
  order.proof_shapes = 80;
  order.worker = k_worker;
  order.has_test = has_test;
  return make_export(task, portfolio, order, [](const std::string&) {});
}

void write_all(const fs::path& to, const ExportInputs& inputs) {
  std::vector<ExportFile> files = cpp_files(inputs);
  files.push_back(manifest_file(manifest_json(inputs.portfolio, inputs.task, "cpp", inputs.facts, files)));
  write_export(to, files);
}

/// What the command said; empty if it went well.
std::string trouble_of(const fs::path& folder, const std::string& command) {
  const std::string log = (folder / "log.txt").string();
  const int code =
      std::system(("cd " + folder.string() + " && (" + command + ") > " + log + " 2>&1").c_str());
  return code == 0 ? "" : command + "\n" + read_text(log);
}

std::vector<std::string> lines_of(const fs::path& file) {
  std::vector<std::string> lines;
  std::ifstream stream(file);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

std::string line_with(const std::vector<std::string>& lines, const std::string& words) {
  for (const std::string& line : lines)
    if (line.find(words) != std::string::npos) return line;
  return "";
}

/// A program that launches two shapes, one of them by four threads too, asks for what is refused, and has a fallback.
const char* const k_program = R"(
#include <dlfcn.h>
#include <unistd.h>
#include <cstdio>
#include <thread>
#include "scaled_rows.hpp"
static scaled_rows_status own(void* user, const scaled_rows_problem* p, const scaled_rows_tensors*, CUstream) {
  std::printf("fallback %d %lld\n", *(int*)user, (long long)p->N);
  return SCALED_ROWS_OK;
}
static scaled_rows_status nested(void* library, const scaled_rows_problem* p, const scaled_rows_tensors* t, CUstream) {
  scaled_rows_problem other = *p;
  other.M = 512, other.N = 64;
  return scaled_rows_launch((scaled_rows_library*)library, &other, t, (void*)0x400000, 1 << 20, nullptr);
}
static void log_line(const char* text) {
  FILE* file = fopen("fake_cuda.log", "a");
  fprintf(file, "%s\n", text);
  fclose(file);
}
int main() {
  scaled_rows_library* nothing = nullptr;
  if (scaled_rows_open(&nothing) != SCALED_ROWS_NO_CONTEXT) return 10;
  std::printf("%s\n", scaled_rows_error());
  void* cuda = dlopen("libcuda.so.1", RTLD_NOW);
  void* context = nullptr;
  ((int (*)(void**, int))dlsym(cuda, "cuDevicePrimaryCtxRetain"))(&context, 0);
  ((int (*)(void*))dlsym(cuda, "cuCtxSetCurrent"))(context);
  scaled_rows::Library library;
  scaled_rows::Problem tall = {512, 64, 0.5}, wide = {16, 1024, 0.5};
  const scaled_rows::Tensors tensors = {(void*)0x100000, (void*)0x200000, (void*)0x300000};
  std::printf("workspace %zu %zu choice %d %d\n", library.workspace_size(tall), library.workspace_size(wide),
              scaled_rows_choice(library.get(), &tall), scaled_rows_choice(library.get(), &wide));
  size_t zero[2] = {1, 1}, third = 0;
  scaled_rows_workspace_zero_size(library.get(), &tall, &zero[0]);
  scaled_rows_workspace_zero_size(library.get(), &wide, &zero[1]);
  const scaled_rows::Problem narrow = {16, 48, 0.5};
  scaled_rows_workspace_size_of(library.get(), 0, &narrow, &third);
  std::printf("zero %zu %zu, without any %zu\n", zero[0], zero[1], third);
  library.workspace_init((void*)0x400000, 1 << 20, (CUstream)7);
  log_line("-- launches");
  library.launch(tall, tensors, (void*)0x400000, 1 << 20, (CUstream)7);
  library.launch(wide, tensors, (void*)0x400000, 1 << 20, (CUstream)7);
  log_line("-- again, by threads");
  std::thread others[4];
  for (std::thread& other : others)
    other = std::thread([&] {
      ((int (*)(void*))dlsym(cuda, "cuCtxSetCurrent"))(context);
      library.launch(wide, tensors, (void*)0x400000, 1 << 20, (CUstream)7);
    });
  for (std::thread& other : others) other.join();
  log_line("-- carve-outs");
  for (const scaled_rows::Problem& p : {tall, wide, tall})
    scaled_rows_launch_arm(library.get(), 0, &p, &tensors, nullptr, 0, nullptr);
  log_line("-- memory");
  {
    scaled_rows::Memory memory(library, tall);
    std::printf("bytes %zu %zu %zu\n", memory.x.bytes(), memory.len.bytes(), memory.y.bytes());
    memory.len.set(std::vector<int>(512, 7));
    std::printf("len %d\n", memory.len.get<int>()[511]);
    library.run(tall, memory, (CUstream)9);
    try {
      memory.len.set(std::vector<int>(3));
    } catch (const std::exception& error) {
      std::printf("%s\n", error.what());
    }
    try {
      scaled_rows::Memory outside(library, {4096, 64, 0.5});
    } catch (const scaled_rows::Error& error) {
      std::printf("memory: %s\n", error.what());
    }
  }
  log_line("-- refusals");
  const auto status = [&](scaled_rows::Problem p, scaled_rows::Tensors t, size_t bytes) {
    const int code = scaled_rows_launch(library.get(), &p, &t, (void*)0x400000, bytes, nullptr);
    std::printf("status %d %s\n", code, scaled_rows_error());
  };
  status({0, 64, 0.5}, tensors, 1 << 20);
  status({4096, 64, 0.5}, tensors, 1 << 20);
  status(tall, {(void*)0x100008, (void*)0x200000, (void*)0x300000}, 1 << 20);
  status(tall, {nullptr, (void*)0x200000, (void*)0x300000}, 1 << 20);
  status(tall, tensors, 100);
  int user = 42;
  scaled_rows_set_fallback(library.get(), own, &user);
  std::printf("with fallback: choice %d %d\n", scaled_rows_choice(library.get(), &tall),
              scaled_rows_choice(library.get(), &wide));
  log_line("-- nested");
  {
    scaled_rows::Library fresh;
    scaled_rows_set_fallback(fresh.get(), nested, fresh.get());
    alarm(60);  // a lock that is held for ever ends the program
    fresh.launch(wide, tensors, nullptr, 0, nullptr);
    alarm(0);
  }
  log_line("-- fallback");
  library.launch(wide, tensors, nullptr, 0, nullptr);
  return 0;
}
)";

/// The first fenced block of a language in a text.
std::string block_of(const std::string& text, const std::string& language) {
  const std::size_t begin = text.find("```" + language + "\n") + 4 + language.size();
  return text.substr(begin, text.find("```", begin) - begin);
}

/// Builds and installs the library by CMake as its README says, then `k_program` by pkg-config and the fake driver;
/// what the program printed.
std::vector<std::string> built_and_run(const fs::path& folder) {
  std::ofstream(folder / "program.cpp") << k_program;
  const std::string fake = (k_source / "tests" / "support" / "fake_cuda_driver.cpp").string();
  CHECK(trouble_of(
            folder,
            "cmake -G Ninja -S out -B build -DCMAKE_BUILD_TYPE=Debug -DCMAKE_INSTALL_PREFIX=$PWD/installed "
            "-DCMAKE_CXX_FLAGS='-O0 -g0 -Wall -Wextra -Werror' && cmake --build build && cmake --install "
            "build") == "");
  CHECK(trouble_of(folder, "c++ -shared -fPIC -O0 -w -o libcuda.so.1 " + fake) == "");
  CHECK(trouble_of(
            folder,
            "export PKG_CONFIG_PATH=installed/lib/pkgconfig && c++ -std=c++17 -O0 program.cpp -o program "
            "$(pkg-config --static --cflags --libs scaled_rows)") == "");
  CHECK(trouble_of(folder, "LD_LIBRARY_PATH=. ./program > program.txt") == "");
  return lines_of(folder / "program.txt");
}

/// The project and the program of the README, built against what `built_and_run` installed, on the fake driver; what it
/// printed.
std::string readme_project(const fs::path& folder) {
  const std::string readme = read_text(folder / "out" / "README.md");
  fs::create_directories(folder / "downstream");
  const std::string project = block_of(readme, "cmake"), program = block_of(readme, "cpp");
  CHECK(std::count(project.begin(), project.end(), '\n') + std::count(program.begin(), program.end(), '\n') <=
        k_readme_lines_max);
  std::ofstream(folder / "downstream" / "CMakeLists.txt") << project;
  std::ofstream(folder / "downstream" / "main.cpp") << program;
  CHECK(
      trouble_of(folder,
                 "cmake -G Ninja -S downstream -B there -DCMAKE_PREFIX_PATH=$PWD/installed && cmake --build "
                 "there && cd there && LD_LIBRARY_PATH=.. ./downstream > printed.txt") == "");
  return read_text(folder / "there" / "printed.txt");
}

}  // namespace

TEST_CASE("the plan of a file comes out with what it needs and nothing of its kernels") {
  const auto closure = plan_closure(k_rich_candidate);
  REQUIRE(std::holds_alternative<std::string>(closure));
  const std::string& text = std::get<std::string>(closure);
  for (const char* word :
       {"constexpr void plan", "ROUNDED", "struct Shared", "rows()", "second_step", "waves", "TILE = 8"})
    CHECK(text.find(word) != std::string::npos);
  for (const char* word : {"asm", "__global__", "make_float4", "lane_of", "#include"})
    CHECK(text.find(word) == std::string::npos);
  CHECK(std::holds_alternative<ClosureProblem>(plan_closure("__global__ void k() {}")));
  CHECK(std::holds_alternative<ClosureProblem>(
      plan_closure("constexpr void plan(const Problem& p, kl::Plan& plan) {")));
}

TEST_CASE(
    "an exported library launches what the plans say, on the arm that the dispatch says, and refuses with "
    "words") {
  TemporaryFolder folder;
  const Task task = library_task();
  const Portfolio portfolio = library_portfolio();
  const ExportInputs inputs = made(task, portfolio, PlanMode::code, true);
  CHECK(inputs.facts.at("plans").at("proof").at("shapes_equal") == 160);
  write_all(folder.path() / "out", inputs);
  const std::vector<std::string> printed = built_and_run(folder.path());
  CHECK(readme_project(folder.path()) == "y has 131072 values\n");
  CHECK(line_with(printed, "no CUDA context") != "");
  CHECK(line_with(printed, "workspace ") == "workspace 534528 0 choice 1 0");
  // What no shape clears lies behind what others find zero.
  CHECK(line_with(printed, "zero ") == "zero 256 0, without any 524544");
  CHECK(line_with(printed, "status 1 ") == "status 1 M = 0 is not within 1 to 512");
  CHECK(line_with(printed, "status 5 ") == "status 5 M = 4096 is not within 1 to 512");
  CHECK(line_with(printed, "aligned") == "status 1 x is not aligned to 256 bytes");
  CHECK(line_with(printed, "x is null") != "");
  CHECK(line_with(printed, "status 7 ") == "status 7 this shape needs a workspace of 534528 bytes");
  CHECK(line_with(printed, "with fallback") == "with fallback: choice 1 -1");
  CHECK(line_with(printed, "fallback 42") == "fallback 42 1024");
  const std::vector<std::string> log = lines_of(folder.path() / "fake_cuda.log");
  const auto begin = std::find(log.begin(), log.end(), "-- launches"),
             end = std::find(log.begin(), log.end(), "-- again, by threads");
  REQUIRE(end - begin == 6);
  // x as [512, 64 * 8] bf16 (9); rows of 8 by 8; 0.5 * 1.5 = 0.75f is 0x3f400000.
  CHECK(begin[1] == "encode 1048576 type 9 extents 512 512 strides 1024 box 8 8 swizzle 0 promotion 2");
  CHECK(begin[2] == "memset 4718592 0 2048");
  CHECK(begin[3].find("scale_5") != std::string::npos);
  CHECK(begin[3].find(" grid 128,1,1 block 64,1,1 shared 149 stream 7 attribute 4=2,1,1 77 2097152 3145728 "
                      "1061158912 64") != std::string::npos);
  CHECK(
      begin[4] ==
      "launch finish_4 grid 1,1,1 block 32,1,1 shared 0 stream 7 attribute 6=1 4194304 4720640 4718592 512");
  CHECK(begin[5] ==
        "launch plain_4 grid 16,1,1 block 32,1,1 shared 0 stream 7 attribute 14=60 1048576 2097152 3145728 "
        "3072");
  CHECK(std::count(end, log.end(), begin[5]) == 4);
  const auto carve = std::find(log.begin(), log.end(), "-- carve-outs"),
             memory = std::find(log.begin(), log.end(), "-- memory"),
             refusals = std::find(log.begin(), log.end(), "-- refusals");
  REQUIRE(memory - carve == 4);
  for (int i = 1; i <= 3; ++i)  // each shape's own, whatever was launched before
    CHECK(carve[i].find(i == 2 ? " attribute 14=60 " : " attribute 14=20 ") != std::string::npos);
  CHECK(line_with(log, "set plain_4 9 ") == "");
  CHECK(line_with(printed, "bytes ") == "bytes 524288 2048 524288");
  CHECK(line_with(printed, "len ") == "len 7");
  CHECK(line_with(printed, "was given 12") == "scaled_rows: a buffer of 2048 bytes was given 12");
  CHECK(line_with(printed, "memory: ").find("M = 4096 is not within") != std::string::npos);
  CHECK(std::count(memory, refusals, "allocate 534528") == 1);
  CHECK(std::count(memory, refusals, "release") == 4);
  CHECK(std::count_if(memory, refusals, [](const std::string& line) {
          return line.find("scale_5") != std::string::npos && line.find("stream 9 ") != std::string::npos;
        }) == 1);
  const auto nested = std::find(log.begin(), log.end(), "-- nested"),
             fallback = std::find(log.begin(), log.end(), "-- fallback");
  // The fallback of a first call launched another shape.
  CHECK(std::count_if(nested, fallback, [](const std::string& line) {
          return line.find("scale_5") != std::string::npos && line.find(" grid ") != std::string::npos;
        }) == 1);
  CHECK(std::vector<std::string>(fallback + 1, log.end()) == std::vector<std::string>{"unload", "unload"});
  for (auto line = log.begin(); line != log.end(); ++line) {
    if (*line == "-- memory") break;  // from where the program allocates and waits itself
    CHECK(line->find("allocate") == std::string::npos);
    CHECK(*line != "synchronise");
  }
  CHECK(std::count(log.begin(), log.end(), "load cubin") == 4);
  CHECK(line_with(log, "set finish_4 8 ") == "set finish_4 8 232448");
}

TEST_CASE("tables hold no text of the run for the host, and refuse shapes that they do not have") {
  const Task task = library_task();
  const Portfolio portfolio = library_portfolio();
  const ExportInputs inputs = made(task, portfolio, PlanMode::table);
  const std::vector<ExportFile> files = library_files(inputs);
  for (const ExportFile& file : files) {
    CHECK(file.path.find("plan_arm") == std::string::npos);
    if (file.path.starts_with("src/")) CHECK(file.bytes.find("more than 1024 columns") == std::string::npos);
  }
  CHECK(inputs.facts.at("plans").at("shapes").size() == 3);
  CHECK(file_at(files, "src/scaled_rows.cpp").bytes.find("inside::k_table_arm_1, 3") != std::string::npos);
  const std::vector<ExportFile> annotated = annotated_files(inputs);
  CHECK(file_at(annotated, "arm_1.cu").bytes.find(k_rich_candidate) != std::string::npos);
}

TEST_CASE(
    "a portable kernel has a cubin for every architecture that is asked for, in the library and beside it") {
  const Task task = library_task();
  Portfolio portfolio = library_portfolio();
  portfolio.arms.resize(1);
  portfolio.dispatch = {};
  const ExportInputs inputs = made(task, portfolio, PlanMode::table, true, {"sm_80", "sm_89", "sm_90"});
  const std::vector<ExportFile> files = library_files(inputs);
  for (const unsigned number : {80u, 89u, 90u}) {
    const std::string& cubin = file_at(files, fmt::format("kernels/arm_0.sm_{}.cubin", number)).bytes;
    REQUIRE(cubin.size() > 64);
    std::uint32_t flags = 0;  // of the ELF header: the machine code's architecture in bits 8 to 15
    std::memcpy(&flags, cubin.data() + 48, sizeof flags);
    CHECK((flags >> 8 & 0xff) == number);
    CHECK(file_at(files, "src/code_arm_0.cpp").bytes.find(fmt::format("\"sm_{}\"", number)) !=
          std::string::npos);
    CHECK(cubin.find("plain_4") != std::string::npos);
  }
  CHECK(inputs.code.harness.size() == 3);  // its test runs there too
  const Json code = inputs.facts.at("code");
  REQUIRE(code.size() == 3);
  for (const Json& row : code) CHECK(row.at("proved_on") == "sm_90a");
}

TEST_CASE("a library of a task that computes inputs has the program that computes them in its test") {
  TemporaryFolder folder;
  Json document = small_task_document();
  document["tensors"]["len"]["fill"] = Json::array({{{"kind", "computed"}, {"variant", 4}}});
  document["tensors"]["x"].erase("valid");
  document["roofline"] = {{"flops", "M*N*D"}, {"bytes", "4*M*N*D"}, {"exponentials", "0"}};
  const std::string source =
      "#ifdef KERNELITES_INPUTS\n"
      "extern \"C\" __global__ void lengths(int* len, const long long* draw, int N) { len[blockIdx.x] = "
      "(int)(draw[3] % N); }\n"
      "constexpr void plan(const Problem& p, kl::Plan& plan) { "
      "plan.launch(\"lengths\").grid(p.M).block(1).arg(p.len).arg(p.draw).arg(p.N); }\n"
      "#else\n" +
      library_task().reference_source + "#endif\n";
  const Task task = parse_task(document, source, "computing_task.json");
  Portfolio portfolio = library_portfolio();
  portfolio.arms.resize(1);
  portfolio.dispatch = {};
  const ExportInputs inputs = made(task, portfolio, PlanMode::table, true);
  CHECK(inputs.code.inputs.size() == 1);
  CHECK(inputs.facts.at("coverage").at("shapes_tried") == 2);
  REQUIRE(inputs.code.draws.at("wide").size() == 3);
  CHECK(inputs.code.draws.at("wide")[2][1] == 4);
  CHECK(inputs.code.draws.at("wide")[2][3] == 2);
  CHECK(inputs.code.draws.at("wide")[0][0] != inputs.code.draws.at("wide")[1][0]);
  write_all(folder.path() / "out", inputs);
  const std::string cases = read_text(folder.path() / "out" / "test" / "library_cases.cpp");
  CHECK(cases.find("&k_inputs,\n    &k_reference") != std::string::npos);
  CHECK(trouble_of(
            folder.path(),
            "cd out && for f in cases rig regression; do c++ -std=c++20 -Wall -Wextra -Werror -fsyntax-only "
            "-DKERNELITES_LIBRARY=rig -Isrc -Itest -Iinclude test/library_$f.cpp || exit 1; done") == "");
}

TEST_CASE("a plan that says something else to the host compiler is not exported as code") {
  const Task task = library_task();
  Portfolio portfolio = library_portfolio();
  portfolio.arms.resize(1);
  portfolio.dispatch = {};
  portfolio.arms[0].candidate.source =
      "#include <cuda_fp16.h>\n"
      "extern \"C\" __global__ void k_1(unsigned short* y) {}\n"
      // Which of the two comes first is nobody's promise, and compilers differ.
      "constexpr int threads(int n) { n = 1; return n++ * 32 + n++ * 64; }\n"
      "constexpr void plan(const Problem& p, kl::Plan& plan) { "
      "plan.launch(\"k_1\").grid(1).block(threads(p.M))"
      ".arg(p.y); }\n";
  try {
    made(task, portfolio, PlanMode::code);
    FAIL("it was exported");
  } catch (const Error& error) {
    CHECK_THAT(error.what(),
               Catch::Contains("constant evaluation differ at") && Catch::Contains("--plans table"));
  }
}
