// SPDX-License-Identifier: Apache-2.0
// Gathers over named axes: which element of a run's tensors stands where in the next run's.
#include "evaluators/worker/pipeline/probe_places.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "engine/core/error.h"

namespace kernelites::worker {
namespace {

constexpr std::size_t k_no_axis = SIZE_MAX;

std::size_t axis_named(const TensorSpec& tensor, const std::string& dim) {
  const auto found = std::find(tensor.shape.begin(), tensor.shape.end(), dim);
  return found == tensor.shape.end() ? k_no_axis : static_cast<std::size_t>(found - tensor.shape.begin());
}

bool is_read(const TensorSpec& tensor) { return tensor.role == Role::input || tensor.role == Role::metadata; }

std::vector<std::int64_t> drawn_order(std::int64_t count, Rng& rng) {
  std::vector<std::int64_t> order(static_cast<std::size_t>(count));
  std::iota(order.begin(), order.end(), 0);
  rng.shuffle(order);
  return order;
}

/// Where a tensor shows the index of the first of `dims`: on its own axis, or in blocks of a further one.
struct BlockAxis {
  std::size_t axis = k_no_axis;
  std::int64_t block = 1;
  std::int64_t index(const Indices& at) const { return at[axis] / block; }
};

BlockAxis block_axis(const ProbeRig& rig, const Property& property, const TensorSpec& tensor,
                     std::size_t point) {
  const std::int64_t count = rig.workload(point).dims.at(property.dims.front());
  for (const std::string& dim : property.dims) {
    const std::size_t axis = axis_named(tensor, dim);
    const std::int64_t extent = rig.workload(point).dims.at(dim);
    if (axis != k_no_axis && extent % count == 0) return {.axis = axis, .block = extent / count};
  }
  return {};
}

/// All inputs, each read at source(tensor, indices) of the base's.
TensorContents moved_inputs(ProbeRig& rig, const ProbeRun& base, std::size_t to,
                            const std::function<Indices(const TensorSpec&, const Indices&)>& source) {
  TensorContents inputs;
  for (const TensorSpec& tensor : rig.task().tensors) {
    if (!is_read(tensor)) continue;
    inputs[tensor.name] =
        gathered(dtype_bytes(tensor.dtype), rig.shape(tensor.name, to), base.inputs.at(tensor.name),
                 rig.shape(tensor.name, base.point), [&](const Indices& at) { return source(tensor, at); });
  }
  return inputs;
}

OutputValues moved_outputs(ProbeRig& rig, const Property& property, const ProbeRun& base, std::size_t to,
                           const std::function<Indices(const TensorSpec&, const Indices&)>& source) {
  OutputValues expected;
  for (const auto& [output, factor] : property.output) {
    const TensorSpec& tensor = rig.task().tensor(output);
    const auto& values = base.outputs.at(output);
    const Indices from = rig.shape(output, base.point);
    for_each_element(rig.shape(output, to), [&](std::size_t, const Indices& at) {
      const double value = values[flat_index(from, source(tensor, at))];
      expected[output].push_back(factor == 1 ? value : value * factor);
    });
  }
  return expected;
}

/// The base's outputs where `is_kept`; anything elsewhere.
OutputValues kept_outputs(ProbeRig& rig, const Property& property, const ProbeRun& base,
                          const std::function<bool(const TensorSpec&, const Indices&)>& is_kept) {
  OutputValues expected;
  for (const auto& [output, factor] : property.output) {
    const TensorSpec& tensor = rig.task().tensor(output);
    auto& values = expected[output] = base.outputs.at(output);
    for_each_element(rig.shape(output, base.point), [&](std::size_t i, const Indices& at) {
      if (!is_kept(tensor, at)) values[i] = std::numeric_limits<double>::quiet_NaN();
    });
  }
  return expected;
}

/// Replaces the elements of floating inputs that `is_chosen`.
void replace_elements(ProbeRig& rig, TensorContents& inputs, const std::string& name, std::size_t point,
                      const std::function<bool(const Indices&)>& is_chosen,
                      const std::function<double(double)>& value) {
  const Dtype dtype = rig.task().tensor(name).dtype;
  // Indices and codes have no value that could mean nothing.
  if (!is_floating(dtype)) return;
  TensorBytes& bytes = inputs.at(name);
  for_each_element(rig.shape(name, point), [&](std::size_t i, const Indices& at) {
    if (is_chosen(at)) set_element(dtype, bytes, i, value(element_value(dtype, bytes, i)));
  });
}

}  // namespace

bool holds_isolate(ProbeRig& rig, const Property& property, std::size_t point, Rng& rng) {
  const ProbeRun& base = rig.base(property, point);
  const auto kept = static_cast<std::int64_t>(
      rng.below(static_cast<std::uint64_t>(rig.workload(point).dims.at(property.dims.front()))));
  TensorContents inputs = base.inputs;
  for (const TensorSpec& tensor : rig.task().tensors) {
    const BlockAxis axis = block_axis(rig, property, tensor, point);
    if (tensor.role != Role::input || axis.axis == k_no_axis) continue;
    replace_elements(
        rig, inputs, tensor.name, point, [&](const Indices& at) { return axis.index(at) != kept; },
        [](double) { return std::numeric_limits<double>::quiet_NaN(); });
  }
  const ProbeRun run = rig.run(point, inputs);
  return rig.is_as_expected(
      property, run, kept_outputs(rig, property, base, [&](const TensorSpec& tensor, const Indices& at) {
        const BlockAxis axis = block_axis(rig, property, tensor, point);
        return axis.axis != k_no_axis && axis.index(at) == kept;
      }));
}

bool holds_future(ProbeRig& rig, const Property& property, std::size_t point, Rng& rng) {
  const ProbeRun& base = rig.base(property, point);
  const std::string &dim = property.dims.front(), &query_dim = property.dims.back();
  const std::int64_t tokens = rig.workload(point).dims.at(dim);
  const auto first = 1 + static_cast<std::int64_t>(rng.below(static_cast<std::uint64_t>(tokens - 1)));
  // The last query sees the last token.
  const std::int64_t queries_behind = tokens - rig.workload(point).dims.at(query_dim);
  const auto is_later = [&](const TensorSpec& tensor, const Indices& at) {
    if (const std::size_t axis = axis_named(tensor, dim); axis != k_no_axis) return at[axis] >= first;
    const std::size_t axis = axis_named(tensor, query_dim);
    return axis == k_no_axis || at[axis] + queries_behind >= first;
  };
  TensorContents inputs = base.inputs;
  for (const std::string& name : property.tensors) {
    replace_elements(
        rig, inputs, name, point, [&](const Indices& at) { return is_later(rig.task().tensor(name), at); },
        [](double value) { return std::isnan(value) ? value : 0.25 - value; });
  }
  const ProbeRun run = rig.run(point, inputs);
  const auto is_kept = [&](const TensorSpec& tensor, const Indices& at) { return !is_later(tensor, at); };
  return rig.is_as_expected(property, run, kept_outputs(rig, property, base, is_kept));
}

bool holds_permute(ProbeRig& rig, const Property& property, std::size_t point, Rng& rng) {
  const ProbeRun& base = rig.base(property, point);
  const auto order = drawn_order(rig.workload(point).dims.at(property.dims.front()), rng);
  const auto source = [&](const TensorSpec& tensor, Indices at) {
    const BlockAxis axis = block_axis(rig, property, tensor, point);
    if (axis.axis == k_no_axis) return at;
    at[axis.axis] = order[static_cast<std::size_t>(axis.index(at))] * axis.block + at[axis.axis] % axis.block;
    return at;
  };
  const ProbeRun run = rig.run(point, moved_inputs(rig, base, point, source));
  return rig.is_as_expected(property, run, moved_outputs(rig, property, base, point, source));
}

bool holds_permute_tokens(ProbeRig& rig, const Property& property, std::size_t point, Rng& rng) {
  const ProbeRun& base = rig.base(property, point);
  std::vector<std::vector<std::int64_t>> orders;
  const auto lengths = property.word.find("lengths");
  if (lengths != property.word.end()) {
    for (const std::int32_t length : whole_values(base.inputs.at(lengths->second)))
      orders.push_back(drawn_order(length, rng));
  } else {  // all tokens of every sequence
    const std::int64_t sequences = rig.shape(property.tensors.front(), point).front();
    for (std::int64_t b = 0; b < sequences; ++b)
      orders.push_back(drawn_order(rig.workload(point).dims.at(property.dims.front()), rng));
  }
  TensorContents inputs = base.inputs;
  for (const std::string& name : property.tensors) {
    const TensorSpec& tensor = rig.task().tensor(name);
    const std::size_t axis = axis_named(tensor, property.dims.front());
    const Indices shape = rig.shape(name, point);
    inputs[name] = gathered(dtype_bytes(tensor.dtype), shape, base.inputs.at(name), shape, [&](Indices at) {
      const auto& order = orders.at(static_cast<std::size_t>(at.front()));
      if (axis != k_no_axis && at[axis] < static_cast<std::int64_t>(order.size()))
        at[axis] = order[static_cast<std::size_t>(at[axis])];
      return at;
    });
  }
  const auto same = [](const TensorSpec&, const Indices& at) { return at; };
  return rig.is_as_expected(property, rig.run(point, inputs),
                            moved_outputs(rig, property, base, point, same));
}

bool holds_permute_pages(ProbeRig& rig, const Property& property, std::size_t point, Rng& rng) {
  const ProbeRun& base = rig.base(property, point);
  const std::int64_t pages = rig.shape(property.tensors.front(), point).front();
  const auto from = drawn_order(pages, rng);  // the page that comes to stand at each place
  std::vector<std::int32_t> to(from.size());
  for (std::size_t place = 0; place < from.size(); ++place)
    to[static_cast<std::size_t>(from[place])] = static_cast<std::int32_t>(place);
  TensorContents inputs = base.inputs;
  for (const std::string& name : property.tensors) {
    const Indices shape = rig.shape(name, point);
    inputs[name] = gathered(dtype_bytes(rig.task().tensor(name).dtype), shape, base.inputs.at(name), shape,
                            [&](Indices at) {
                              at.front() = from.at(static_cast<std::size_t>(at.front()));
                              return at;
                            });
  }
  std::vector<std::int32_t> table = whole_values(base.inputs.at(property.word.at("table")));
  for (std::int32_t& page : table) page = to.at(static_cast<std::size_t>(page));
  inputs[property.word.at("table")] = bytes_of_whole(table);
  const auto same = [](const TensorSpec&, const Indices& at) { return at; };
  return rig.is_as_expected(property, rig.run(point, inputs),
                            moved_outputs(rig, property, base, point, same));
}

bool holds_crop(ProbeRig& rig, const Property& property, std::size_t point, Rng&) {
  const std::size_t to = rig.point_of(property.word.at("to"));
  const ProbeRun& base = rig.base(property, point);
  const auto same = [](const TensorSpec&, const Indices& at) { return at; };
  TensorContents inputs = moved_inputs(rig, base, to, same);
  for (const TensorSpec& tensor : rig.task().tensors) {
    if (tensor.role != Role::metadata) continue;
    // Lengths end with the dim that bounds them.
    const std::string& bound = tensor.fill.front().of;
    if (std::find(property.dims.begin(), property.dims.end(), bound) == property.dims.end()) continue;
    std::vector<std::int32_t> values = whole_values(inputs.at(tensor.name));
    for (std::int32_t& value : values)
      value = static_cast<std::int32_t>(std::min<std::int64_t>(value, rig.workload(to).dims.at(bound)));
    inputs[tensor.name] = bytes_of_whole(values);
  }
  return rig.is_as_expected(property, rig.run(to, inputs), moved_outputs(rig, property, base, to, same));
}

bool holds_expand(ProbeRig& rig, const Property& property, std::size_t point, Rng&) {
  const std::size_t to = rig.point_of(property.word.at("to"));
  const ProbeRun& base = rig.base(property, point);
  const auto source = [&](const TensorSpec& tensor, Indices at) {
    const Indices small = rig.shape(tensor.name, point), large = rig.shape(tensor.name, to);
    for (std::size_t axis = 0; axis < at.size(); ++axis) at[axis] /= large[axis] / small[axis];
    return at;
  };
  return rig.is_as_expected(property, rig.run(to, moved_inputs(rig, base, to, source)),
                            moved_outputs(rig, property, base, to, source));
}

namespace {

/// The run on `count` of the tokens, from `first` on: they move to the front, and lengths end with them.
ProbeRun run_on_part(ProbeRig& rig, const Property& property, const ProbeRun& base, std::int64_t first,
                     std::int64_t count) {
  TensorContents inputs = base.inputs;
  for (const std::string& name : property.tensors) {
    const TensorSpec& tensor = rig.task().tensor(name);
    const std::size_t axis = axis_named(tensor, property.dims.front());
    const Indices shape = rig.shape(name, base.point);
    inputs[name] = gathered(dtype_bytes(tensor.dtype), shape, base.inputs.at(name), shape, [&](Indices at) {
      if (axis != k_no_axis) at[axis] = std::min(at[axis] + first, shape[axis] - 1);
      return at;
    });
  }
  const std::string& lengths = property.word.at("lengths");
  std::vector<std::int32_t> values = whole_values(base.inputs.at(lengths));
  for (std::int32_t& value : values)
    value = static_cast<std::int32_t>(std::clamp<std::int64_t>(value - first, 0, count));
  inputs[lengths] = bytes_of_whole(values);
  return rig.run(base.point, inputs);
}

/// Two partial results as one: weights e^(lse_r - lse); a part without tokens has lse = -infinity and no weight.
OutputValues merged(ProbeRig& rig, const Property& property, const ProbeRun& a, const ProbeRun& b) {
  const std::string& lse_name = property.word.at("log_sum_exp");
  const TensorSpec& lse = rig.task().tensor(lse_name);
  const auto &lse_a = a.outputs.at(lse_name), &lse_b = b.outputs.at(lse_name);
  const auto total = [&](std::size_t i) {
    const double high = std::max(lse_a[i], lse_b[i]);
    return std::isinf(high) ? high : high + std::log(std::exp(lse_a[i] - high) + std::exp(lse_b[i] - high));
  };
  OutputValues result;
  for (const auto& [output, factor] : property.output) {
    const TensorSpec& tensor = rig.task().tensor(output);
    for_each_element(rig.shape(output, a.point), [&](std::size_t i, const Indices& at) {
      Indices row;
      for (const std::string& axis : lse.shape) row.push_back(at.at(axis_named(tensor, axis)));
      const std::size_t r = flat_index(rig.shape(lse_name, a.point), row);
      const double sum = total(r);
      if (output == lse_name || std::isinf(sum)) {
        result[output].push_back(output == lse_name ? sum : a.outputs.at(output)[i]);
        return;
      }
      const auto part = [&](double lse_of_part, double value) {
        return std::isinf(lse_of_part) ? 0 : std::exp(lse_of_part - sum) * value;
      };
      result[output].push_back(part(lse_a[r], a.outputs.at(output)[i]) +
                               part(lse_b[r], b.outputs.at(output)[i]));
    });
  }
  return result;
}

}  // namespace

bool holds_split(ProbeRig& rig, const Property& property, std::size_t point, Rng& rng) {
  const ProbeRun& base = rig.base(property, point);
  const std::int64_t tokens = rig.workload(point).dims.at(property.dims.front());
  const auto cut = 1 + static_cast<std::int64_t>(rng.below(static_cast<std::uint64_t>(tokens - 1)));
  const ProbeRun first = run_on_part(rig, property, base, 0, cut);
  const ProbeRun second = run_on_part(rig, property, base, cut, tokens - cut);
  // The merge has more digits than an output can hold: it is the side that is compared with.
  return rig.is_as_expected(property, base, merged(rig, property, first, second));
}

}  // namespace kernelites::worker
