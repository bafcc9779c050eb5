// SPDX-License-Identifier: Apache-2.0
// A compiled candidate: evaluated plans and the one PTX + cubin that every later stage uses.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "engine/core/evaluation.h"
#include "engine/core/launch_plan.h"

namespace kernelites::worker {

/// One kernel parameter as the compiled code wants it.
struct KernelParameter {
  std::int64_t bytes = 0;
  bool is_pointer = false;  ///< false also where the PTX does not say
  bool is_real = false;     ///< .f32 or .f64
  bool operator==(const KernelParameter&) const = default;
};

/// What the compiled code says of one of its kernels, beyond `KernelResources`.
struct KernelSignature {
  std::string lowered;  ///< name in the module
  std::vector<KernelParameter> parameters;
  int threads_max = 0;                  ///< .maxntid product; 0: none
  int threads_required = 0;             ///< .reqntid product; 0: none
  int cluster_required[3] = {0, 0, 0};  ///< .reqnctapercluster; 0: none
};

/// Tables that the code uses (`.global` with an initialiser). The screen lets them pass only if no store can
/// reach them.
struct ModuleData {
  std::string name;
  std::int64_t bytes = 0;
};

struct CompiledCandidate {
  std::vector<LaunchPlan> plans;  ///< one per plan point, in their order
  std::string ptx;
  std::vector<std::byte> cubin;
  std::map<std::string, std::string> lowered;         ///< kernel as the plans write it -> name in the module
  std::vector<KernelResources> kernels;               ///< of the kernels that the plans launch
  std::map<std::string, KernelSignature> signatures;  ///< by kernel as the plans write it
  std::vector<ModuleData> module_data;
  std::string log;                           ///< cleaned, at most 4 KB
  std::vector<std::string> advisories;       ///< ptxas performance warnings and cache-policy remarks
  std::map<std::string, std::int64_t> sass;  ///< machine instructions of the kernels that the plans launch
  std::string machine_code;                  ///< over code and constants alone
  std::string code_digest;                   ///< over the text sections of the cubin
  std::string source;                        ///< the candidate's text, for the screen
  StageTimes stage_ms;
};

}  // namespace kernelites::worker
