// SPDX-License-Identifier: Apache-2.0
// Loaded modules of one context and their kernels, with what has been set on each kernel.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "evaluators/worker/device/cuda_library.h"
#include "evaluators/worker/device/device.h"

namespace kernelites::worker {

/// A kernel that can be launched.
struct CudaKernel {
  cuda::Function function = nullptr;
  int threads_max = 0;  ///< per block, as compiled
  int static_shared_bytes = 0;
  std::optional<std::vector<std::size_t>> parameter_bytes;  ///< nothing: the driver is too old to tell
  int dynamic_shared_bytes = 0;                             ///< what has been allowed so far
  int carveout_percent = -1;  ///< what has been asked for so far; -1: the driver's choice
  bool allows_large_clusters = false;
};

/// Modules by id. Lives no longer than the context, on one thread.
class CudaModules {
 public:
  explicit CudaModules(const CudaLibrary& cuda) : cuda_(cuda) {}
  CudaModules(const CudaModules&) = delete;
  CudaModules& operator=(const CudaModules&) = delete;
  /// Unloads everything unless the context was `abandon`ed.
  ~CudaModules();

  /// Loads the cubin; without one, the PTX through the driver's compiler. Throws Error with the driver's log.
  ModuleId load(const ModuleImage& image);
  /// REQUIRES: nothing of the module is running.
  void unload(ModuleId id);
  /// The kernel with this (lowered) name, its code loaded, or null. Valid until its module is unloaded.
  /// Throws Error if the driver fails.
  CudaKernel* find(ModuleId id, const std::string& name);

  /// See CudaMemory::abandon.
  void abandon() { is_abandoned_ = true; }

 private:
  struct Module {
    cuda::ModuleHandle handle = nullptr;
    std::map<std::string, CudaKernel> kernels;
  };
  CudaKernel describe(cuda::Function function) const;

  const CudaLibrary& cuda_;
  bool is_abandoned_ = false;
  ModuleId next_id_ = 0;
  std::map<ModuleId, Module> modules_;
};

}  // namespace kernelites::worker
