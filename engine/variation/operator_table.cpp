// SPDX-License-Identifier: Apache-2.0
// The operators by name: adding one is a file and a row.
#include "engine/variation/operator_table.h"

#include <array>

#include "engine/variation/agent_operator.h"
#include "engine/variation/declare_operator.h"
#include "engine/variation/meta_operator.h"
#include "engine/variation/minimise_operator.h"
#include "engine/variation/prompt_operator.h"
#include "engine/variation/tune_operator.h"

namespace kernelites {
namespace {

std::unique_ptr<Operator> make_prompted(const OperatorRow& row, VariationInput input,
                                        const PromptLibrary& library, Rng) {
  return std::make_unique<PromptOperator>(std::string(row.name), std::move(input), library);
}

std::unique_ptr<Operator> make_agent(const OperatorRow&, VariationInput input, const PromptLibrary& library,
                                     Rng) {
  return std::make_unique<AgentOperator>(std::move(input), library);
}

std::unique_ptr<Operator> make_declare(const OperatorRow&, VariationInput input, const PromptLibrary&,
                                       Rng rng) {
  return std::make_unique<DeclareOperator>(std::move(input), rng);
}

std::unique_ptr<Operator> make_meta(const OperatorRow&, VariationInput input, const PromptLibrary& library,
                                    Rng) {
  return std::make_unique<MetaOperator>(std::move(input), library);
}

std::unique_ptr<Operator> make_tune(const OperatorRow&, VariationInput input, const PromptLibrary&, Rng rng) {
  return std::make_unique<TuneOperator>(std::move(input), rng);
}

std::unique_ptr<Operator> make_minimise(const OperatorRow&, VariationInput input, const PromptLibrary&, Rng) {
  return std::make_unique<MinimiseOperator>(std::move(input));
}

// The order counts: draws go by it, and a recorded run must draw the same again. New rows come last.
constexpr std::array k_operators{
    OperatorRow{.name = "refine", .needs_model = true, .inspirations = 2, .make = make_prompted},
    OperatorRow{.name = "tune", .parent = ParentKind::tunable, .make = make_tune},
    OperatorRow{.name = "edit", .needs_model = true, .make = make_prompted},
    OperatorRow{.name = "repair",
                .needs_model = true,
                .parent = ParentKind::failed,
                .inspirations = 1,
                .make = make_prompted},
    OperatorRow{.name = "agent",
                .needs_model = true,
                .inspirations = 2,
                .evaluates_inside = true,
                .make = make_agent},
    OperatorRow{.name = "crossover", .needs_model = true, .parent = ParentKind::pair, .make = make_prompted},
    OperatorRow{.name = "target",
                .needs_model = true,
                .inspirations = 2,
                .wants_target_cell = true,
                .make = make_prompted},
    OperatorRow{.name = "port", .needs_model = true, .wants_target_workload = true, .make = make_prompted},
    OperatorRow{.name = "meta", .needs_model = true, .is_scheduled = true, .make = make_meta},
    OperatorRow{.name = "declare", .make = make_declare},
    OperatorRow{
        .name = "minimise", .parent = ParentKind::improver, .evaluates_inside = true, .make = make_minimise},
};

}  // namespace

std::span<const OperatorRow> operator_table() { return k_operators; }

const OperatorRow* find_operator(std::string_view name) {
  for (const OperatorRow& row : k_operators)
    if (row.name == name) return &row;
  return nullptr;
}

const char* inside_step_name(InsideStep step) {
  constexpr std::array<const char*, 4> k_names{"compile", "check", "profile", "time"};
  return k_names.at(static_cast<std::size_t>(step));
}

}  // namespace kernelites
