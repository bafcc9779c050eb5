// SPDX-License-Identifier: Apache-2.0
// Plans for thousands of shapes: what an export compares its host code with, and ships as tables.
//
// A plan unit (problem_source.h) has room for the largest plan at every shape, which the constant evaluator must clear;
// a batch shares its room. Plans come back as the words that the evaluator wrote (layout: headers/plan.cuh), so that
// two of them can be compared bit for bit.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "engine/core/device_facts.h"
#include "engine/core/launch_plan.h"
#include "engine/core/task.h"
#include "engine/core/verdict.h"
#include "evaluators/worker/contract/problem_source.h"

namespace kernelites::worker {

/// One encoded plan.
using PlanWords = std::vector<std::uint64_t>;

/// The text of `struct Problem`. A dim is `long long` if one of `typed_by` needs it.
std::string problem_declaration(const Task& task, Form form, std::span<const PlanPoint> typed_by);

/// A plan unit for `points` whose plans have `words_max` words together. REQUIRES: the same `typed_by` as for the code.
std::string plan_batch_unit(const Task& task, Form form, std::span<const PlanPoint> typed_by,
                            std::span<const PlanPoint> points, const DeviceFacts& device,
                            std::string_view source, std::size_t words_max);

/// The words of every plan in a plan unit's PTX, in its order; verdicts as of `read_plans`, except that a plan which
/// recorded an error has words like any other.
std::variant<std::vector<PlanWords>, Verdict> read_plan_words(std::string_view ptx, std::size_t points);

/// The plan that `words` encode, or a verdict as of `read_plans`.
std::variant<LaunchPlan, Verdict> decode_plan(const PlanWords& words);

}  // namespace kernelites::worker
