// SPDX-License-Identifier: Apache-2.0
// Speed of the virtual GPU: runs one attention kernel and prints ns per warp instruction and the error.
//
//   vgpu_bench FILE.ptx KERNEL GRID_X GRID_Y BLOCK DTYPE_BYTES SEQUENCE HEADS [THREADS] [CHECKS 0|1] [COUNTS 0|1]
// Without CHECKS it prints what each check costs, too.
// The kernel takes (q, k, v, out, sequence, scale, causal) with head dimension 64, float or half.
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

constexpr u32 k_dim = 64;
constexpr float k_scale = 0.125f;

/// CPU time of the process: wall-clock time says little on a shared machine.
double milliseconds() { return 1e3 * static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

struct Problem {
  u32 dtype = 4, sequence = 0, heads = 0;
  std::vector<u8> tensors[4];  ///< q, k, v, out
  std::vector<double> values[3];

  std::size_t at(u32 head, u32 row, u32 channel) const {
    return (std::size_t{head} * sequence + row) * k_dim + channel;
  }
  double output(std::size_t element) const {
    float value = 0;
    _Float16 half;
    std::memcpy(&half, tensors[3].data() + element * dtype, 2);
    if (dtype == 4) std::memcpy(&value, tensors[3].data() + element * dtype, 4);
    return dtype == 4 ? value : static_cast<float>(half);
  }
};

void fill(Problem& p) {
  u64 state = 7;
  const std::size_t elements = std::size_t{p.sequence} * p.heads * k_dim;
  for (auto& tensor : p.tensors) tensor.resize(elements * p.dtype);
  for (u32 t = 0; t < 3; ++t) {
    for (std::size_t e = 0; e < elements; ++e) {
      state = state * 6364136223846793005ull + 1442695040888963407ull;
      const float value = static_cast<float>(state >> 55) / 256.0f - 1.0f;
      const _Float16 half = static_cast<_Float16>(value);
      p.values[t].push_back(value);
      std::memcpy(p.tensors[t].data() + e * p.dtype, p.dtype == 2 ? static_cast<const void*>(&half) : &value,
                  p.dtype);
    }
  }
}

/// The largest error of every 17th row against causal attention in double.
double largest_error(const Problem& p) {
  double worst = 0;
  for (u32 h = 0; h < p.heads; ++h) {
    for (u32 q = 0; q < p.sequence; q += 17) {
      std::vector<double> score(q + 1), out(k_dim);
      double sum = 0;
      for (u32 k = 0; k <= q; ++k) {
        for (u32 c = 0; c < k_dim; ++c)
          score[k] += p.values[0][p.at(h, q, c)] * p.values[1][p.at(h, k, c)] * k_scale;
      }
      const double top = *std::max_element(score.begin(), score.end());
      for (double& s : score) sum += s = std::exp(s - top);
      for (u32 k = 0; k <= q; ++k) {
        for (u32 c = 0; c < k_dim; ++c) out[c] += score[k] / sum * p.values[2][p.at(h, k, c)];
      }
      for (u32 c = 0; c < k_dim; ++c) {
        const double error = std::fabs(p.output(p.at(h, q, c)) - out[c]);
        worst = std::isnan(error) ? 1e9 : std::max(worst, error);
      }
    }
  }
  return worst;
}

std::vector<std::byte> parameters_of(const Problem& p, const KernelInfo& info, const u64* addresses) {
  std::vector<std::byte> bytes(info.parameter_bytes);
  const int causal = 1, length = static_cast<int>(p.sequence);
  for (u32 t = 0; t < 4; ++t) std::memcpy(bytes.data() + info.parameters[t].offset, &addresses[t], 8);
  std::memcpy(bytes.data() + info.parameters[4].offset, &length, 4);
  std::memcpy(bytes.data() + info.parameters[5].offset, &k_scale, 4);
  std::memcpy(bytes.data() + info.parameters[6].offset, &causal, 4);
  return bytes;
}

void print_counts(const Counts& c) {
  const double total = static_cast<double>(std::max<u64>(1, c.total_warp_instructions()));
  for (std::size_t k = 0; k < k_op_classes; ++k) {
    const std::string name(to_string(static_cast<OpClass>(k)));
    if (c.warp_instructions[k] != 0) {
      std::printf(" %s %.1f%%", name.c_str(), 100.0 * static_cast<double>(c.warp_instructions[k]) / total);
    }
  }
  auto ratio = [](const Traffic& t) {
    return t.requests == 0 ? 0.0 : static_cast<double>(t.transactions) / static_cast<double>(t.requests);
  };
  std::printf(
      "\n global load %.2f sectors, shared load %.2f and store %.2f wavefronts per request, %.1f MFLOP "
      "tensor\n",
      ratio(c.global_load), ratio(c.shared_load), ratio(c.shared_store),
      static_cast<double>(c.total_tensor_flops()) / 1e6);
}

struct Times {
  double median_ms = 0, best_ms = 0;
};

/// Of 11 runs. Ends the program at a fault.
template <class Run>
Times measure(Run run_once) {
  std::vector<double> times;
  for (int repeat = 0; repeat < 11; ++repeat) {
    const double begin = milliseconds();
    const LaunchResult result = run_once();
    times.push_back(milliseconds() - begin);
    if (!result.fault) continue;
    std::printf("%s\n", describe(*result.fault).c_str());
    std::exit(1);
  }
  std::sort(times.begin(), times.end());
  return {.median_ms = times[times.size() / 2], .best_ms = times[0]};
}

void print_cost_of_checks(const Program& program, Memory& memory, const Launch& launch) {
  struct Row {
    const char* name;
    Checks checks;
  };
  const Checks none{.uninitialised = false, .races = false, .global_races = false};
  const Row rows[] = {
      {"counts only", none},
      {"uninitialised", {.uninitialised = true, .races = false, .global_races = false}},
      {"races in shared memory", {.uninitialised = false, .races = true, .global_races = false}},
      {"races in all memory", {.uninitialised = false, .races = true, .global_races = true}},
      {"all checks", {}},
  };
  double base = 0;
  for (const Row& row : rows) {
    const LaunchOptions options{.checks = row.checks, .sample = {}};
    const Times times = measure([&] { return run(program, memory, launch, options); });
    if (base == 0) base = times.median_ms;
    std::printf("  %-24s %7.2f ms, best %7.2f, %.2f of counts only\n", row.name, times.median_ms,
                times.best_ms, times.median_ms / base);
  }
}

u32 number(const char* text) { return static_cast<u32>(std::atoi(text)); }

}  // namespace

