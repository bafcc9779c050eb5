// SPDX-License-Identifier: Apache-2.0
// What the virtual GPU says of planted bugs, their twins and honest kernels, and how long it takes: one JSON line each.
//
//   vgpu_planted FOLDER [SEED] [NAME]      (FOLDER: tests/vgpu/ptx; NAME: only kernels whose name contains it)
// tests/gpu/compare_sanitizers.py reads the output.
#include <chrono>
#include <cstdio>
#include <cstdlib>

#include <nlohmann/json.hpp>

#include "tests/vgpu/planted_corpus.h"

using namespace kernelites::worker::vgpu;

namespace {

double milliseconds() {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

/// Runs the kernels of FILE.cu that `only` chooses with the PTX of `ptx`.
void report(const std::string& path, const std::string& ptx, const std::string& only, bool is_honest,
            u64 seed) {
  const auto program = parse(read_text(ptx));
  for (const TestKernel& kernel : kernels_of(read_text(path + ".cu"))) {
    if (kernel.name.find(only) == std::string::npos) continue;
    const double start = milliseconds();
    const PlantedResult result = run_planted(*program, kernel, seed);
    const double ms = milliseconds() - start;
    const nlohmann::json line = {{"kernel", kernel.name},
                                 {"mended", is_honest},
                                 {"kind", result.kind},
                                 {"line", result.line},
                                 {"is_right", result.is_right},
                                 {"ms", ms},
                                 {"digest", std::to_string(result.digest)},
                                 {"says", result.text},
                                 {"lines", kernel.bug_lines}};
    std::printf("%s\n", line.dump().c_str());
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) return std::fprintf(stderr, "vgpu_planted FOLDER [SEED] [NAME]\n"), 2;
  const std::string folder = argv[1] + std::string("/"), only = argc > 3 ? argv[3] : "";
  const u64 seed = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 0;
  for (const char* file : k_planted_files) {
    report(folder + file, folder + file + ".ptx", only, false, seed);
    report(folder + file, folder + file + ".mended.ptx", only, true, seed);
  }
  for (const char* file : k_honest_files) report(folder + file, folder + file + ".ptx", only, true, seed);
}
