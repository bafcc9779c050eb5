// SPDX-License-Identifier: Apache-2.0
// What becomes of a text in a plan: a refusal, trouble with the host compiler, or what the plan says.
#pragma once

#include <fmt/format.h>

#include <cstdlib>
#include <fstream>

#include "engine/core/json.h"
#include "tests/support/catch.h"
#include "tests/support/temporary_folder.h"
#include "tests/unit/exporting/library_candidate.h"
#include "tools/exporting/host_plan.h"
#include "tools/exporting/host_proof.h"
#include "tools/exporting/library_texts.h"

namespace kernelites {

/// A candidate whose plan names KEEP, and `text` before it.
inline std::string with_text(const std::string& text) {
  return "extern \"C\" __global__ void k_1(unsigned short* y) {}\n" + text +
         "\nconstexpr void plan(const Problem& p, kl::Plan& plan) {\n"
         "  plan.launch(\"k_1\").grid(1).block(32 + KEEP).arg(p.y);\n}\n";
}

inline std::variant<std::string, ClosureProblem> host_text(const std::string& source) {
  return host_plan(library_task(), library_arm("arm_0", 1, source.c_str()));
}

inline std::string refusal_of(const std::string& source) {
  const auto plan = host_text(source);
  const auto* problem = std::get_if<ClosureProblem>(&plan);
  return problem == nullptr ? "" : problem->words;
}

/// Why the source's plan is none, or what the compiler or the object file says of it; empty: it goes as code.
inline std::string host_trouble_of_source(const std::string& source) {
  const auto plan = host_text(source);
  if (const auto* problem = std::get_if<ClosureProblem>(&plan)) return "text: " + problem->words;
  const Task task = library_task();
  const auto digests = host_digests(task, "arm_0", std::get<std::string>(plan), "c++",
                                    proof_batches(task, domain_of(task, {}), DeviceFacts{}, 8));
  const auto* problem = std::get_if<HostProblem>(&digests);
  return problem == nullptr ? "" : "host: " + problem->words;
}

inline std::string host_trouble_of(const std::string& text) {
  return host_trouble_of_source(with_text(text));
}

inline constexpr const char* k_asks = R"(
#include <cstdio>
#include <cstdlib>
#include "library_name.h"
namespace KERNELITES_LIBRARY {
int plan_arm_0(const long long*, const double*, const long long*, unsigned long long*);
}
int main(int count, char** rows) {
  static unsigned long long words[2816];
  for (int i = 1; i < count; ++i) {
    const long long dims[] = {std::atoll(rows[i]), 64}, device[] = {132, 232448, 65536, 50 << 20, 90};
    const double scalars[] = {0.5};
    KERNELITES_LIBRARY::plan_arm_0(dims, scalars, device, words);
    if (words[2] == 0)  // it is supported: the blocks' threads, behind count, name, grid
      std::printf("%s: %llu\n", rows[i], words[9]);
    else
      std::printf("%s: %s\n", rows[i], reinterpret_cast<const char*>(words + 3));
  }
}
)";

/// What the plan of `source` says at these M: its threads, or its words.
inline std::string said_at(const std::string& source, const std::string& rows) {
  const TemporaryFolder folder;
  const auto plan = host_text(source);
  const auto* problem = std::get_if<ClosureProblem>(&plan);
  INFO((problem == nullptr ? "" : problem->words));
  REQUIRE(problem == nullptr);
  for (const ExportFile& file : host_plan_headers()) {
    const std::filesystem::path path = folder.path() / file.path.substr(4);
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path) << file.bytes;
  }
  std::ofstream(folder.path() / "library_name.h") << export_text("library_name.h");
  std::ofstream(folder.path() / "plan.cpp") << std::get<std::string>(plan);
  std::ofstream(folder.path() / "asks.cpp") << k_asks;
  const std::string command = fmt::format(
      "cd {} && timeout 60 c++ -std=c++20 -O1 -fsanitize=undefined -fno-sanitize-recover -w -I. plan.cpp "
      "asks.cpp -o asks "
      "&& timeout 20 ./asks {} > said.txt 2> trouble.txt",
      folder.path().string(), rows);
  const int code = std::system(command.c_str());
  INFO(read_text(folder.path() / "plan.cpp"));
  CHECK(code == 0);
  return read_text(folder.path() / "said.txt");
}

}  // namespace kernelites
