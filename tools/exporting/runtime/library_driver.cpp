// SPDX-License-Identifier: Apache-2.0
// Opens libcuda once and looks every entry point up.
#include "tools/exporting/runtime/library_driver.h"

#include <dlfcn.h>

#include <cstdio>

namespace KERNELITES_LIBRARY {
namespace {

Driver open_driver() {
  Driver driver;
  void* const library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    driver.problem = "libcuda.so.1 cannot be opened: this machine has no CUDA driver";
    return driver;
  }
#define KERNELITES_LOOK_UP(name, symbol, parameters) \
  driver.name = reinterpret_cast<Result(*) parameters>(dlsym(library, symbol));
  KERNELITES_DRIVER(KERNELITES_LOOK_UP)
#undef KERNELITES_LOOK_UP
  if (driver.launch == nullptr) driver.problem = "the CUDA driver is older than 12.0 (no cuLaunchKernelEx)";
  return driver;
}

}  // namespace

const Driver& driver() {
  static const Driver opened = open_driver();
  return opened;
}

const char* result_words(Result result) {
  static thread_local char number[32];
  const char* name = nullptr;
  if (driver().error_name != nullptr && driver().error_name(result, &name) == 0 && name != nullptr)
    return name;
  std::snprintf(number, sizeof number, "CUDA error %d", result);
  return number;
}

int fitness(const char* architecture, int major, int minor) {
  int number = 0;
  char suffix = 0;
  if (std::sscanf(architecture, "sm_%d%c", &number, &suffix) < 1) return 0;
  if (suffix != 0) return number == 10 * major + minor ? 3 : 0;
  if (number / 10 != major || number % 10 > minor) return 0;
  return number % 10 == minor ? 2 : 1;
}

}  // namespace KERNELITES_LIBRARY
