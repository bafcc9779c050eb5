// SPDX-License-Identifier: Apache-2.0
// Buffers, draws and surroundings of launches, by the driver.
#include "tools/exporting/runtime/library_rig.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace KERNELITES_LIBRARY {
namespace {

constexpr unsigned k_blocks_max = 2048;

unsigned strided_blocks(std::size_t items, std::size_t threads) {
  return static_cast<unsigned>(std::clamp<std::size_t>((items + threads - 1) / threads, 1, k_blocks_max));
}

}  // namespace

void give_up(const std::string& words) {
  std::fprintf(stderr, "%s: %s\n", k_case_table.name, words.c_str());
  std::exit(2);
}

void check(Result result, const char* what) {
  if (result != 0) give_up(std::string(what) + ": " + result_words(result));
}

int dtype_bytes(int dtype) {
  constexpr int k_bytes[] = {2, 2, 4, 8, 1, 1, 1, 1, 4, 8};
  return k_bytes[dtype];
}

std::size_t elements_of(const Case& test, int tensor) {
  std::size_t count = 1;
  for (int axis = 0; axis < k_case_table.tensors[tensor].rank; ++axis)
    count *= static_cast<std::size_t>(test.shapes[8 * tensor + axis]);
  return count;
}

std::vector<void*> CaseMemory::pointers() const {
  std::vector<void*> addresses;
  for (const Buffer& buffer : tensors) addresses.push_back(reinterpret_cast<void*>(buffer.address));
  return addresses;
}

Rig::Rig() {
  const Driver& cuda = driver();
  if (cuda.problem != nullptr) give_up(cuda.problem);
  check(cuda.init(0), "cuInit");
  check(cuda.device_get(&device_, 0), "cuDeviceGet");
  void* context = nullptr;
  check(cuda.primary_context(&context, device_), "cuDevicePrimaryCtxRetain");
  check(cuda.context_set(context), "cuCtxSetCurrent");
  char name[128] = {};
  cuda.device_name(name, sizeof name, device_);
  device_name_ = name;
  cuda.driver_version(&driver_version_);
  check(cuda.stream_create(&stream_, 1), "cuStreamCreate");
  int major = 0, minor = 0, l2_bytes = 0;
  cuda.device_attribute(&major, k_capability_major, device_);
  cuda.device_attribute(&minor, k_capability_minor, device_);
  cuda.device_attribute(&l2_bytes, k_l2_bytes, device_);
  for (int i = 0; i < k_case_table.harness_count && harness_ == nullptr; ++i) {
    int number = 0;
    std::sscanf(k_case_table.harness[i].architecture, "sm_%d", &number);
    if (number == 10 * major + minor)
      check(cuda.module_load(&harness_, k_case_table.harness[i].words), "cuModuleLoadData");
  }
  if (harness_ == nullptr) give_up("there is no code for this device in the export");
  if (k_case_table.inputs != nullptr && open_library(*k_case_table.inputs, inputs_) != status_ok)
    give_up(std::string("computed inputs: ") + error_words());
  flush_ = kernel("harness_flush"), demote_ = kernel("harness_demote"), clock_ = kernel("harness_clock");
  fill_ = kernel("harness_fill"), unit_ = kernel("harness_unit");
  flush_buffer_ = allocate(2 * static_cast<std::size_t>(l2_bytes));
  clock_log_ = allocate(8 * (1 + 2 * 128));
  check(cuda.memset_async(flush_buffer_.address, 0, flush_buffer_.bytes, stream_), "cuMemsetD8Async");
  check(cuda.memset_async(clock_log_.address, 0, clock_log_.bytes, stream_), "cuMemsetD8Async");
}

void* Rig::kernel(const char* name) {
  void* function = nullptr;
  check(driver().module_function(&function, harness_, name), name);
  return function;
}

void Rig::run(void* function, unsigned blocks, unsigned threads, void** parameters) {
  LaunchConfiguration configuration;
  configuration.grid[0] = blocks;
  configuration.block[0] = threads;
  configuration.stream = stream_;
  check(driver().launch(&configuration, function, parameters, nullptr), "cuLaunchKernelEx");
}

Buffer Rig::allocate(std::size_t bytes) {
  Buffer buffer;
  buffer.bytes = bytes;
  check(driver().allocate(&buffer.address, std::max<std::size_t>(bytes, 256)), "cuMemAlloc");
  return buffer;
}

void Rig::release(Buffer& buffer) {
  if (buffer.address != 0) check(driver().release(buffer.address), "cuMemFree");
  buffer = Buffer();
}

void Rig::release(CaseMemory& memory) {
  for (Buffer& buffer : memory.tensors) release(buffer);
  release(memory.workspace);
}

