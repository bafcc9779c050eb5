// SPDX-License-Identifier: Apache-2.0
// What a profiler recorded of a GPU: which kernels ran, how often, how long, and for which operation.
//
// Two formats are read, told apart by their first bytes: the Chrome trace of the PyTorch profiler (JSON, also gzipped)
// and the SQLite export of Nsight Systems. Both are read as streams: of a trace of a gigabyte only the kernels' times
// and each name once are kept.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace kernelites {

/// All launches of one kernel for one operation with one set of shapes.
struct KernelUse {
  std::string name;       ///< as the profiler told it
  std::string operation;  ///< the framework's: "aten::mm"; empty: not recorded
  std::string shapes;     ///< of its inputs: "[[4096,2048],[2048,2048]]"; empty: not recorded
  std::string types;      ///< of its inputs, separated by commas: "c10::BFloat16,c10::BFloat16"
  std::int64_t launches = 0;
  double total_us = 0;
  double least_us = 0;
  double most_us = 0;
};

/// When one launch ran.
struct LaunchSpan {
  std::uint32_t use = 0;  ///< of `KernelTrace::kernels`
  std::uint32_t gpu = 0;
  double start_us = 0, end_us = 0;
};

struct KernelTrace {
  std::string format;  ///< "Chrome trace", "Nsight Systems"
  std::string device;  ///< name of the GPU; empty: not recorded
  std::vector<KernelUse> kernels;
  std::vector<LaunchSpan> spans;  ///< in the order of their starts
  std::int64_t launches = 0;
  double kernel_us = 0;  ///< sum over launches
  int gpus = 0;          ///< that ran kernels
  double busy_us = 0;    ///< some kernel ran: where streams overlap less than the sum; summed over GPUs
  double span_us = 0;    ///< from the first kernel's start to the last one's end
  double copy_us = 0;    ///< copies and fills, sum
};

/// Kernels of a trace beyond which it is refused: what is kept of each takes 56 bytes.
inline constexpr std::size_t k_trace_launches_max = 50'000'000;

/// Throws ConfigError if the file is missing, cut short, of another format, or holds no GPU kernel.
KernelTrace read_trace(const std::filesystem::path& file);

}  // namespace kernelites
