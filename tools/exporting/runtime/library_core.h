// SPDX-License-Identifier: Apache-2.0
// The inside of an exported library: which kernel for which shape, and its launches.
//
// A shape's plan is worked out at its first call and kept. A launch then looks it up without a lock, fills in addresses
// and calls the driver: no device memory is allocated, nothing waits, so that a stream may be capturing.
#pragma once

#include <cstddef>
#include <cstdint>

#include "tools/exporting/runtime/library_driver.h"

namespace KERNELITES_LIBRARY {

/// As in the C header.
enum Status : int {
  status_ok,
  status_invalid_argument,   // a null pointer, an extent below 1, a buffer that is not aligned
  status_no_driver,          // no CUDA driver, or one before 12.0
  status_no_context,         // no CUDA context is current, or not the one in which the library was opened
  status_wrong_device,       // no code for this device
  status_outside_domain,     // a shape outside the ranges for which the library was proven
  status_unsupported_shape,  // within them, but no kernel takes it
  status_workspace_too_small,
  status_out_of_memory,
  status_driver_error,
};

struct ImageDescription {
  const char* architecture;  // "sm_90a"
  const unsigned long long* words;
};
struct KernelDescription {
  const char* planned;  // as plans write it
  const char* symbol;   // in the module
};
struct TableDescription {
  const long long* dims;
  const unsigned long long* words;
  int count;
};
/// Writes the plan's words and returns how many; 0: it has no more room.
using PlanFunction = int (*)(const long long* dims, const double* scalars, const long long* device,
                             unsigned long long* words);

struct ArmDescription {
  const char* label;
  const char* candidate;  // id
  const ImageDescription* images;
  int image_count;
  const KernelDescription* kernels;
  int kernel_count;
  PlanFunction plan;              // null: only the table
  const TableDescription* table;  // null: only the function
  int table_count;
};
struct RangeDescription {
  int dim;
  long long low, high;
};
struct RuleDescription {
  int arm;  // -1: the caller's fallback
  const RangeDescription* ranges;
  int range_count;
};
struct MultipleDescription {  // `dim` is a multiple of `of_dim`, or, where that is below 0, of `number`
  int dim, of_dim;
  long long number;
};
struct LibraryDescription {
  const char* name;
  int dim_count, scalar_count, tensor_count;
  const char* const* dims;
  const char* const* tensors;
  const RangeDescription* domain;  // one for each dim
  const MultipleDescription* multiples;
  int multiple_count;
  const double* table_scalars;  // plans of tables are for these; null: there are none
  int table_multiprocessors;    // and for a device with as many at least
  const ArmDescription* arms;
  int arm_count;
  const RuleDescription* rules;
  int rule_count;
  int default_arm;
};

constexpr int k_dims_max = 16, k_scalars_max = 16, k_tensors_max = 32, k_arms_max = 16;
/// What a call that names no arm gives.
constexpr int k_any_arm = -2;
/// As a choice: the caller's fallback, and nothing.
constexpr int k_choice_fallback = -1, k_choice_none = -3;

struct Call {
  long long dims[k_dims_max];
  double scalars[k_scalars_max];
  int arm = k_any_arm;
};

struct Memory {
  const void* tensors[k_tensors_max];
  void* workspace;
  std::size_t workspace_bytes;
};

/// Takes what the C function was given, and the caller's own pointer.
using Fallback = int (*)(void* user, const void* problem, const void* tensors, Stream stream);

class Library;

/// In the current context. The description must outlive the library.
Status open_library(const LibraryDescription& description, Library*& library);
void close_library(Library* library);
Status set_fallback(Library& library, Fallback function, void* user);
/// Which arm a call gets, k_choice_fallback or k_choice_none. Never asks the device.
int choice(Library& library, const Call& call);
/// Whether the shape is one for which the library was proven.
Status check_domain(const Library& library, const Call& call);
Status supports(Library& library, const Call& call);
Status workspace_size(Library& library, const Call& call, std::size_t& bytes);
/// How much of the beginning must be zero before the first launch of this shape.
Status workspace_zero_size(Library& library, const Call& call, std::size_t& bytes);
/// Clears what self-clearing workspaces need zero before their first run.
Status workspace_init(Library& library, void* workspace, std::size_t bytes, Stream stream);
/// `problem`, `tensors`: what a fallback is given.
Status launch(Library& library, const Call& call, const Memory& memory, Stream stream, const void* problem,
              const void* tensors);

const char* status_words(Status status);
/// Of this thread's last call that failed.
const char* error_words();

}  // namespace KERNELITES_LIBRARY
