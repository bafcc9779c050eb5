// SPDX-License-Identifier: Apache-2.0
// Resolving the driver's entry points from one table.
#include "evaluators/worker/device/cuda_library.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include <string_view>

#include "engine/core/error.h"

namespace kernelites::worker {
namespace {

/// The interface whose signatures cuda_library.h declares.
constexpr int k_interface_version = 12000;

using GetProcAddress = cuda::Result (*)(const char* symbol, void** function, int version, std::uint64_t flags,
                                        int* status);

/// Looks entry points up and remembers the first that is missing.
class Resolver {
 public:
  explicit Resolver(GetProcAddress get) : get_(get) {}

  template <typename FunctionPointer>
  void optional(const char* symbol, FunctionPointer& target, int version) {
    void* found = nullptr;
    int status = 0;
    const bool is_found = get_(symbol, &found, version, /*flags=*/0, &status) == cuda::k_success && found;
    target = is_found ? reinterpret_cast<FunctionPointer>(found) : nullptr;
  }
  template <typename FunctionPointer>
  void required(const char* symbol, FunctionPointer& target) {
    optional(symbol, target, k_interface_version);
    if (!target && missing_.empty()) missing_ = symbol;
  }
  std::string_view missing() const { return missing_; }

 private:
  GetProcAddress get_;
  std::string_view missing_;
};

void resolve(Resolver& resolver, CudaLibrary& cuda) {
  resolver.required("cuGetErrorName", cuda.get_error_name);
  resolver.required("cuGetErrorString", cuda.get_error_string);
  resolver.required("cuInit", cuda.init);
  resolver.required("cuDriverGetVersion", cuda.driver_get_version);
  resolver.required("cuDeviceGet", cuda.device_get);
  resolver.required("cuDeviceGetName", cuda.device_get_name);
  resolver.required("cuDeviceGetAttribute", cuda.device_get_attribute);
  resolver.required("cuDeviceTotalMem", cuda.device_total_memory);
  resolver.required("cuDevicePrimaryCtxRetain", cuda.primary_context_retain);
  resolver.required("cuDevicePrimaryCtxRelease", cuda.primary_context_release);
  resolver.required("cuCtxSetCurrent", cuda.context_set_current);
  resolver.required("cuCtxGetCurrent", cuda.context_get_current);
  resolver.required("cuCtxSetLimit", cuda.context_set_limit);
  resolver.required("cuCtxResetPersistingL2Cache", cuda.context_reset_persisting_l2);
  resolver.required("cuCtxSynchronize", cuda.context_synchronize);
  resolver.required("cuMemGetAllocationGranularity", cuda.memory_get_granularity);
  resolver.required("cuMemCreate", cuda.memory_create);
  resolver.required("cuMemRelease", cuda.memory_release);
  resolver.required("cuMemAddressReserve", cuda.memory_address_reserve);
  resolver.required("cuMemAddressFree", cuda.memory_address_free);
  resolver.required("cuMemMap", cuda.memory_map);
  resolver.required("cuMemUnmap", cuda.memory_unmap);
  resolver.required("cuMemSetAccess", cuda.memory_set_access);
  resolver.required("cuMemExportToShareableHandle", cuda.memory_export);
  resolver.required("cuMemImportFromShareableHandle", cuda.memory_import);
  resolver.required("cuMemcpyHtoD", cuda.copy_to_device);
  resolver.required("cuMemcpyDtoH", cuda.copy_to_host);
  resolver.required("cuMemsetD8", cuda.set_bytes);
  resolver.required("cuModuleLoadDataEx", cuda.module_load_data);
  resolver.required("cuModuleUnload", cuda.module_unload);
  resolver.required("cuModuleGetFunction", cuda.module_get_function);
  resolver.required("cuFuncGetAttribute", cuda.function_get_attribute);
  resolver.required("cuFuncSetAttribute", cuda.function_set_attribute);
  resolver.optional("cuFuncLoad", cuda.function_load, 12040);
  resolver.optional("cuFuncGetParamInfo", cuda.function_get_parameter, 12040);
  resolver.required("cuLaunchKernelEx", cuda.launch_kernel);
  resolver.required("cuTensorMapEncodeTiled", cuda.encode_tensor_map);
  resolver.required("cuStreamCreate", cuda.stream_create);
  resolver.required("cuStreamQuery", cuda.stream_query);
  resolver.required("cuStreamWaitEvent", cuda.stream_wait_event);
  resolver.required("cuEventCreate", cuda.event_create);
  resolver.required("cuEventRecord", cuda.event_record);
  resolver.required("cuEventQuery", cuda.event_query);
  resolver.required("cuEventElapsedTime", cuda.event_elapsed_time);
}

}  // namespace

std::string CudaLibrary::words(Result result) const {
  const char* name = nullptr;
  const char* text = nullptr;
  if (get_error_name(result, &name) != cuda::k_success || !name) name = "unknown error";
  if (get_error_string(result, &text) != cuda::k_success || !text) text = "the driver has no words for it";
  return fmt::format("{} ({})", name, text);
}

CudaLibrary open_cuda() {
  void* const library = ::dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  if (!library) throw Error(fmt::format("no CUDA driver: {}", ::dlerror()));
  void* const get = ::dlsym(library, "cuGetProcAddress_v2");
  if (!get) throw Error("the CUDA driver is older than 12.0: libcuda.so.1 has no cuGetProcAddress_v2");

  CudaLibrary cuda;
  Resolver resolver(reinterpret_cast<GetProcAddress>(get));
  resolve(resolver, cuda);
  if (!resolver.missing().empty()) throw Error(fmt::format("the CUDA driver has no {}", resolver.missing()));
  const cuda::Result result = cuda.init(0);
  if (result != cuda::k_success) throw Error(fmt::format("no usable CUDA device: {}", cuda.words(result)));
  return cuda;
}

void check_cuda(const CudaLibrary& cuda, cuda::Result result, const char* call, const char* file, int line) {
  if (result == cuda::k_success) return;
  const std::string_view path(file);
  throw Error(fmt::format("CUDA: {} failed: {} [{}:{}]", call, cuda.words(result),
                          path.substr(path.rfind('/') + 1), line));
}

}  // namespace kernelites::worker
