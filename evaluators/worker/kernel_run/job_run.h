// SPDX-License-Identifier: Apache-2.0
// Running a kernel job on a device, and comparing what two devices made of it.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "evaluators/worker/device/device.h"
#include "evaluators/worker/kernel_run/kernel_job.h"
#include "evaluators/worker/nvrtc/compile_child.h"

namespace kernelites::worker {

/// A job's code, and the symbols of its launches' kernels in order.
struct JobCode {
  std::string ptx;
  std::vector<std::string> symbols;
  std::string failure;  ///< the compiler's words; empty if there is code
};

/// Reads a .ptx, or compiles a .cu for `architecture` ("compute_90a") in the compiler's jailed child, with the headers
/// of candidates: both devices then get the same PTX. Throws ConfigError if the file cannot be read. REQUIRES: a
/// compiler for a .cu.
JobCode job_code(const KernelJob& job, Compiler* compiler, const std::string& architecture);

/// Makes the folder for outputs unless it is there. Throws ConfigError if it cannot be one.
void make_output_folder(const std::filesystem::path& folder);

struct JobOutcome {
  std::optional<DeviceFault> fault;
  double elapsed_us = 0;                        ///< measured (gpu) or modelled (vgpu)
  std::vector<std::vector<std::byte>> outputs;  ///< of the output buffers, in order
  std::vector<std::string> remarks;             ///< of the virtual GPU: no faults
};

/// Runs all launches in order. Inputs are read-only and unwritten buffers watched where the device can (vgpu).
/// Throws Error for a device in trouble, code that does not load, or an argument beyond its buffer.
JobOutcome run_job(const KernelJob& job, const JobCode& code, Device& device, double deadline_s);

/// How two results of one output buffer differ.
struct Difference {
  std::int64_t beyond = 0;  ///< elements beyond the tolerance, or NaN in one of the two only
  double worst = 0;         ///< largest |a - b| / (|b| + rms of b)
  std::int64_t worst_at = 0;
  std::int64_t unequal_bits = 0;  ///< elements that are not the same bit for bit
};

/// Compares element by element: equal within `buffer.tolerance` times (|b| + the root mean square of b).
/// REQUIRES: both have the buffer's size.
Difference compare_outputs(const JobBuffer& buffer, std::span<const std::byte> a,
                           std::span<const std::byte> b);

}  // namespace kernelites::worker
