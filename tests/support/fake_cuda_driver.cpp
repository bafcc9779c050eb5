// SPDX-License-Identifier: Apache-2.0
// A libcuda.so.1 for tests of exported libraries: calls become lines of the file fake_cuda.log, and nothing runs.
//
// A kernel is named "..._<n>": so many parameters are read, eight bytes each. The device has 132 multiprocessors and
// compute capability 9.0. Calls that a launch must not make (allocating, waiting) are lines like all others.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <string>

namespace {

std::mutex mutex;
std::map<void*, std::string>& names() {
  static std::map<void*, std::string> kernels;
  return kernels;
}
thread_local void* current = nullptr;

void say(const std::string& line) {
  const std::lock_guard<std::mutex> lock(mutex);
  if (FILE* const file = std::fopen("fake_cuda.log", "a")) {
    std::fprintf(file, "%s\n", line.c_str());
    std::fclose(file);
  }
}

struct Attribute {
  int id;
  char padding[4];
  std::uint32_t value[16];
};
struct Configuration {
  unsigned grid[3], block[3], shared;
  void* stream;
  const Attribute* attributes;
  unsigned count;
};

std::string text(const unsigned* values, int count) {
  std::string words;
  for (int i = 0; i < count; ++i) words += (i > 0 ? "," : "") + std::to_string(values[i]);
  return words;
}

}  // namespace

extern "C" {

int cuInit(unsigned) { return 0; }
int cuDriverGetVersion(int* version) { return *version = 13000, 0; }
int cuGetErrorName(int, const char** name) { return *name = "CUDA_ERROR_FAKE", 0; }
int cuDeviceGet(int* device, int) { return *device = 0, 0; }
int cuDeviceGetAttribute(int* value, int attribute, int) {
  *value = attribute == 16   ? 132
           : attribute == 38 ? 52428800
           : attribute == 75 ? 9
           : attribute == 76 ? 0
           : attribute == 82 ? 65536
                             : 232448;
  return 0;
}
int cuDevicePrimaryCtxRetain(void** context, int) { return *context = &names(), 0; }
int cuCtxSetCurrent(void* context) { return current = context, 0; }
int cuCtxGetCurrent(void** context) { return *context = current, 0; }
int cuCtxGetDevice(int* device) { return *device = 0, 0; }
int cuModuleLoadData(void** module, const void* image) {
  say(std::memcmp(image, "\177ELF", 4) == 0 ? "load cubin" : "load something else");
  return *module = std::malloc(1), 0;
}
int cuModuleUnload(void*) { return say("unload"), 0; }
int cuModuleGetFunction(void** function, void*, const char* name) {
  *function = std::malloc(1);
  const std::lock_guard<std::mutex> lock(mutex);
  names()[*function] = name;
  return 0;
}
int cuFuncSetAttribute(void* function, int attribute, int value) {
  return say("set " + names()[function] + " " + std::to_string(attribute) + " " + std::to_string(value)), 0;
}
int cuFuncGetAttribute(int* value, int attribute, void*) { return *value = attribute == 0 ? 1024 : 0, 0; }
int cuMemsetD8Async(unsigned long long address, unsigned char value, std::size_t bytes, void*) {
  return say("memset " + std::to_string(address) + " " + std::to_string(value) + " " + std::to_string(bytes)),
         0;
}
int cuTensorMapEncodeTiled(std::uint64_t* map, int type, std::uint32_t rank, void* address,
                           const std::uint64_t* extents, const std::uint64_t* strides,
                           const std::uint32_t* box, const std::uint32_t*, int, int swizzle, int promotion,
                           int) {
  std::string words = "encode " + std::to_string(reinterpret_cast<std::uintptr_t>(address)) + " type " +
                      std::to_string(type) + " extents";
  for (std::uint32_t i = 0; i < rank; ++i) words += " " + std::to_string(extents[i]);
  words += " strides";
  for (std::uint32_t i = 0; i + 1 < rank; ++i) words += " " + std::to_string(strides[i]);
  words += " box";
  for (std::uint32_t i = 0; i < rank; ++i) words += " " + std::to_string(box[i]);
  say(words + " swizzle " + std::to_string(swizzle) + " promotion " + std::to_string(promotion));
  map[0] = 77;
  return 0;
}
int cuLaunchKernelEx(const Configuration* configuration, void* function, void** parameters, void**) {
  const std::string name = names()[function];
  std::string words = "launch " + name + " grid " + text(configuration->grid, 3) + " block " +
                      text(configuration->block, 3) + " shared " + std::to_string(configuration->shared) +
                      " stream " + std::to_string(reinterpret_cast<std::uintptr_t>(configuration->stream));
  for (unsigned i = 0; i < configuration->count; ++i) {
    const Attribute& attribute = configuration->attributes[i];
    words +=
        " attribute " + std::to_string(attribute.id) + "=" + text(attribute.value, attribute.id == 4 ? 3 : 1);
  }
  std::size_t at = name.find('_');
  while (at != std::string::npos && (name[at + 1] < '0' || name[at + 1] > '9')) at = name.find('_', at + 1);
  const int count = at == std::string::npos ? 0 : std::atoi(name.c_str() + at + 1);
  for (int i = 0; i < count; ++i) {
    std::uint64_t value = 0;
    std::memcpy(&value, parameters[i], sizeof value);
    words += " " + std::to_string(value);
  }
  return say(words), 0;
}
int cuMemAlloc_v2(unsigned long long* address, std::size_t bytes) {
  void* const memory = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
  std::memset(memory, 0, bytes);
  return say("allocate " + std::to_string(bytes)), *address = reinterpret_cast<std::uintptr_t>(memory), 0;
}
int cuMemFree_v2(unsigned long long address) {
  return std::free(reinterpret_cast<void*>(address)), say("release"), 0;
}
int cuMemcpyHtoD_v2(unsigned long long to, const void* from, std::size_t bytes) {
  return std::memcpy(reinterpret_cast<void*>(to), from, bytes), 0;
}
int cuMemcpyDtoH_v2(void* to, unsigned long long from, std::size_t bytes) {
  return std::memcpy(to, reinterpret_cast<void*>(from), bytes), 0;
}
int cuCtxSynchronize(void) { return say("synchronise"), 0; }
int cuStreamSynchronize(void*) { return say("synchronise"), 0; }

}  // extern "C"