int main(int argc, char** argv) {
  if (argc < 9) return std::fprintf(stderr, "see the head of vgpu_bench.cpp for the arguments\n"), 2;
  std::ifstream file(argv[1]);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  const double start = milliseconds();
  const auto program = parse(text);
  const double parse_ms = milliseconds() - start;
  Problem problem;
  problem.dtype = number(argv[6]), problem.sequence = number(argv[7]), problem.heads = number(argv[8]);
  fill(problem);
  Memory memory;
  u64 addresses[4];
  for (u32 t = 0; t < 4; ++t) {
    auto& tensor = problem.tensors[t];
    addresses[t] = memory.add(tensor.data(), tensor.size(), std::string(1, "qkvo"[t]),
                              {.writable = t == 3, .track_initialised = t == 3});
  }
  const auto info = kernel_info(*program, argv[2]);
  if (!info || info->parameters.size() != 7)
    return std::fprintf(stderr, "no such kernel, or another signature\n"), 2;
  Launch launch;
  launch.kernel = argv[2];
  launch.grid = {number(argv[3]), number(argv[4]), 1};
  launch.block = {number(argv[5]), 1, 1};
  launch.parameters = parameters_of(problem, *info, addresses);
  LaunchOptions options;
  options.threads = argc > 9 ? number(argv[9]) : 1;
  options.checks.uninitialised = options.checks.races = argc <= 10 || number(argv[10]) != 0;
  options.collect_counts = argc <= 11 || number(argv[11]) != 0;
  LaunchResult result;
  const Times times = measure([&] { return result = run(*program, memory, launch, options); });
  const double instructions = static_cast<double>(std::max<u64>(1, result.counts.total_warp_instructions()));
  std::printf(
      "%s: parse %.1f ms, run median %.2f best %.2f ms, %.3f M warp instructions, %.1f ns each, error %.1e\n",
      argv[2], parse_ms, times.median_ms, times.best_ms, instructions / 1e6,
      times.median_ms * 1e6 / instructions, largest_error(problem));
  print_counts(result.counts);
  if (argc <= 10) print_cost_of_checks(*program, memory, launch);
}
