// SPDX-License-Identifier: Apache-2.0
// Fills as numbers for harness/fill.cu.
#include "evaluators/worker/pipeline/fill.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/core/error.h"
#include "engine/core/fill_kind.h"
#include "engine/core/formula.h"

namespace kernelites::worker {
namespace {

/// A hidden family leaves so much of every tensor nominal, or a quarter of it: what a kernel would look at to recognise
/// its inputs.
constexpr std::int64_t k_nominal_bytes = 64 * 1024;

DrawnAs drawn_as(const Fill& fill, const std::map<std::string, double>& names) {
  const auto& kinds = fill_kinds();
  const auto found =
      std::find_if(kinds.begin(), kinds.end(), [&](const FillKind& kind) { return kind.name == fill.kind; });
  if (found == kinds.end() || found->place != FillPlace::device)
    throw Error(fmt::format("'{}' fills no input", fill.kind));
  DrawnAs drawn{.kind = static_cast<std::int32_t>(found - kinds.begin())};
  KERNELITES_ASSERT(found->parameters.size() <= std::size(drawn.p));
  for (std::size_t i = 0; i < found->parameters.size(); ++i) {
    drawn.p[i] = static_cast<float>(fill_number(fill, std::string(found->parameters[i].name), names));
  }
  drawn.head_step = static_cast<float>(fill_number(fill, "head_step", names));
  drawn.grid = static_cast<float>(fill_number(fill, "grid", names));
  return drawn;
}

std::int64_t product_after(const std::vector<std::int64_t>& shape, std::size_t axis) {
  std::int64_t product = 1;
  for (std::size_t i = axis + 1; i < shape.size(); ++i) product *= shape[i];
  return product;
}

std::size_t axis_of(const TensorSpec& tensor, const std::string& name) {
  const auto found = std::find(tensor.shape.begin(), tensor.shape.end(), name);
  KERNELITES_ASSERT(found != tensor.shape.end());
  return static_cast<std::size_t>(found - tensor.shape.begin());
}

/// The axis that counts tokens: slots of a page, or none (the leading axis) where sequences are packed.
std::size_t token_axis(const TensorSpec& tensor) {
  if (tensor.valid && !tensor.valid->offsets.empty()) return 0;
  if (tensor.valid && !tensor.valid->table.empty()) return 1;
  if (tensor.valid) return axis_of(tensor, tensor.valid->axis);
  if (!tensor.along.empty()) return axis_of(tensor, tensor.along);
  return tensor.shape.size() > 1 ? 1 : 0;
}

/// The least number of heads of any input: heads of the others belong to one of these.
std::int64_t head_groups(const Task& task, const Workload& workload) {
  std::int64_t least = INT64_MAX;
  for (const TensorSpec& tensor : task.tensors) {
    if (!tensor.heads.empty())
      least = std::min(least, tensor_shape(tensor, workload)[axis_of(tensor, tensor.heads)]);
  }
  return least == INT64_MAX ? 1 : least;
}

void set_extents(FillOrder& order, const FillDraw& draw, const TensorSpec& tensor) {
  const std::vector<std::int64_t> shape = tensor_shape(tensor, draw.workload);
  const std::size_t axis = token_axis(tensor);
  const bool is_packed = tensor.valid && !tensor.valid->offsets.empty();
  order.count = element_count(tensor, draw.workload);
  // Where tokens lead, there is one sequence, unless they are packed.
  order.leading = axis == 0 && !is_packed ? order.count : order.count / shape.front();
  order.tokens = is_packed ? 1 : shape[axis];
  order.inner = product_after(shape, axis);
  order.columns = shape.back();
  if (!tensor.heads.empty()) {
    const std::size_t heads = axis_of(tensor, tensor.heads);
    order.heads = shape[heads];
    order.head_stride = product_after(shape, heads);
  }
  order.head_groups = std::min(order.heads, head_groups(draw.task, draw.workload));
}

}  // namespace

double fill_number(const Fill& fill, const std::string& name, const std::map<std::string, double>& names) {
  const auto formula = fill.formula.find(name);
  if (formula != fill.formula.end()) return evaluate_formula(formula->second, names);
  const auto number = fill.number.find(name);
  return number == fill.number.end() ? 0 : number->second;
}

const Fill& fill_of(const InputFamily& family, const TensorSpec& tensor) {
  const auto chosen = family.fill.find(tensor.name);
  return chosen != family.fill.end() ? chosen->second : tensor.fill.front();
}

TensorFill tensor_fill(const FillDraw& draw, const TensorSpec& tensor, std::uint64_t seed) {
  const auto names = formula_names(draw.task, draw.workload);
  const Fill& fill = fill_of(draw.family, tensor);
  TensorFill result;
  FillOrder& order = result.order;
  set_extents(order, draw, tensor);
  order.seed = seed;
  order.pattern = draw.pattern;
  order.dtype = static_cast<std::int32_t>(tensor.dtype);
  order.as = drawn_as(fill, names);
  result.unit = static_cast<float>(fill_number(fill, "unit", names));
  if (draw.family.hidden > 0 && &fill != &tensor.fill.front()) {
    order.hidden = static_cast<float>(draw.family.hidden);
    order.nominal = drawn_as(tensor.fill.front(), names);
    const auto bytes = static_cast<std::int64_t>(dtype_bytes(tensor.dtype));
    order.nominal_prefix = std::min(k_nominal_bytes / bytes, order.count / 4);
  }
  if (!tensor.valid) return result;
  result.map = leading_map(draw.task, tensor, draw.workload, draw.metadata);
  result.has_invalid = std::any_of(result.map.begin(), result.map.end(), [&](const LeadingEntry& entry) {
    return entry.valid < static_cast<std::int32_t>(order.tokens);
  });
  return result;
}

}  // namespace kernelites::worker
