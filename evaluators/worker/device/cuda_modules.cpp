// SPDX-License-Identifier: Apache-2.0
// Loading with the driver's error log, and looking kernels up.
#include "evaluators/worker/device/cuda_modules.h"

#include <fmt/format.h>

#include <array>

#include "engine/core/error.h"

namespace kernelites::worker {
namespace {

constexpr std::size_t k_log_bytes = 8192;
constexpr std::size_t k_parameters_max = 256;

}  // namespace

CudaModules::~CudaModules() {
  if (is_abandoned_) return;
  for (const auto& [id, module] : modules_) cuda_.module_unload(module.handle);
}

ModuleId CudaModules::load(const ModuleImage& image) {
  std::array<char, k_log_bytes> log{};
  std::array<int, 2> options{cuda::k_jit_error_log_buffer, cuda::k_jit_error_log_buffer_size_bytes};
  std::array<void*, 2> values{log.data(),
                              reinterpret_cast<void*>(static_cast<std::uintptr_t>(log.size() - 1))};
  const void* const data =
      image.cubin.empty() ? static_cast<const void*>(image.ptx.c_str()) : image.cubin.data();
  Module module;
  const cuda::Result result =
      cuda_.module_load_data(&module.handle, data, options.size(), options.data(), values.data());
  if (result != cuda::k_success)
    throw Error(fmt::format("the driver cannot load the module: {} {}", cuda_.words(result), log.data()));
  modules_.emplace(next_id_, std::move(module));
  return next_id_++;
}

void CudaModules::unload(ModuleId id) {
  const auto found = modules_.find(id);
  if (found == modules_.end()) throw Error(fmt::format("there is no module {}", id));
  const cuda::ModuleHandle handle = found->second.handle;
  modules_.erase(found);
  if (!is_abandoned_) KERNELITES_CUDA(cuda_, module_unload, handle);
}

CudaKernel* CudaModules::find(ModuleId id, const std::string& name) {
  const auto module = modules_.find(id);
  if (module == modules_.end()) throw Error(fmt::format("there is no module {}", id));
  auto& kernels = module->second.kernels;
  if (const auto known = kernels.find(name); known != kernels.end()) return &known->second;

  cuda::Function function = nullptr;
  const cuda::Result result = cuda_.module_get_function(&function, module->second.handle, name.c_str());
  if (result == cuda::k_not_found) return nullptr;
  check_cuda(cuda_, result, "module_get_function", __FILE__, __LINE__);
  return &kernels.emplace(name, describe(function)).first->second;
}

/// Asking for attributes also loads the code, which would otherwise happen inside the first timed launch.
CudaKernel CudaModules::describe(cuda::Function function) const {
  CudaKernel kernel{.function = function};
  if (cuda_.function_load) KERNELITES_CUDA(cuda_, function_load, function);
  KERNELITES_CUDA(cuda_, function_get_attribute, &kernel.threads_max, cuda::k_max_threads_per_block,
                  function);
  KERNELITES_CUDA(cuda_, function_get_attribute, &kernel.static_shared_bytes, cuda::k_shared_size_bytes,
                  function);
  if (!cuda_.function_get_parameter) return kernel;
  kernel.parameter_bytes.emplace();
  for (std::size_t index = 0; index < k_parameters_max; ++index) {
    std::size_t offset = 0, bytes = 0;
    if (cuda_.function_get_parameter(function, index, &offset, &bytes) != cuda::k_success) break;
    kernel.parameter_bytes->push_back(bytes);
  }
  return kernel;
}

}  // namespace kernelites::worker
