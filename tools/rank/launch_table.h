// SPDX-License-Identifier: Apache-2.0
// Kernel launches as a trace is read: small records, names kept once, summed up at the end.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "tools/rank/kernel_trace.h"

namespace kernelites {

/// What a framework said of one operation.
struct OperationFacts {
  std::string name;
  std::string shapes;
  std::string types;
};

class LaunchTable {
 public:
  /// `file` is named in errors; `rows_max` bounds launches and operations, each.
  explicit LaunchTable(std::string file, std::size_t rows_max = k_trace_launches_max)
      : file_(std::move(file)), rows_max_(rows_max) {}

  /// `operation` is the id under which `add_operation` tells it, before or after; 0: none. `gpu` tells several GPUs of
  /// one trace apart. Both throw ConfigError beyond `rows_max`.
  void add_launch(const std::string& kernel, std::uint64_t operation, double start_us, double duration_us,
                  std::uint32_t gpu = 0);
  void add_operation(std::uint64_t id, const OperationFacts& facts);
  void add_copy(double duration_us);

  /// By kernel, operation and shapes, the longest first, and when each launch ran. Leaves format and device to the
  /// caller.
  KernelTrace summed();

 private:
  std::uint32_t name_index(const std::string& text);

  struct Launch {
    std::uint32_t kernel, gpu;
    std::uint64_t operation;
    double start_us, duration_us;
  };
  struct OperationRow {
    std::uint64_t id = 0;
    std::uint32_t name = 0, shapes = 0, types = 0;  // 0: empty
  };
  /// REQUIRES: operations_ are sorted. Empty: of none.
  OperationRow operation_of(const Launch& launch) const;

  std::string file_;
  std::size_t rows_max_;
  std::vector<std::string> names_{""};
  std::unordered_map<std::string, std::uint32_t> index_{{"", 0}};
  std::vector<Launch> launches_;
  std::vector<OperationRow> operations_;
  double copy_us_ = 0;
};

}  // namespace kernelites
