// SPDX-License-Identifier: Apache-2.0
// The workloads that an exported library is tested and timed at, as tables; library_cases.cpp is generated.
#pragma once

#include "tools/exporting/runtime/library_core.h"

namespace KERNELITES_LIBRARY {

struct CaseTensor {
  const char* name;
  int dtype;  // f16, bf16, f32, f64, e4m3, e5m2, i8, u8, i32, i64
  int role;   // 0 input, 1 metadata, 2 output
  int rank;
};

/// How an output is compared with the reference, by the kernels with which the search compared.
struct CaseCompare {
  const unsigned char* order;  // as they take it, six addresses first; null: this is no output
  long long columns, parts;    // of a row: elements of the reference, and parts that are gated apart
  long long chosen;            // indices of a selection
  bool is_selection;
  int group;            // of rows
  int emulated_tensor;  // of the reference; -1: none
};

struct CaseFill {
  const unsigned char* order;  // as the kernel harness_fill takes it; null: the input is not filled
  float unit;
};

struct Case {
  const char* workload;
  bool is_bench;
  const long long* dims;
  const long long* shapes;      // eight extents for each tensor
  const CaseFill* fills;        // one for each tensor
  const CaseCompare* compares;  // one for each tensor
  const int* const* metadata;   // for each draw one for each tensor, null where it is no metadata
  const long long*
      computed;  // for each draw four numbers, which the program of computed inputs takes; null: none
  int draws;
  const long long* reference_counts;  // elements of each tensor of the reference
  const long long* rows;              // by group: how many the reference computes
  const long long* rows_total;        // by group: of how many
};

struct CaseTable {
  const char* name;
  const CaseTensor* tensors;
  int tensor_count;
  const double* scalars;
  int dim_count;
  const Case* cases;
  int case_count;
  int batch_dim;                     // -1: no dim counts independent elements of the leading axes
  const bool* has_batch;             // by tensor: its first axis is that dim
  const LibraryDescription* inputs;  // computes inputs: their tensors, then the draw; null: none are computed
  const LibraryDescription* reference;  // null: there is none
  const int* reference_dtypes;
  const int* rows_tensors;  // by group: the reference's tensor with the row numbers
  int group_count;
  const ImageDescription* harness;
  int harness_count;
  int fill_bytes;     // of a fill's order
  int compare_bytes;  // of a comparison's
  const bool*
      may_differ;  // by arm: its sums are atomic, so that equal launches need not be equal bit for bit
};
extern const CaseTable k_case_table;

/// The library through its C interface. Statuses are its own; 0 is good.
int public_open(void** library);
int public_arm_count();
const char* public_arm_id(int arm);
/// `arm`: k_any_arm is the dispatcher.
int public_workspace(void* library, int arm, const long long* dims, const double* scalars,
                     std::size_t* bytes);
int public_init(void* library, void* workspace, std::size_t bytes, Stream stream);
int public_launch(void* library, int arm, const long long* dims, const double* scalars, void* const* tensors,
                  void* workspace, std::size_t bytes, Stream stream);
int public_choice(void* library, const long long* dims, const double* scalars);
const char* public_error();

}  // namespace KERNELITES_LIBRARY
