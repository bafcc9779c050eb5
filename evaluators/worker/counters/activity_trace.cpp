// SPDX-License-Identifier: Apache-2.0
// CUPTI's activity records of kernels, as its ABI has had them since CUDA 10: kind, start and end lie in front.
#include "evaluators/worker/counters/activity_trace.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <mutex>

namespace kernelites::worker {
namespace {

using Result = int;
constexpr int k_concurrent_kernel = 10;                        // CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL
constexpr std::size_t k_start_offset = 16, k_end_offset = 24;  // of CUpti_ActivityKernel4 and later
constexpr std::size_t k_buffer_bytes = 1 << 20, k_buffer_alignment = 64;
constexpr unsigned k_flush_forced = 1;

using RequestBuffer = void (*)(std::uint8_t**, std::size_t*, std::size_t*);
using CompleteBuffer = void (*)(void*, std::uint32_t, std::uint8_t*, std::size_t, std::size_t);

struct ActivityApi {
  Result (*register_callbacks)(RequestBuffer, CompleteBuffer) = nullptr;
  Result (*enable)(int kind) = nullptr;
  Result (*disable)(int kind) = nullptr;
  Result (*flush_all)(std::uint32_t flags) = nullptr;
  Result (*next_record)(std::uint8_t* buffer, std::size_t valid_bytes, void** record) = nullptr;
};

/// CUPTI calls back without a word of whose buffer it is: what it filled has to be found by everybody.
struct FilledBuffers {
  std::mutex mutex;
  std::vector<TracedKernel> kernels;
  Result (*next_record)(std::uint8_t*, std::size_t, void**) = nullptr;
};
FilledBuffers& filled() {
  static FilledBuffers buffers;
  return buffers;
}

void request_buffer(std::uint8_t** buffer, std::size_t* bytes, std::size_t* records_max) {
  *buffer = static_cast<std::uint8_t*>(std::aligned_alloc(k_buffer_alignment, k_buffer_bytes));
  *bytes = *buffer ? k_buffer_bytes : 0;
  *records_max = 0;  // as many as fit
}

void complete_buffer(void*, std::uint32_t, std::uint8_t* buffer, std::size_t, std::size_t valid_bytes) {
  FilledBuffers& target = filled();
  const std::lock_guard lock(target.mutex);
  void* record = nullptr;
  while (valid_bytes > 0 && target.next_record(buffer, valid_bytes, &record) == 0) {
    const auto* const bytes = static_cast<const std::uint8_t*>(record);
    int kind = 0;
    std::memcpy(&kind, bytes, sizeof kind);
    if (kind != k_concurrent_kernel) continue;
    TracedKernel kernel;
    std::memcpy(&kernel.start_ns, bytes + k_start_offset, sizeof kernel.start_ns);
    std::memcpy(&kernel.end_ns, bytes + k_end_offset, sizeof kernel.end_ns);
    target.kernels.push_back(kernel);
  }
  std::free(buffer);
}

/// CUPTI, if it is loaded.
void* loaded_cupti() {
  for (const char* name : {"libcupti.so.13", "libcupti.so.12"}) {
    if (void* library = ::dlopen(name, RTLD_NOW | RTLD_NOLOAD)) return library;
  }
  return nullptr;
}

template <typename FunctionPointer>
bool resolve(void* library, const char* symbol, FunctionPointer& target) {
  target = reinterpret_cast<FunctionPointer>(::dlsym(library, symbol));
  return target != nullptr;
}

}  // namespace

KernelTrace trace_kernels(const std::function<void()>& launches) {
  void* const library = loaded_cupti();
  ActivityApi api;
  const bool is_resolved = library &&
                           resolve(library, "cuptiActivityRegisterCallbacks", api.register_callbacks) &&
                           resolve(library, "cuptiActivityEnable", api.enable) &&
                           resolve(library, "cuptiActivityDisable", api.disable) &&
                           resolve(library, "cuptiActivityFlushAll", api.flush_all) &&
                           resolve(library, "cuptiActivityGetNextRecord", api.next_record);
  if (!is_resolved) return {.kernels = {}, .problem = "CUPTI's activity records cannot be asked for"};
  {
    const std::lock_guard lock(filled().mutex);
    filled().kernels.clear();
    filled().next_record = api.next_record;
  }
  Result result = api.register_callbacks(request_buffer, complete_buffer);
  if (result == 0) result = api.enable(k_concurrent_kernel);
  if (result != 0)
    return {.kernels = {}, .problem = fmt::format("CUPTI's activity records: error {}", result)};
  launches();
  api.flush_all(k_flush_forced);
  api.disable(k_concurrent_kernel);
  KernelTrace trace;
  const std::lock_guard lock(filled().mutex);
  trace.kernels = filled().kernels;
  std::sort(trace.kernels.begin(), trace.kernels.end(),
            [](const TracedKernel& a, const TracedKernel& b) { return a.start_ns < b.start_ns; });
  if (trace.kernels.empty()) trace.problem = "CUPTI recorded no kernel";
  return trace;
}

}  // namespace kernelites::worker
