// SPDX-License-Identifier: Apache-2.0
// Tests an exported library on a device: every arm at every workload against the float64 reference, repeated launches
// bit for bit, single elements against whole batches, and a captured graph whose lengths change.
//
// Prints one line for each workload and a JSON object at the end. Exit code 1: something differs from the reference, or
// equal launches differ and no atomic addition explains it.
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "tools/exporting/runtime/library_compare.h"

namespace KERNELITES_LIBRARY {
namespace {

const CaseTable& k_table = k_case_table;
/// What outputs and workspaces hold before a launch: what is never written is not right twice. The last two are alike,
/// so that their results must be.
constexpr unsigned char k_poison[] = {0xff, 0x5a, 0x5a};

void launch_arm(Rig& rig, void* library, int arm, const long long* dims, const CaseMemory& memory) {
  const std::vector<void*> pointers = memory.pointers();
  if (public_launch(library, arm, dims, k_table.scalars, pointers.data(),
                    reinterpret_cast<void*>(memory.workspace.address), memory.workspace.bytes,
                    rig.stream()) != 0)
    give_up(public_error());
}

std::vector<std::vector<unsigned char>> outputs_of(Rig& rig, const CaseMemory& memory) {
  std::vector<std::vector<unsigned char>> outputs;
  for (int t = 0; t < k_table.tensor_count; ++t)
    if (k_table.tensors[t].role == 2)
      outputs.push_back(rig.download(memory.tensors[static_cast<std::size_t>(t)]));
  return outputs;
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
  rig.poison(single, library);
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
  bool is_repeatable = true;  // but for kernels whose sums are atomic
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
    Answer answer = ask_reference(rig, reference, test, memory);
    rig.poison(memory, library);
    check(cuda.graph_launch(executable, rig.stream()), "cuGraphLaunch");
    summary.is_graph_right = summary.is_graph_right && worst_error(rig, test, memory, answer) <= 1;
    release(rig, answer);
    ++summary.graphs;
  }
}

/// Whether the order of atomic additions excuses that equal launches differ, as it does in the search.
bool may_differ(void* library, int arm, const Case& test) {
  const int chosen = arm == k_any_arm ? public_choice(library, test.dims, k_table.scalars) : arm;
  return chosen >= 0 && k_table.may_differ[chosen];
}

void test_case(Rig& rig, void* library, Library& reference, const Case& test, Summary& summary) {
  CaseMemory memory = rig.prepare(test, 0, library, test.dims);
  double worst = 0;
  bool is_deterministic = true;
  const int draws = test.is_bench ? std::min(test.draws, 2) : test.draws;
  for (int draw = draws - 1; draw >= 0; --draw) {
    rig.upload_metadata(test, draw, memory);
    Answer answer = ask_reference(rig, reference, test, memory);
    for (int arm = -1; arm < public_arm_count(); ++arm) {
      const int which = arm < 0 ? k_any_arm : arm;
      std::size_t bytes = 0;
      if (public_workspace(library, which, test.dims, k_table.scalars, &bytes) != 0) continue;
      std::vector<std::vector<unsigned char>> before;
      for (const unsigned char byte : k_poison) {
        rig.poison(memory, library, byte);
        launch_arm(rig, library, which, test.dims, memory);
        worst = std::max(worst, worst_error(rig, test, memory, answer));
        ++summary.comparisons;
        if (byte == k_poison[0]) continue;
        auto outputs = outputs_of(rig, memory);
        const bool is_same = before.empty() || before == outputs;
        is_deterministic = is_deterministic && is_same;
        if (!is_same && !may_differ(library, which, test)) summary.is_repeatable = false;
        before = std::move(outputs);
      }
    }
    release(rig, answer);
  }
  int same = 0, asked = 0;
  if (k_table.batch_dim >= 0 && test.dims[k_table.batch_dim] > 1) {
    rig.poison(memory, library);
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
  Library* reference = nullptr;
  if (open_library(*k_table.reference, reference) != status_ok)
    give_up(std::string("reference: ") + error_words());
  Summary summary;
  for (int i = 0; i < k_table.case_count; ++i)
    if (k_table.cases[i].metadata != nullptr) test_case(rig, library, *reference, k_table.cases[i], summary);
  const bool is_good =
      summary.worst <= 1 && summary.is_graph_right && summary.is_repeatable && summary.comparisons > 0;
  std::printf(
      "{\"passed\": %s, \"device\": \"%s\", \"workloads\": %d, \"comparisons\": %d, \"worst_error_of_gate\": "
      "%.4f, "
      "\"is_deterministic\": %s, \"is_repeatable\": %s, \"batch_elements_alone\": %d, "
      "\"batch_elements_equal\": %d, "
      "\"graph_replays\": %d, \"is_graph_right\": %s}\n",
      is_good ? "true" : "false", rig.device_name().c_str(), summary.workloads, summary.comparisons,
      summary.worst, summary.is_deterministic ? "true" : "false", summary.is_repeatable ? "true" : "false",
      summary.batches, summary.invariant, summary.graphs, summary.is_graph_right ? "true" : "false");
  return is_good ? 0 : 1;
}

}  // namespace
}  // namespace KERNELITES_LIBRARY

int main() { return KERNELITES_LIBRARY::run_all(); }
