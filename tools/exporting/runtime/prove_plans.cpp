// SPDX-License-Identifier: Apache-2.0
// Plans of one kernel at many shapes, by host code: records on stdin, counted words on stdout. For an export's proof.
#include <cstdio>

#include "tools/exporting/runtime/library_name.h"

#ifndef KERNELITES_PROVEN_PLAN
#define KERNELITES_PROVEN_PLAN plan_arm_0
#define KERNELITES_PROVEN_DIMS 1
#define KERNELITES_PROVEN_SCALARS 0
#endif

namespace KERNELITES_LIBRARY {
int KERNELITES_PROVEN_PLAN(const long long* dims, const double* scalars, const long long* device,
                           unsigned long long* words);
}

int main() {
  struct {
    long long dims[KERNELITES_PROVEN_DIMS];
    double scalars[KERNELITES_PROVEN_SCALARS + 1];  // the last one is not used
    long long device[5];
  } record;
  static unsigned long long words[1 + 2816];
  while (std::fread(&record, sizeof record, 1, stdin) == 1) {
    const int count =
        KERNELITES_LIBRARY::KERNELITES_PROVEN_PLAN(record.dims, record.scalars, record.device, words + 1);
    words[0] = static_cast<unsigned long long>(count);
    std::fwrite(words, sizeof words[0], 1 + static_cast<std::size_t>(count), stdout);
  }
  return std::fflush(stdout) == 0 ? 0 : 1;
}