CaseMemory Rig::prepare(const Case& test, int draw, void* library, const long long* dims) {
  CaseMemory memory;
  for (int t = 0; t < k_case_table.tensor_count; ++t) {
    const CaseTensor& tensor = k_case_table.tensors[t];
    std::size_t count = elements_of(test, t);
    memory.tensors.push_back(allocate(count * static_cast<std::size_t>(dtype_bytes(tensor.dtype))));
    const CaseFill& fill = test.fills[t];
    if (fill.order == nullptr) continue;
    std::vector<unsigned char> order(fill.order, fill.order + k_case_table.fill_bytes);
    std::memcpy(order.data(), &memory.tensors.back().address, sizeof(Address));
    void* parameters[] = {order.data()};
    run(fill_, strided_blocks(count, 256), 256, parameters);
    if (fill.unit > 0) {
      Address address = memory.tensors.back().address;
      int dtype = tensor.dtype;
      float unit = fill.unit;
      long long columns = test.shapes[8 * t + tensor.rank - 1];
      long long vectors = static_cast<long long>(count) / columns;
      void* more[] = {&address, &dtype, &vectors, &columns, &unit};
      run(unit_, strided_blocks(static_cast<std::size_t>(vectors), 4), 128, more);
    }
  }
  std::size_t most = 0;
  for (int arm = -1; arm < public_arm_count(); ++arm) {
    std::size_t bytes = 0;
    if (public_workspace(library, arm < 0 ? k_any_arm : arm, dims, k_case_table.scalars, &bytes) == 0)
      most = std::max(most, bytes);
  }
  memory.workspace = allocate(most);
  upload_metadata(test, draw, memory);
  synchronise();
  return memory;
}

void Rig::upload_metadata(const Case& test, int draw, CaseMemory& memory) {
  for (int t = 0; t < k_case_table.tensor_count; ++t) {
    const int* const values = test.metadata[draw * k_case_table.tensor_count + t];
    if (values == nullptr) continue;
    const Buffer& buffer = memory.tensors[static_cast<std::size_t>(t)];
    if (dtype_bytes(k_case_table.tensors[t].dtype) == 4) {
      check(driver().upload(buffer.address, values, buffer.bytes), "cuMemcpyHtoD");
    } else {
      const std::vector<long long> wide(values, values + buffer.bytes / 8);
      check(driver().upload(buffer.address, wide.data(), buffer.bytes), "cuMemcpyHtoD");
    }
  }
  if (inputs_ != nullptr && test.computed != nullptr) compute_inputs(test, draw, memory);
}

void Rig::compute_inputs(const Case& test, int draw, CaseMemory& memory) {
  Buffer numbers = allocate(4 * sizeof(long long));
  check(driver().upload(numbers.address, test.computed + 4 * draw, numbers.bytes), "cuMemcpyHtoD");
  Memory given = {};
  for (int t = 0; t < k_case_table.tensor_count; ++t)
    given.tensors[t] = reinterpret_cast<void*>(memory.tensors[static_cast<std::size_t>(t)].address);
  given.tensors[k_case_table.tensor_count] = reinterpret_cast<void*>(numbers.address);
  Call call = {};
  std::copy(test.dims, test.dims + k_case_table.inputs->dim_count, call.dims);
  std::copy(k_case_table.scalars, k_case_table.scalars + k_case_table.inputs->scalar_count, call.scalars);
  std::size_t bytes = 0;
  if (workspace_size(*inputs_, call, bytes) != status_ok)
    give_up(std::string("computed inputs: ") + error_words());
  Buffer workspace = allocate(bytes);
  given.workspace = reinterpret_cast<void*>(workspace.address);
  given.workspace_bytes = bytes;
  workspace_init(*inputs_, given.workspace, bytes, stream_);
  if (launch(*inputs_, call, given, stream_, nullptr, nullptr) != status_ok)
    give_up(std::string("computed inputs: ") + error_words());
  synchronise();
  release(workspace);
  release(numbers);
}

void Rig::poison(CaseMemory& memory, void* library, unsigned char byte) {
  for (int t = 0; t < k_case_table.tensor_count; ++t) {
    const Buffer& buffer = memory.tensors[static_cast<std::size_t>(t)];
    if (k_case_table.tensors[t].role == 2)
      check(driver().memset_async(buffer.address, byte, buffer.bytes, stream_), "cuMemsetD8Async");
  }
  if (memory.workspace.bytes > 0)
    check(driver().memset_async(memory.workspace.address, byte, memory.workspace.bytes, stream_),
          "cuMemsetD8Async");
  if (public_init(library, reinterpret_cast<void*>(memory.workspace.address), memory.workspace.bytes,
                  stream_) != 0)
    give_up(public_error());
}

void Rig::before_launch() {
  Address address = flush_buffer_.address;
  long long vectors = static_cast<long long>(flush_buffer_.bytes / 16);
  long long lines = static_cast<long long>(flush_buffer_.bytes / 128);
  unsigned salt = 0x51ED270B;
  void* flush[] = {&address, &vectors, &salt};
  run(flush_, strided_blocks(static_cast<std::size_t>(vectors), 512), 512, flush);
  void* demote[] = {&address, &lines};
  run(demote_, strided_blocks(static_cast<std::size_t>(lines), 512), 512, demote);
  Address log = clock_log_.address;
  unsigned slots = 128, nanoseconds = 20000;
  void* clock[] = {&log, &slots, &nanoseconds};
  run(clock_, 1, 1, clock);
}

void Rig::trivial_launch() {
  Address address = flush_buffer_.address;
  long long lines = 0;
  void* demote[] = {&address, &lines};
  run(demote_, 1, 512, demote);
}

std::vector<unsigned char> Rig::download(const Buffer& buffer) {
  std::vector<unsigned char> bytes(buffer.bytes);
  synchronise();
  if (!bytes.empty()) check(driver().download(bytes.data(), buffer.address, buffer.bytes), "cuMemcpyDtoH");
  return bytes;
}

void Rig::synchronise() { check(driver().stream_synchronise(stream_), "cuStreamSynchronize"); }

}  // namespace KERNELITES_LIBRARY
