// SPDX-License-Identifier: Apache-2.0
// Launches planted-bug kernels (tests/vgpu/ptx) on a real device, with the buffers that the virtual GPU's tests use.
//
//   planted_launch MODULE.cubin SECONDS NAME:GRID:BLOCK:SHARED_BYTES:COOPERATIVE...
// Prints "start NAME", then "end NAME RESULT": "done DIGEST" (FNV-1a of the output), "error NUMBER" or "timeout" (the
// kernel still ran after SECONDS; nothing follows). Built and started under each tool by tests/gpu/compare_sanitizers.py.
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include <cuda.h>
#include <unistd.h>

namespace {

constexpr int k_count = 256, k_zeroed_words = 64;

#define CHECK_CUDA(call)                                                                        \
  do {                                                                                          \
    if (const CUresult result = (call); result != CUDA_SUCCESS) {                               \
      std::printf("%s:%d: %s gives %d\n", __FILE__, __LINE__, #call, static_cast<int>(result)); \
      std::exit(2);                                                                             \
    }                                                                                           \
  } while (0)

struct Job {
  std::string name;
  unsigned grid = 4, block = 64, shared = 0, cooperative = 0;
};

Job parse_job(const std::string& text) {
  Job job;
  job.name = text.substr(0, text.find(':'));
  std::sscanf(text.c_str() + job.name.size(), ":%u:%u:%u:%u", &job.grid, &job.block, &job.shared,
              &job.cooperative);
  return job;
}

/// Waits for the stream; an error of the device is a result, not the end of the program.
std::string wait_for(CUstream stream, double seconds) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
  for (;;) {
    const CUresult result = cuStreamQuery(stream);
    if (result == CUDA_SUCCESS) return "done";
    if (result != CUDA_ERROR_NOT_READY) return "error " + std::to_string(static_cast<int>(result));
    if (std::chrono::steady_clock::now() > end) return "timeout";
    usleep(500);
  }
}

std::string launch(CUmodule module, const Job& job, double seconds) {
  CUfunction function = nullptr;
  CHECK_CUDA(cuModuleGetFunction(&function, module, job.name.c_str()));
  std::vector<float> values(k_count);
  for (int i = 0; i < k_count; ++i)
    values[static_cast<std::size_t>(i)] = static_cast<float>((i * 7) % 13 - 6);
  CUdeviceptr a = 0, o = 0, w = 0;
  CHECK_CUDA(cuMemAlloc(&a, k_count * 4));
  CHECK_CUDA(cuMemAlloc(&o, k_count * 4));
  CHECK_CUDA(cuMemAlloc(&w, k_count * 4));
  CHECK_CUDA(cuMemcpyHtoD(a, values.data(), k_count * 4));
  CHECK_CUDA(cuMemsetD32(w, 0, k_zeroed_words));
  CUstream stream = nullptr;
  CHECK_CUDA(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
  CHECK_CUDA(cuCtxSynchronize());
  int n = k_count;
  void* arguments[] = {&a, &o, &w, &n};
  const auto start = job.cooperative != 0 ? cuLaunchCooperativeKernel(function, job.grid, 1, 1, job.block, 1,
                                                                      1, job.shared, stream, arguments)
                                          : cuLaunchKernel(function, job.grid, 1, 1, job.block, 1, 1,
                                                           job.shared, stream, arguments, nullptr);
  if (start != CUDA_SUCCESS) return "error " + std::to_string(static_cast<int>(start));
  std::string result = wait_for(stream, seconds);
  if (result != "done") return result;
  // The copy is what lets initcheck see an output that is not complete.
  CHECK_CUDA(cuMemcpyDtoH(values.data(), o, k_count * 4));
  std::uint64_t digest = 0xcbf29ce484222325ull;
  for (std::size_t k = 0; k < values.size() * 4; ++k)
    digest = (digest ^ reinterpret_cast<const unsigned char*>(values.data())[k]) * 0x100000001b3ull;
  for (const CUdeviceptr address : {a, o, w}) CHECK_CUDA(cuMemFree(address));
  CHECK_CUDA(cuStreamDestroy(stream));
  return result + " " + std::to_string(digest);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) return std::fprintf(stderr, "see the head of this file for the arguments\n"), 2;
  CHECK_CUDA(cuInit(0));
  CUdevice device = 0;
  CUcontext context = nullptr;
  CHECK_CUDA(cuDeviceGet(&device, 0));
  CHECK_CUDA(cuDevicePrimaryCtxRetain(&context, device));
  CHECK_CUDA(cuCtxSetCurrent(context));
  CUmodule module = nullptr;
  CHECK_CUDA(cuModuleLoad(&module, argv[1]));
  for (int k = 3; k < argc; ++k) {
    const Job job = parse_job(argv[k]);
    std::printf("start %s\n", job.name.c_str());
    std::fflush(stdout);
    const std::string result = launch(module, job, std::atof(argv[2]));
    std::printf("end %s %s\n", job.name.c_str(), result.c_str());
    std::fflush(stdout);
    if (!result.starts_with("done")) _exit(1);  // the context is lost, or will not end
  }
}
