// SPDX-License-Identifier: Apache-2.0
// The operators by name: adding one is a file and a row.
#include "engine/variation/operator_table.h"

#include <array>

#include "engine/variation/refine_operator.h"
#include "engine/variation/tune_operator.h"

namespace kernelites {
namespace {

std::unique_ptr<Operator> make_refine(VariationInput input, const PromptLibrary& library, Rng) {
  return std::make_unique<RefineOperator>(std::move(input), library);
}

std::unique_ptr<Operator> make_tune(VariationInput input, const PromptLibrary&, Rng rng) {
  return std::make_unique<TuneOperator>(std::move(input), rng);
}

constexpr std::array k_operators{
    OperatorRow{.name = "refine", .needs_model = true, .inspirations = 2, .make = make_refine},
    OperatorRow{.name = "tune", .needs_model = false, .inspirations = 0, .make = make_tune},
};

}  // namespace

std::span<const OperatorRow> operator_table() { return k_operators; }

const OperatorRow* find_operator(std::string_view name) {
  for (const OperatorRow& row : k_operators)
    if (row.name == name) return &row;
  return nullptr;
}

}  // namespace kernelites
