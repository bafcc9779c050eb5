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

inline std::string read_text(const std::string& path) {
  std::ifstream file(path);
  if (!file) throw std::runtime_error("no test file " + path);
  return {std::istreambuf_iterator<char>(file), {}};
}

inline std::string read_test_file(const std::string& name) {
  return read_text(std::string(KERNELITES_SOURCE_DIR) + "/tests/vgpu/ptx/" + name);
}

/// A kernel of a test's .cu and how it is launched: "launch: grid 2, block 128, shared 512, cooperative" behind its
/// name, each part where it differs from the default. "also race" there: what else a schedule may show of its bug.
struct TestKernel {
  std::string name;
  std::vector<int> bug_lines;  ///< lines marked "<- bug"
  u32 grid = 4, block = 64, shared_bytes = 0;
  u32 cluster = 1;  ///< the whole file's, where its kernels have __cluster_dims__
  bool cooperative = false;
  std::string also;  ///< kinds of faults, the name's own apart
};

inline u32 launch_number(std::string_view text, std::string_view key, u32 otherwise) {
  const std::size_t at = text.find(key);
  if (at == std::string_view::npos) return otherwise;
  return static_cast<u32>(std::stoul(std::string(text.substr(at + key.size()))));
}

/// All kernels of a .cu, in order.
inline std::vector<TestKernel> kernels_of(const std::string& source) {
  std::vector<TestKernel> kernels;
  const u32 cluster = launch_number(source, "__cluster_dims__(", 1);
  std::size_t at = 0;
  for (int line = 1; at < source.size(); ++line) {
    const std::size_t end = std::min(source.find('\n', at), source.size());
    const std::string text = source.substr(at, end - at);
    if (text.starts_with("KERNEL ")) {
      const std::size_t facts = std::min(text.find("// launch:"), text.size());
      const std::string_view launch = std::string_view(text).substr(facts);
      kernels.push_back({.name = text.substr(7, text.find('(') - 7),
                         .bug_lines = {},
                         .grid = launch_number(launch, "grid ", 4),
                         .block = launch_number(launch, "block ", 64),
                         .shared_bytes = launch_number(launch, "shared ", 0),
                         .cluster = cluster,
                         .cooperative = launch.find("cooperative") != std::string_view::npos,
                         .also = std::string(launch.substr(std::min(launch.find("also "), launch.size())))});
    }
    if (text.find("<- bug") != std::string::npos && !kernels.empty())
      kernels.back().bug_lines.push_back(line);
    at = end + 1;
  }
  return kernels;
}

/// The tensors of one run. a[i] is a small integer, so that every format holds it exactly.
struct Fixture {
  static constexpr int k_count = 256;
  static constexpr std::size_t k_zeroed_words = 64;  ///< of the workspace; the rest counts as unwritten
  std::vector<float> a = std::vector<float>(k_count), o = std::vector<float>(k_count, -1.0f);
  std::vector<u32> w = std::vector<u32>(k_count, 0);
  Memory memory;
  u64 a_address, o_address, w_address;

  Fixture() {
    for (int i = 0; i < k_count; ++i) a[static_cast<std::size_t>(i)] = static_cast<float>((i * 7) % 13 - 6);
    a_address = memory.add(a.data(), a.size() * 4, "a", {.writable = false});
    o_address = memory.add(o.data(), o.size() * 4, "o", {.track_initialised = true});
    w_address = memory.add(w.data(), w.size() * 4, "w", {.track_initialised = true});
    memory.mark_initialised(w_address, k_zeroed_words * 4, true);
  }

  LaunchResult launch(const Program& program, const TestKernel& kernel, const LaunchOptions& options) {
    Launch launch{.kernel = kernel.name,
                  .grid = {kernel.grid, 1, 1},
                  .block = {kernel.block, 1, 1},
                  .cluster = {kernel.cluster, 1, 1},
                  .dynamic_shared_bytes = kernel.shared_bytes,
                  .parameters = {},
                  .cooperative = kernel.cooperative};
    const int n = k_count;
    launch.parameters.resize(28);
    std::memcpy(launch.parameters.data(), &a_address, 8);
    std::memcpy(launch.parameters.data() + 8, &o_address, 8);
    std::memcpy(launch.parameters.data() + 16, &w_address, 8);
    std::memcpy(launch.parameters.data() + 24, &n, 4);
    return run(program, memory, launch, options);
  }
  LaunchResult launch(const Program& program, const std::string& kernel, const LaunchOptions& options) {
    return launch(program, TestKernel{.name = kernel, .bug_lines = {}}, options);
  }
  /// Did the kernel write all of o?
  bool is_output_complete() const {
    return memory.first_uninitialised(o_address) == o.size() * sizeof(float);
  }
};

}  // namespace kernelites::worker::vgpu
