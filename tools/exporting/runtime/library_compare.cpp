// SPDX-License-Identifier: Apache-2.0
// Lays out what the harness's kernels take, launches them and reads what they found.
#include "tools/exporting/runtime/library_compare.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace KERNELITES_LIBRARY {
namespace {

const CaseTable& k_table = k_case_table;
constexpr unsigned k_threads = 128, k_worst_threads = 256;
constexpr std::size_t k_row_result_bytes = 4 * sizeof(double);

struct WorstResult {  // as harness_worst writes it
  double row, share, element, mismatch;
  long long index;
};

/// The addresses at the beginning of an order, in its own order.
struct Addresses {
  Address output, gold, emulated, rows, results, marks;
};

double worst_of_output(Rig& rig, const Case& test, int t, const CaseMemory& memory, const Answer& answer) {
  const CaseCompare& compare = test.compares[t];
  const auto of_reference = [&](int tensor) {
    return answer.tensors[static_cast<std::size_t>(tensor)].address;
  };
  const auto rows = static_cast<std::size_t>(test.rows[compare.group]);
  const std::size_t results = rows * static_cast<std::size_t>(compare.parts);
  const std::size_t mark_bytes =
      compare.chosen > 0 ? rows * ((static_cast<std::size_t>(compare.columns) + 3) / 4 * 4) : 0;
  Buffer result_buffer = rig.allocate(results * k_row_result_bytes), marks = rig.allocate(mark_bytes),
         worst_buffer = rig.allocate(sizeof(WorstResult));
  if (mark_bytes > 0)
    check(driver().memset_async(marks.address, 0, mark_bytes, rig.stream()), "cuMemsetD8Async");
  std::vector<unsigned char> order(compare.order, compare.order + k_table.compare_bytes);
  const Addresses addresses{memory.tensors[static_cast<std::size_t>(t)].address,
                            of_reference(t),
                            compare.emulated_tensor >= 0 ? of_reference(compare.emulated_tensor) : 0,
                            of_reference(k_table.rows_tensors[compare.group]),
                            result_buffer.address,
                            marks.address};
  std::memcpy(order.data(), &addresses, sizeof addresses);
  void* parameters[] = {order.data()};
  rig.run(rig.kernel(compare.is_selection ? "harness_select" : "harness_compare"),
          static_cast<unsigned>(results), k_threads, parameters);
  auto count = static_cast<long long>(results);
  void* reduced[] = {&result_buffer.address, &count, &worst_buffer.address};
  rig.run(rig.kernel("harness_worst"), 1, k_worst_threads, reduced);
  WorstResult worst;
  std::memcpy(&worst, rig.download(worst_buffer).data(), sizeof worst);
  for (Buffer* buffer : {&result_buffer, &marks, &worst_buffer}) rig.release(*buffer);
  if (worst.index < 0) give_up("a comparison found no row");
  if (worst.mismatch > 0 || std::isnan(worst.mismatch) || std::isnan(worst.share) ||
      std::isnan(worst.element))
    return HUGE_VAL;
  return std::max(worst.share, worst.element);
}

}  // namespace

Answer ask_reference(Rig& rig, Library& reference, const Case& test, const CaseMemory& memory) {
  Answer answer;
  Memory given = {};
  for (int t = 0; t < k_table.reference->tensor_count; ++t) {
    const bool is_input = t < k_table.tensor_count && k_table.tensors[t].role != 2;
    answer.tensors.push_back(
        is_input ? Buffer()
                 : rig.allocate(static_cast<std::size_t>(test.reference_counts[t]) *
                                static_cast<std::size_t>(dtype_bytes(k_table.reference_dtypes[t]))));
    given.tensors[t] = reinterpret_cast<void*>(is_input ? memory.tensors[static_cast<std::size_t>(t)].address
                                                        : answer.tensors.back().address);
  }
  for (int g = 0; g < k_table.group_count; ++g) {
    std::vector<long long> rows(static_cast<std::size_t>(test.rows[g]));
    for (std::size_t i = 0; i < rows.size(); ++i)
      rows[i] = static_cast<long long>(i) * test.rows_total[g] / test.rows[g];
    const Buffer& buffer = answer.tensors[static_cast<std::size_t>(k_table.rows_tensors[g])];
    check(driver().upload(buffer.address, rows.data(), buffer.bytes), "cuMemcpyHtoD");
  }
  Call call = {};
  std::copy(test.dims, test.dims + k_table.reference->dim_count, call.dims);
  std::copy(k_table.scalars, k_table.scalars + k_table.reference->scalar_count, call.scalars);
  std::size_t bytes = 0;
  if (workspace_size(reference, call, bytes) != status_ok)
    give_up(std::string("reference: ") + error_words());
  Buffer workspace = rig.allocate(bytes);
  given.workspace = reinterpret_cast<void*>(workspace.address);
  given.workspace_bytes = bytes;
  workspace_init(reference, given.workspace, bytes, rig.stream());
  if (launch(reference, call, given, rig.stream(), nullptr, nullptr) != status_ok)
    give_up(std::string("reference: ") + error_words());
  rig.synchronise();
  rig.release(workspace);
  return answer;
}

void release(Rig& rig, Answer& answer) {
  for (Buffer& buffer : answer.tensors) rig.release(buffer);
}

double worst_error(Rig& rig, const Case& test, const CaseMemory& memory, const Answer& answer) {
  double worst = 0;
  for (int t = 0; t < k_table.tensor_count; ++t)
    if (test.compares[t].order != nullptr)
      worst = std::max(worst, worst_of_output(rig, test, t, memory, answer));
  return worst;
}

}  // namespace KERNELITES_LIBRARY
