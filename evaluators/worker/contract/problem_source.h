// SPDX-License-Identifier: Apache-2.0
// The device source that the harness wraps around a candidate: `struct Problem`, and the plan-only
// translation unit.
//
// A candidate is compiled twice. The *plan unit* (PTX only) is prefix + candidate + a table of plans, one per
// shape, which NVRTC's constant evaluator fills in; `read_plans` (plan_reader.h) takes them out of the PTX.
// The *code unit* is prefix + candidate and nothing else, so that the module holds no symbol of the harness.
// Both declare the same `Problem`, and `#line` lets errors carry the candidate's own line numbers under the
// name "candidate.cu".
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/core/device_facts.h"
#include "engine/core/task.h"

namespace kernelites::worker {

/// Which `Problem` is declared.
/// - candidate: the task's tensors as they are;
/// - reference: every output has dtype f64 and shape [R, <its axes without the rows>]; one more tensor `rows`
///   (i64, [R], after the task's tensors) holds flattened indices over `task.rows`; `R` is an int member. Outputs with
///   rows of their own have `R_<output>` and `rows_<output>`; outputs with an emulated gate a second tensor
///   `<output>_emulated` of the same shape, after the rows;
/// - inputs: computes the tensors whose fill is "computed" from the others and `draw` (i64, [4]: seed, variant, the
///   family's and the rotation's number); KERNELITES_INPUTS is defined.
enum class Form { candidate, reference, inputs };

/// As `reference_rows`: all rows of every group.
inline constexpr std::int64_t k_all_reference_rows = INT64_MAX;

/// A shape for which a plan is wanted.
struct PlanPoint {
  const Workload* workload = nullptr;  ///< borrowed
  std::int64_t reference_rows = 0;     ///< R at most; used by Form::reference only
  bool is_hidden = false;              ///< a hold-out shape: a verdict may name neither it nor its extents
};

/// A text that NVRTC finds under `name` when a source includes it.
struct HeaderText {
  std::string name;
  std::string text;
  bool operator==(const HeaderText&) const = default;
};

/// File names in compile errors: the candidate's own text, and what the harness adds behind it.
inline constexpr std::string_view k_candidate_file = "candidate.cu";
inline constexpr std::string_view k_suffix_file = "kernelites_plan.cu";
/// The symbol that holds the plans in the plan unit's PTX.
inline constexpr std::string_view k_plans_symbol = "kernelites_plans";

/// The harness's headers under every name by which a candidate may include them: `kernelites/plan.cuh`,
/// `kernelites/ptx.cuh`, `cstdint`, `math.h`, ...
std::vector<HeaderText> contract_headers();

/// The C++ type of a scalar that `Problem` holds.
const char* scalar_type(Dtype dtype);

/// R of a row group: all rows, or `point.reference_rows` of them.
std::int64_t reference_row_count(const Task& task, std::size_t group, const PlanPoint& point);

/// Tensor number `tensor` of `form`: the task's first, then those that the form adds.
TensorSpec tensor_in_form(const Task& task, std::size_t tensor, Form form);
/// Its extents at `point`.
std::vector<std::int64_t> tensor_shape_in_form(const Task& task, std::size_t tensor, Form form,
                                               const PlanPoint& point);
/// Number of tensors in `form`.
std::size_t tensor_count_in_form(const Task& task, Form form);

/// Prefix + candidate. REQUIRES: the same points as for `plan_unit` (a dim is `long long` if any of them
/// needs it).
std::string code_unit(const Task& task, Form form, std::span<const PlanPoint> points,
                      std::string_view source);
/// Prefix + candidate + the table of plans for `points`.
std::string plan_unit(const Task& task, Form form, std::span<const PlanPoint> points,
                      const DeviceFacts& device, std::string_view source);

}  // namespace kernelites::worker
