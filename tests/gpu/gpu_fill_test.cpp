// SPDX-License-Identifier: Apache-2.0
// A real device draws the very bits of the virtual one, for every kind of fill.
#include "engine/core/fill_kind.h"
#include "evaluators/worker/pipeline/fill.h"
#include "tests/support/catch.h"
#include "tests/support/harness_rig.h"
#include "tests/support/small_task.h"

using namespace kernelites;
using namespace kernelites::worker;

namespace {

/// A kind at its defaults over a tensor of the small task, whose std is not 0.
TensorFill fill_of_kind(const FillKind& kind, Dtype dtype) {
  Task task = parse_task(small_task_document(), "// reference", "small_task.json");
  task.tensors[0].dtype = dtype;
  Workload workload = task.check[0];
  workload.dims["M"] = 5;
  workload.dims["N"] = 200;
  Fill fill{.kind = std::string(kind.name), .number = {}, .formula = {}, .of = {}, .lengths = {}};
  for (const FillParameter& parameter : kind.parameters)
    fill.number[std::string(parameter.name)] = parameter.fallback;
  if (kind.name == "index_set") fill.number["limit"] = 37;
  InputFamily family = task.families[0];
  family.fill = {{"x", fill}};
  const MetadataContents metadata = draw_metadata(task, workload, 0, Key::fixed("fill"));
  return tensor_fill(
      {.task = task, .workload = workload, .family = family, .metadata = metadata, .pattern = 0x1234567},
      task.tensors[0], 0x89ABCDEF);
}

Dtype dtype_for(const FillKind& kind, bool is_narrow) {
  if (kind.name == "codes") return Dtype::e4m3;
  if (kind.name == "integers" || kind.name == "bits" || kind.name == "index_set") return Dtype::i32;
  return is_narrow ? Dtype::bf16 : Dtype::f32;
}

}  // namespace

TEST_CASE("every kind of fill draws the same bits on a real device and on the virtual one") {
  HarnessRig virtual_rig, real_rig(make_gpu_device());
  std::size_t kinds = 0;
  for (const FillKind& kind : fill_kinds()) {
    if (kind.place != FillPlace::device) continue;
    for (const bool is_narrow : {false, true}) {
      INFO(kind.name << (is_narrow ? " bf16" : " f32"));
      const Dtype dtype = dtype_for(kind, is_narrow);
      const TensorFill fill = fill_of_kind(kind, dtype);
      const std::size_t bytes = static_cast<std::size_t>(fill.order.count) * dtype_bytes(dtype);
      CHECK(virtual_rig.fill(fill, bytes) == real_rig.fill(fill, bytes));
    }
    ++kinds;
  }
  CHECK(kinds == 25);
}
