// SPDX-License-Identifier: Apache-2.0
// Speed of the virtual GPU: runs one PTX kernel with the attention signature and prints ns per warp instruction.
//
//   vgpu_bench FILE.ptx KERNEL GRID_X GRID_Y BLOCK DTYPE_BYTES SEQUENCE HEADS [THREADS] [CHECKS 0|1] [COUNTS 0|1]
// The kernel takes (q, k, v, out, sequence, scale, causal) with head dimension 64, as the experiment's kernels do.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <iterator>

#include "evaluators/worker/vgpu/machine.h"

using namespace kernelites::worker::vgpu;

namespace {

/// CPU time of the process: wall-clock time says little on a shared machine.
double milliseconds() { return 1e3 * static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

float random_value(u64& state) {
  state = state * 6364136223846793005ull + 1442695040888963407ull;
  return static_cast<float>((state >> 40) & 0xffff) / 32768.0f - 1.0f;
}

void put(std::vector<std::byte>& parameters, u32 offset, const void* value, std::size_t bytes) {
  std::copy_n(static_cast<const std::byte*>(value), bytes, parameters.begin() + offset);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 9) return std::fprintf(stderr, "see the head of vgpu_bench.cpp for the arguments\n"), 2;
  std::ifstream file(argv[1]);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  const double start = milliseconds();
  const auto program = parse(text);
  const double parse_ms = milliseconds() - start;
  const u32 dtype = static_cast<u32>(std::atoi(argv[6])), sequence = static_cast<u32>(std::atoi(argv[7])), heads = static_cast<u32>(std::atoi(argv[8]));
  const std::size_t elements = std::size_t{sequence} * heads * 64;
  std::vector<u8> tensors[4];
  std::vector<double> values[3];
  u64 seed = 7;
  Memory memory;
  u64 addresses[4];
  for (u32 t = 0; t < 4; ++t) {
    tensors[t].resize(elements * dtype);
    for (std::size_t e = 0; t < 3 && e < elements; ++e) {
      const float value = std::ldexp(std::nearbyint(random_value(seed) * 256), -8);
      values[t].push_back(value);
      const _Float16 half = static_cast<_Float16>(value);
      std::memcpy(tensors[t].data() + e * dtype, dtype == 2 ? static_cast<const void*>(&half) : &value, dtype);
    }
    addresses[t] = memory.add(tensors[t].data(), tensors[t].size(), std::string(1, "qkvo"[t]), {.writable = t == 3, .track_initialised = t == 3});
  }
  Launch launch{.kernel = argv[2], .grid = {static_cast<u32>(std::atoi(argv[3])), static_cast<u32>(std::atoi(argv[4])), 1}, .block = {static_cast<u32>(std::atoi(argv[5])), 1, 1}, .cluster = {}, .dynamic_shared_bytes = 0, .parameters = {}, .cooperative = false};
  const auto info = kernel_info(*program, launch.kernel);
  if (!info || info->parameters.size() != 7) return std::fprintf(stderr, "no such kernel, or another signature\n"), 2;
  launch.parameters.resize(info->parameter_bytes);
  const float scale = 0.125f;
  const int causal = 1, length = static_cast<int>(sequence);
  for (u32 t = 0; t < 4; ++t) put(launch.parameters, info->parameters[t].offset, &addresses[t], 8);
  put(launch.parameters, info->parameters[4].offset, &length, 4);
  put(launch.parameters, info->parameters[5].offset, &scale, 4);
  put(launch.parameters, info->parameters[6].offset, &causal, 4);
  LaunchOptions options;
  options.threads = argc > 9 ? static_cast<unsigned>(std::atoi(argv[9])) : 1;
  options.checks.uninitialised = options.checks.races = argc > 10 ? std::atoi(argv[10]) != 0 : true;
  options.collect_counts = argc > 11 ? std::atoi(argv[11]) != 0 : true;
  for (const std::string& opcode : unsupported(*program)) std::printf("unsupported: %s\n", opcode.c_str());
  std::vector<double> times;
  LaunchResult result;
  for (int repeat = 0; repeat < 11; ++repeat) {
    const double begin = milliseconds();
    result = run(*program, memory, launch, options);
    times.push_back(milliseconds() - begin);
    if (result.fault) return std::printf("%s\n", describe(*result.fault).c_str()), 1;
  }
  double worst = 0;
  for (u32 h = 0; h < heads; ++h) {
    for (u32 q = 0; q < sequence; q += 17) {
      std::vector<double> score(q + 1), out(64);
      double top = -1e30, sum = 0;
      for (u32 k = 0; k <= q; ++k) {
        for (u32 c = 0; c < 64; ++c) score[k] += values[0][(h * sequence + q) * 64 + c] * values[1][(h * sequence + k) * 64 + c] * scale;
        top = std::max(top, score[k]);
      }
      for (u32 k = 0; k <= q; ++k) sum += score[k] = std::exp(score[k] - top);
      for (u32 c = 0; c < 64; ++c) {
        double expected = 0;
        for (u32 k = 0; k <= q; ++k) expected += score[k] / sum * values[2][(h * sequence + k) * 64 + c];
        _Float16 half;
        float value;
        const std::size_t at = ((h * sequence + q) * std::size_t{64} + c) * dtype;
        std::memcpy(&half, tensors[3].data() + at, 2);
        if (dtype == 4) std::memcpy(&value, tensors[3].data() + at, 4);
        else value = static_cast<float>(half);
        worst = std::max(worst, std::isnan(value) ? 1e9 : std::fabs(value - expected));
      }
    }
  }
  std::sort(times.begin(), times.end());
  const double ms = times[times.size() / 2], best = times[0];
  const u64 instructions = std::max<u64>(1, result.counts.total_warp_instructions());
  std::printf("%s: parse %.1f ms, run median %.2f best %.2f ms, %.3f M warp instructions, %.1f (best %.1f) ns each, max error %.2e\n", argv[2], parse_ms, ms, best,
              static_cast<double>(instructions) / 1e6, ms * 1e6 / static_cast<double>(instructions), best * 1e6 / static_cast<double>(instructions), worst);
  const Counts& c = result.counts;
  for (std::size_t k = 0; k < k_op_classes; ++k) {
    if (c.warp_instructions[k] != 0) std::printf(" %s %.1f%%", std::string(to_string(static_cast<OpClass>(k))).c_str(), 100.0 * static_cast<double>(c.warp_instructions[k]) / static_cast<double>(instructions));
  }
  auto ratio = [](const Traffic& t) { return t.requests == 0 ? 0.0 : static_cast<double>(t.transactions) / static_cast<double>(t.requests); };
  std::printf("\n global load %.2f sectors/request, shared load %.2f wavefronts/request, store %.2f, dram %lu + %lu bytes, tensor %lu flops\n", ratio(c.global_load), ratio(c.shared_load), ratio(c.shared_store), c.dram_load_bytes, c.dram_store_bytes, c.total_tensor_flops());
}
