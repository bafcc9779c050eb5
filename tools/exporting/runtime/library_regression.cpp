// SPDX-License-Identifier: Apache-2.0
// Tests an exported library on a device: every arm at every workload against the float64 reference, repeated launches
// bit for bit, single elements against whole batches, and a captured graph whose lengths change.
//
// Prints one line for each workload and a JSON object at the end. Exit code 1: something differs from the reference.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "tools/exporting/runtime/library_rig.h"

namespace KERNELITES_LIBRARY {
namespace {

const CaseTable& k_table = k_case_table;

/// What the reference says of one case and draw.
struct Answer {
  std::vector<std::vector<unsigned char>> tensors;  // of the reference's own form
  std::vector<std::vector<long long>> rows;         // by group
};

struct Outcome {
  double worst = 0;  // error in units of its gate
  long long rows = 0;
  bool is_compared = false;
};

void launch_arm(Rig& rig, void* library, int arm, const long long* dims, const CaseMemory& memory) {
  const std::vector<void*> pointers = memory.pointers();
  if (public_launch(library, arm, dims, k_table.scalars, pointers.data(),
                    reinterpret_cast<void*>(memory.workspace.address), memory.workspace.bytes,
                    rig.stream()) != 0)
    give_up(public_error());
}

Answer ask_reference(Rig& rig, Library& reference, const Case& test, const CaseMemory& memory) {
  Answer answer;
  std::vector<Buffer> own;
  Memory given = {};
  const int count = k_table.reference->tensor_count;
  for (int t = 0; t < count; ++t) {
    const bool is_input = t < k_table.tensor_count && k_table.tensors[t].role != 2;
    own.push_back(is_input
                      ? Buffer()
                      : rig.allocate(static_cast<std::size_t>(test.reference_counts[t]) *
                                     static_cast<std::size_t>(dtype_bytes(k_table.reference_dtypes[t]))));
    given.tensors[t] = reinterpret_cast<void*>(is_input ? memory.tensors[static_cast<std::size_t>(t)].address
                                                        : own.back().address);
  }
  for (int g = 0; g < k_table.group_count; ++g) {
    std::vector<long long> rows(static_cast<std::size_t>(test.rows[g]));
    for (std::size_t i = 0; i < rows.size(); ++i)
      rows[i] = static_cast<long long>(i) * test.rows_total[g] / test.rows[g];
    const Buffer& buffer = own[static_cast<std::size_t>(k_table.rows_tensors[g])];
    check(driver().upload(buffer.address, rows.data(), buffer.bytes), "cuMemcpyHtoD");
    answer.rows.push_back(std::move(rows));
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
  for (Buffer& buffer : own) {
    answer.tensors.push_back(rig.download(buffer));
    rig.release(buffer);
  }
  rig.release(workspace);
  return answer;
}

/// Offsets of the elements of one row: those of the axes that do not count rows.
std::vector<std::size_t> columns_of(const Case& test, int t, const CaseGate& gate) {
  std::vector<std::size_t> columns{0};
  std::size_t stride = 1;
  for (int axis = k_table.tensors[t].rank - 1; axis >= 0; --axis) {
    const auto extent = static_cast<std::size_t>(test.shapes[8 * t + axis]);
    if (std::find(gate.row_axes, gate.row_axes + gate.row_axis_count, axis) ==
        gate.row_axes + gate.row_axis_count) {
      std::vector<std::size_t> more;
      for (std::size_t i = 0; i < extent; ++i)
        for (const std::size_t column : columns) more.push_back(i * stride + column);
      columns = more;
    }
    stride *= extent;
  }
  return columns;
}

std::size_t row_offset(const Case& test, int t, const CaseGate& gate, long long row) {
  std::size_t offset = 0;
  for (int i = gate.row_axis_count - 1; i >= 0; --i) {
    const int axis = gate.row_axes[i];
    const long long extent = test.shapes[8 * t + axis];
    std::size_t stride = 1;
    for (int k = k_table.tensors[t].rank - 1; k > axis; --k)
      stride *= static_cast<std::size_t>(test.shapes[8 * t + k]);
    offset += static_cast<std::size_t>(row % extent) * stride;
    row /= extent;
  }
  return offset;
}

/// The worst element or row of one output in units of its gate; infinite where a number is missing.
Outcome compare_output(const Case& test, int t, const std::vector<unsigned char>& data,
                       const Answer& answer) {
  const CaseGate& gate = k_table.gates[t];
  Outcome outcome;
  if (gate.kind < 0) return outcome;
  outcome.is_compared = true;
  const std::vector<std::size_t> columns = columns_of(test, t, gate);
  const unsigned char* const expected = answer.tensors[static_cast<std::size_t>(t)].data();
  const unsigned char* const emulated =
      gate.emulated_tensor >= 0 ? answer.tensors[static_cast<std::size_t>(gate.emulated_tensor)].data()
                                : nullptr;
  const std::vector<long long>& rows = answer.rows[static_cast<std::size_t>(gate.group)];
  for (std::size_t r = 0; r < rows.size(); ++r) {
    const std::size_t begin = row_offset(test, t, gate, rows[r]);
    double square = 0, error_square = 0, emulated_square = 0;
    const auto reference_at = [&](const unsigned char* from, std::size_t c) {
      return element(from, 3, r * columns.size() + c);
    };
    for (std::size_t c = 0; c < columns.size(); ++c) {
      const double g = reference_at(expected, c);
      if (std::isfinite(g)) square += g * g;
      if (emulated != nullptr) emulated_square += std::pow(reference_at(emulated, c) - g, 2);
    }
    const double rms = std::sqrt(square / static_cast<double>(columns.size()));
    for (std::size_t c = 0; c < columns.size(); ++c) {
      const double g = reference_at(expected, c);
      const double a = element(data.data(), k_table.tensors[t].dtype, begin + columns[c]);
      double share = 0;
      if (!std::isfinite(g) || gate.kind == 2) {
        share = a == g ? 0 : HUGE_VAL;
      } else {
        const double error = std::abs(a - g);
        const double limit = gate.element_ulp * std::abs(g) + gate.element_rms * rms + gate.absolute;
        share = std::isnan(error) ? HUGE_VAL : error == 0 ? 0 : error / limit;
        error_square += error * error;
      }
      outcome.worst = std::max(outcome.worst, share);
    }
    if (gate.kind == 0) {
      const double limit = std::max(gate.row * std::sqrt(square), gate.emulated * std::sqrt(emulated_square));
      const double error = std::sqrt(error_square);
      outcome.worst = std::max(outcome.worst, std::isnan(error) ? HUGE_VAL : error == 0 ? 0 : error / limit);
    }
    ++outcome.rows;
  }
  return outcome;
}

std::vector<std::vector<unsigned char>> outputs_of(Rig& rig, const CaseMemory& memory) {
  std::vector<std::vector<unsigned char>> outputs;
  for (int t = 0; t < k_table.tensor_count; ++t)
    if (k_table.tensors[t].role == 2)
      outputs.push_back(rig.download(memory.tensors[static_cast<std::size_t>(t)]));
  return outputs;
}

Outcome compare_all(Rig& rig, const Case& test, const CaseMemory& memory, const Answer& answer) {
  Outcome worst;
  for (int t = 0; t < k_table.tensor_count; ++t) {
    if (k_table.tensors[t].role != 2) continue;
    const Outcome outcome =
        compare_output(test, t, rig.download(memory.tensors[static_cast<std::size_t>(t)]), answer);
    worst.worst = std::max(worst.worst, outcome.worst);
    worst.rows += outcome.rows;
    worst.is_compared = worst.is_compared || outcome.is_compared;
  }
  return worst;
}

/// Sequence `index` of a batch as a problem of its own: bits of its outputs.
bool is_same_alone(Rig& rig, void* library, const Case& test, const CaseMemory& memory, long long index,
                   bool& is_known) {
  std::vector<long long> dims(test.dims, test.dims + k_dims_max);
  const long long batch = dims[static_cast<std::size_t>(k_table.batch_dim)];
  dims[static_cast<std::size_t>(k_table.batch_dim)] = 1;
  std::size_t bytes = 0;
  is_known = public_workspace(library, k_any_arm, dims.data(), k_table.scalars, &bytes) == 0;
  if (!is_known) return true;
  CaseMemory single;
  for (int t = 0; t < k_table.tensor_count; ++t) {
    const Buffer& whole = memory.tensors[static_cast<std::size_t>(t)];
    const std::size_t part =
        k_table.has_batch[t] ? whole.bytes / static_cast<std::size_t>(batch) : whole.bytes;
    single.tensors.push_back(rig.allocate(part));
    if (k_table.tensors[t].role != 2 && part > 0)
      check(driver().copy(single.tensors.back().address,
                          whole.address + (k_table.has_batch[t] ? static_cast<std::size_t>(index) * part : 0),
                          part),
            "cuMemcpyDtoD");
  }
  single.workspace = rig.allocate(bytes);
  rig.poison(test, single, library);
  launch_arm(rig, library, k_any_arm, dims.data(), single);
  bool is_same = true;
  for (int t = 0; t < k_table.tensor_count; ++t) {
    if (k_table.tensors[t].role != 2) continue;
    const auto alone = rig.download(single.tensors[static_cast<std::size_t>(t)]);
    const auto together = rig.download(memory.tensors[static_cast<std::size_t>(t)]);
    is_same =
        is_same && std::memcmp(alone.data(), together.data() + static_cast<std::size_t>(index) * alone.size(),
                               alone.size()) == 0;
  }
  rig.release(single);
  return is_same;
}

struct Summary {
  int workloads = 0, comparisons = 0, batches = 0, invariant = 0, graphs = 0;
  double worst = 0;
  bool is_deterministic = true, is_graph_right = true;
};

/// Captured with the lengths of draw 0, replayed with those of every other draw.
void test_graph(Rig& rig, void* library, Library& reference, const Case& test, CaseMemory& memory,
                Summary& summary) {
  const Driver& cuda = driver();
  void *graph = nullptr, *executable = nullptr;
  check(cuda.capture_begin(rig.stream(), 2), "cuStreamBeginCapture");
  launch_arm(rig, library, k_any_arm, test.dims, memory);
  check(cuda.capture_end(rig.stream(), &graph), "cuStreamEndCapture");
  check(cuda.graph_instantiate(&executable, graph, 0), "cuGraphInstantiate");
  for (int draw = test.draws - 1; draw >= 0; --draw) {
    rig.upload_metadata(test, draw, memory);
    const Answer answer = ask_reference(rig, reference, test, memory);
    rig.poison(test, memory, library);
    check(cuda.graph_launch(executable, rig.stream()), "cuGraphLaunch");
    const Outcome outcome = compare_all(rig, test, memory, answer);
    summary.is_graph_right = summary.is_graph_right && !(outcome.worst > 1);
    ++summary.graphs;
  }
}

void test_case(Rig& rig, void* library, Library& reference, const Case& test, Summary& summary) {
  CaseMemory memory = rig.prepare(test, 0, library, test.dims);
  double worst = 0;
  bool is_deterministic = true;
  const int draws = test.is_bench ? std::min(test.draws, 2) : test.draws;
  for (int draw = draws - 1; draw >= 0; --draw) {
    rig.upload_metadata(test, draw, memory);
    const Answer answer = ask_reference(rig, reference, test, memory);
    for (int arm = -1; arm < public_arm_count(); ++arm) {
      const int which = arm < 0 ? k_any_arm : arm;
      std::size_t bytes = 0;
      if (public_workspace(library, which, test.dims, k_table.scalars, &bytes) != 0) continue;
      rig.poison(test, memory, library);
      launch_arm(rig, library, which, test.dims, memory);
      const Outcome outcome = compare_all(rig, test, memory, answer);
      worst = std::max(worst, outcome.worst);
      summary.comparisons += outcome.is_compared ? 1 : 0;
      const auto first = outputs_of(rig, memory);
      rig.poison(test, memory, library);
      launch_arm(rig, library, which, test.dims, memory);
      is_deterministic = is_deterministic && first == outputs_of(rig, memory);
    }
  }
  int same = 0, asked = 0;
  if (k_table.batch_dim >= 0 && test.dims[k_table.batch_dim] > 1) {
    rig.poison(test, memory, library);
    launch_arm(rig, library, k_any_arm, test.dims, memory);
    for (const long long index : {0LL, test.dims[k_table.batch_dim] - 1}) {
      bool is_known = false;
      const bool is_same = is_same_alone(rig, library, test, memory, index, is_known);
      asked += is_known ? 1 : 0;
      same += is_known && is_same ? 1 : 0;
    }
  }
  test_graph(rig, library, reference, test, memory, summary);
  std::printf("%-28s worst error %.3f of its gate, repeated launches %s, alone as in the batch %d of %d\n",
              test.workload, worst, is_deterministic ? "equal" : "DIFFER", same, asked);
  ++summary.workloads;
  summary.batches += asked;
  summary.invariant += same;
  summary.worst = std::max(summary.worst, worst);
  summary.is_deterministic = summary.is_deterministic && is_deterministic;
  rig.release(memory);
}

int run_all() {
  Rig rig;
  void* library = nullptr;
  if (public_open(&library) != 0) give_up(public_error());
  if (k_table.reference == nullptr)
    give_up("the export has no reference for this task, so that nothing can be compared");
  const auto is_compared = [](const CaseGate& gate) { return gate.kind >= 0; };
  if (std::none_of(k_table.gates, k_table.gates + k_table.tensor_count, is_compared))
    give_up("no output of this task is of a kind that this test compares (values, logarithms, exact ones)");
  Library* reference = nullptr;
  if (open_library(*k_table.reference, reference) != status_ok)
    give_up(std::string("reference: ") + error_words());
  Summary summary;
  for (int i = 0; i < k_table.case_count; ++i)
    if (k_table.cases[i].metadata != nullptr) test_case(rig, library, *reference, k_table.cases[i], summary);
  const bool is_good = summary.worst <= 1 && summary.is_graph_right && summary.comparisons > 0;
  std::printf(
      "{\"passed\": %s, \"device\": \"%s\", \"workloads\": %d, \"comparisons\": %d, \"worst_error_of_gate\": "
      "%.4f, "
      "\"is_deterministic\": %s, \"batch_elements_alone\": %d, \"batch_elements_equal\": %d, "
      "\"graph_replays\": %d, \"is_graph_right\": %s}\n",
      is_good ? "true" : "false", rig.device_name().c_str(), summary.workloads, summary.comparisons,
      summary.worst, summary.is_deterministic ? "true" : "false", summary.batches, summary.invariant,
      summary.graphs, summary.is_graph_right ? "true" : "false");
  return is_good ? 0 : 1;
}

}  // namespace
}  // namespace KERNELITES_LIBRARY

int main() { return KERNELITES_LIBRARY::run_all(); }
