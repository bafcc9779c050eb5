// SPDX-License-Identifier: Apache-2.0
// Each a call or two of the driver.
#include "tools/exporting/runtime/library_memory.h"

#include <mutex>

#include "tools/exporting/runtime/library_driver.h"
#include "tools/exporting/runtime/library_status.h"

namespace KERNELITES_LIBRARY {
namespace {

constexpr Result k_no_memory = 2;  // CUDA_ERROR_OUT_OF_MEMORY

Status outcome(Result result, const char* call) {
  if (result == 0) return status_ok;
  return fail(result == k_no_memory ? status_out_of_memory : status_driver_error,
              std::string(call) + ": " + result_words(result));
}

/// A device's primary context, asked for once in a process: each asking keeps it alive for ever.
Result retained_context(int device, void*& context) {
  constexpr int k_devices_max = 64;
  static std::mutex mutex;
  static void* contexts[k_devices_max] = {};
  const std::lock_guard<std::mutex> lock(mutex);
  if (device < 0 || device >= k_devices_max) return driver().primary_context(&context, device);
  if (contexts[device] == nullptr) {
    const Result result = driver().primary_context(&contexts[device], device);
    if (result != 0) contexts[device] = nullptr;
    if (result != 0) return result;
  }
  context = contexts[device];
  return 0;
}

}  // namespace

Status use_device(int device) {
  const Driver& cuda = driver();
  if (cuda.problem != nullptr) return fail(status_no_driver, cuda.problem);
  int number = 0;
  void* context = nullptr;
  Result result = cuda.init(0);
  if (result == 0) result = cuda.device_get(&number, device);
  if (result == 0) result = retained_context(number, context);
  if (result == 0) result = cuda.context_set(context);
  return outcome(result, "device");
}

Status allocate(std::size_t bytes, void*& memory) {
  memory = nullptr;
  if (bytes == 0) return status_ok;
  const Driver& cuda = driver();
  if (cuda.problem != nullptr) return fail(status_no_driver, cuda.problem);
  Address address = 0;
  if (const Status status = outcome(cuda.allocate(&address, bytes), "cuMemAlloc"); status != status_ok)
    return status;
  Status status = outcome(cuda.memset_async(address, 0, bytes, nullptr), "cuMemsetD8Async");
  // Other streams need not wait for the default one.
  if (status == status_ok) status = outcome(cuda.synchronise(), "cuCtxSynchronize");
  if (status == status_ok)
    memory = reinterpret_cast<void*>(address);
  else
    cuda.release(address);
  return status;
}

Status release(void* memory) {
  if (memory == nullptr) return status_ok;
  return outcome(driver().release(reinterpret_cast<Address>(memory)), "cuMemFree");
}

Status write(void* memory, const void* host, std::size_t bytes) {
  if (bytes == 0) return status_ok;
  const Status status = outcome(driver().synchronise(), "cuCtxSynchronize");
  return status == status_ok
             ? outcome(driver().upload(reinterpret_cast<Address>(memory), host, bytes), "cuMemcpyHtoD")
             : status;
}

Status read(void* host, const void* memory, std::size_t bytes) {
  if (bytes == 0) return status_ok;
  const Status status = outcome(driver().synchronise(), "cuCtxSynchronize");
  return status == status_ok
             ? outcome(driver().download(host, reinterpret_cast<Address>(memory), bytes), "cuMemcpyDtoH")
             : status;
}

Status wait(Stream stream) { return outcome(driver().stream_synchronise(stream), "cuStreamSynchronize"); }

}  // namespace KERNELITES_LIBRARY
