// SPDX-License-Identifier: Apache-2.0
// The measures of archive_bench; each prints one JSON object per line.
#pragma once

#include <string>
#include <vector>

#include "engine/core/json.h"

namespace kernelites {

struct InsertionOptions {
  int count = 1'000'000;
  std::string stream;  ///< empty: none
};
struct DurableOptions {
  int count = 5'000;
  std::string folder = ".";
};
struct ControllerOptions {
  std::vector<int> histories{1'000, 10'000, 100'000};
  int candidates = 300;
  std::string folder = ".";
};

void measure_insertions(const InsertionOptions& options);
void measure_durable(const DurableOptions& options);
void measure_selection(int count);
void measure_controller(const ControllerOptions& options);

/// One line on stdout, with how busy the machine was.
void print_measure(Json row);

}  // namespace kernelites
