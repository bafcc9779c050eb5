// SPDX-License-Identifier: Apache-2.0
// Runs the small kernels of tests/vgpu/ptx: n = 256 floats in, 256 floats out, 64 words of workspace.
#pragma once

#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <vector>

#include "evaluators/worker/vgpu/machine.h"

namespace kernelites::worker::vgpu {

inline std::string read_test_file(const std::string& name) {
  std::ifstream file(std::string(KERNELITES_SOURCE_DIR) + "/tests/vgpu/ptx/" + name);
  if (!file) throw std::runtime_error("no test file " + name);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// The kernel names of a .cu, each with the lines of its "<- bug" marks.
inline std::vector<std::pair<std::string, std::vector<int>>> kernels_of(const std::string& source) {
  std::vector<std::pair<std::string, std::vector<int>>> kernels;
  std::size_t at = 0;
  for (int line = 1; at < source.size(); ++line) {
    const std::size_t end = std::min(source.find('\n', at), source.size());
    const std::string text = source.substr(at, end - at);
    if (text.starts_with("KERNEL ")) kernels.push_back({text.substr(7, text.find('(') - 7), {}});
    if (text.find("<- bug") != std::string::npos) kernels.back().second.push_back(line);
    at = end + 1;
  }
  return kernels;
}

/// The tensors of one run. a[i] is a small integer, so that every format holds it exactly.
struct Fixture {
  static constexpr int k_count = 256;
  std::vector<float> a = std::vector<float>(k_count), o = std::vector<float>(k_count, -1.0f);
  std::vector<u32> w = std::vector<u32>(64, 0);
  Memory memory;
  u64 a_address, o_address, w_address;

  Fixture() {
    for (int i = 0; i < k_count; ++i) a[static_cast<std::size_t>(i)] = static_cast<float>((i * 7) % 13 - 6);
    a_address = memory.add(a.data(), a.size() * 4, "a", {.writable = false});
    o_address = memory.add(o.data(), o.size() * 4, "o", {.track_initialised = true});
    w_address = memory.add(w.data(), w.size() * 4, "w");
  }

  LaunchResult launch(const Program& program, const std::string& kernel, const LaunchOptions& options) {
    Launch launch{.kernel = kernel,
                  .grid = {4, 1, 1},
                  .block = {64, 1, 1},
                  .cluster = {},
                  .dynamic_shared_bytes = 0,
                  .parameters = {},
                  .cooperative = kernel.starts_with("cooperative")};
    if (kernel == "through_shared") launch.dynamic_shared_bytes = 64 * 4;
    const int n = k_count;
    launch.parameters.resize(28);
    std::memcpy(launch.parameters.data(), &a_address, 8);
    std::memcpy(launch.parameters.data() + 8, &o_address, 8);
    std::memcpy(launch.parameters.data() + 16, &w_address, 8);
    std::memcpy(launch.parameters.data() + 24, &n, 4);
    return run(program, memory, launch, options);
  }
};

}  // namespace kernelites::worker::vgpu
