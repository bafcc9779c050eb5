// SPDX-License-Identifier: Apache-2.0
// A kernel job: any CUDA or PTX file with launches, buffers and seeded contents, as a JSON file (docs/vgpu.md).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "engine/core/json.h"
#include "evaluators/worker/kernel_run/element_type.h"

namespace kernelites::worker {

/// What a buffer holds before the first launch.
struct Contents {
  enum class Kind : std::uint8_t { unwritten, constant, uniform, integers, sequence, values };
  Kind kind = Kind::unwritten;
  double low = 0,
         high = 0;     ///< range of uniform and integers; the value of constant; start and step of sequence
  double modulus = 0;  ///< of sequence; 0: none
  std::vector<double> values;  ///< repeated to the end of the buffer
};

struct JobBuffer {
  std::string name;
  ElementType type;
  std::int64_t count = 0;
  Contents contents;
  bool is_output = false;  ///< others are read-only for the kernel
  double tolerance = 0;

  std::int64_t bytes() const { return count * type.bytes; }
};

/// A pointer into a buffer, or the bytes of a scalar or struct.
struct JobArgument {
  int buffer = -1;  ///< index; -1: `bytes`
  std::int64_t offset = 0;
  std::vector<std::byte> bytes;
};

struct JobLaunch {
  std::string kernel;  ///< name expression of a .cu ("softmax<128>"), symbol of a .ptx
  std::array<std::uint32_t, 3> grid{1, 1, 1}, block{1, 1, 1}, cluster{1, 1, 1};
  std::uint32_t shared_bytes = 0;
  bool is_cooperative = false;
  std::vector<JobArgument> arguments;
};

struct KernelJob {
  std::string name;              ///< the file's, without ".json"
  std::filesystem::path source;  ///< .cu or .ptx
  std::vector<std::string> options;
  std::uint64_t seed = 1;
  std::vector<JobBuffer> buffers;
  std::vector<JobLaunch> launches;
};

inline constexpr std::int64_t k_job_buffer_bytes_max = std::int64_t{1} << 30;

/// Throws ConfigError naming file and field for anything that is not a job.
KernelJob read_kernel_job(const std::filesystem::path& file);
KernelJob parse_kernel_job(const Json& json, const std::filesystem::path& file);

/// The bytes a buffer begins with; the same for every device, drawn from the job's seed and the buffer's name. For
/// unwritten ones 0xff in every byte: NaN where it is a number.
std::vector<std::byte> initial_bytes(const KernelJob& job, const JobBuffer& buffer);

}  // namespace kernelites::worker
