// SPDX-License-Identifier: Apache-2.0
// What the tests of the real device share: opening it or skipping, arguments, launches.
#pragma once

#include <dlfcn.h>

#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "evaluators/worker/device/device.h"
#include "tests/gpu/gpu_kernels.h"

namespace kernelites {

/// Null where there is no CUDA driver: the test then has nothing to test. With a driver, trouble is an
/// exception.
inline std::unique_ptr<worker::Device> open_gpu_or_skip() {
  if (void* library = ::dlopen("libcuda.so.1", RTLD_LAZY)) {
    ::dlclose(library);
    return worker::make_gpu_device();
  }
  return nullptr;
}

/// First statement of a test case: `device`, or the end of the case with a warning.
#define KERNELITES_GPU_OR_SKIP(device)        \
  auto device = open_gpu_or_skip();           \
  if (!device) {                              \
    WARN("skipped: there is no CUDA driver"); \
    return;                                   \
  }

template <typename T>
worker::BoundArgument argument(T value) {
  worker::BoundArgument bound;
  bound.bytes.resize(sizeof value);
  std::memcpy(bound.bytes.data(), &value, sizeof value);
  return bound;
}

inline worker::BoundLaunch launch_of(worker::ModuleId module, const std::string& kernel,
                                     std::vector<worker::BoundArgument> arguments, std::uint32_t blocks = 1,
                                     std::uint32_t threads = 1) {
  worker::BoundLaunch launch{.module = module, .kernel = kernel};
  launch.plan.kernel = kernel;
  launch.plan.grid = {blocks, 1, 1};
  launch.plan.block = {threads, 1, 1};
  launch.arguments = std::move(arguments);
  return launch;
}

inline worker::ModuleId load_kernels(worker::Device& device) {
  return device.load({.ptx = k_gpu_kernels_ptx, .cubin = {}});
}

inline worker::SequenceOutcome run_one(worker::Device& device, const worker::BoundLaunch& launch,
                                       double deadline_s = 20) {
  return device.run({}, {&launch, 1}, worker::RunMode::full, deadline_s);
}

template <typename T>
std::vector<T> read_all(worker::Device& device, const worker::Buffer& buffer, std::size_t count) {
  std::vector<T> values(count);
  device.read(buffer, 0, std::as_writable_bytes(std::span(values)));
  return values;
}

template <typename T>
void write_all(worker::Device& device, const worker::Buffer& buffer, const std::vector<T>& values) {
  device.write(buffer, 0, std::as_bytes(std::span(values)));
}

}  // namespace kernelites
