// SPDX-License-Identifier: Apache-2.0
// Properties that change values or places at one shape; probe_places.cpp has those that move or merge tokens.
#include "evaluators/worker/pipeline/probe_kinds.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <optional>
#include <set>

#include "evaluators/worker/pipeline/probe_places.h"

namespace kernelites::worker {
namespace {

/// Changes every element of the property's tensors that is finite or valid by `change(value, indices)`.
TensorContents changed(ProbeRig& rig, const Property& property, const ProbeRun& base,
                       const std::function<double(double, const Indices&)>& change) {
  TensorContents inputs = base.inputs;
  for (const std::string& name : property.tensors) {
    const Dtype dtype = rig.task().tensor(name).dtype;
    TensorBytes& bytes = inputs.at(name);
    for_each_element(rig.shape(name, base.point), [&](std::size_t i, const Indices& at) {
      const double value = element_value(dtype, bytes, i);
      // What belongs to nobody stays the poison that it is.
      if (!std::isnan(value)) set_element(dtype, bytes, i, change(value, at));
    });
  }
  return inputs;
}

/// The base's outputs, each changed by `change(value, indices, factor)`.
OutputValues expected_of(ProbeRig& rig, const Property& property, const ProbeRun& base,
                         const std::function<double(double, const Indices&, double)>& change) {
  OutputValues expected;
  for (const auto& [output, factor] : property.output) {
    auto& values = expected[output] = base.outputs.at(output);
    for_each_element(rig.shape(output, base.point),
                     [&](std::size_t i, const Indices& at) { values[i] = change(values[i], at, factor); });
  }
  return expected;
}

double times(double value, const Indices&, double factor) { return factor == 1 ? value : value * factor; }

bool holds_repeat(ProbeRig& rig, const Property& property, std::size_t point, Rng&) {
  const ProbeRun& base = rig.base(property, point);
  const ProbeRun again = rig.run(point, base.inputs);
  return rig.is_as_expected(property, again, expected_of(rig, property, base, times));
}

bool holds_scale(ProbeRig& rig, const Property& property, std::size_t point, Rng&) {
  const ProbeRun& base = rig.base(property, point);
  const double factor = property.number.at("factor");
  const auto inputs =
      changed(rig, property, base, [&](double value, const Indices&) { return value * factor; });
  return rig.is_as_expected(property, rig.run(point, inputs), expected_of(rig, property, base, times));
}

bool holds_flip_channel(ProbeRig& rig, const Property& property, std::size_t point, Rng& rng) {
  const ProbeRun& base = rig.base(property, point);
  const std::int64_t channels = rig.shape(property.tensors.front(), point).back();
  const auto channel = static_cast<std::int64_t>(rng.below(static_cast<std::uint64_t>(channels)));
  const auto inputs = changed(rig, property, base, [&](double value, const Indices& at) {
    return at.back() == channel ? -value : value;
  });
  const auto expected = expected_of(rig, property, base, [&](double value, const Indices& at, double factor) {
    return factor < 0 && at.back() == channel ? -value : value;
  });
  return rig.is_as_expected(property, rig.run(point, inputs), expected);
}

bool holds_shift(ProbeRig& rig, const Property& property, std::size_t point, Rng& rng) {
  const ProbeRun& base = rig.base(property, point);
  std::vector<double> by(static_cast<std::size_t>(rig.shape(property.tensors.front(), point).back()));
  for (double& channel : by) channel = rng.below(2) ? property.number.at("by") : -property.number.at("by");
  const auto inputs = changed(rig, property, base, [&](double value, const Indices& at) {
    return value + by[static_cast<std::size_t>(at.back())];
  });
  return rig.is_as_expected(property, rig.run(point, inputs), expected_of(rig, property, base, times));
}

bool holds_constant(ProbeRig& rig, const Property& property, std::size_t point, Rng&) {
  const ProbeRun& base = rig.base(property, point);
  const double constant = property.number.at("value");
  const auto inputs = changed(rig, property, base, [&](double, const Indices&) { return constant; });
  OutputValues expected;
  for (const auto& [output, factor] : property.output) {
    auto& values = expected[output] = base.outputs.at(output);
    const auto columns = static_cast<std::size_t>(rig.shape(output, point).back());
    // Rows without any token are zero before and after. A zero beside other values is a value like them: one draw in
    // some million is zero, and where a single token is seen it comes out as it is.
    for (auto row = values.begin(); row != values.end(); row += static_cast<std::ptrdiff_t>(columns)) {
      const auto end = row + static_cast<std::ptrdiff_t>(columns);
      if (std::any_of(row, end, [](double value) { return value != 0; }))
        std::fill(row, end, constant * factor);
    }
  }
  return rig.is_as_expected(property, rig.run(point, inputs), expected);
}

/// The index along `dim` of the element at `at`; -1 where the tensor has no such axis.
std::int64_t index_along(const TensorSpec& tensor, const std::string& dim, const Indices& at) {
  const auto axis = std::find(tensor.shape.begin(), tensor.shape.end(), dim);
  return axis == tensor.shape.end() ? -1 : at[static_cast<std::size_t>(axis - tensor.shape.begin())];
}

/// Where the element at `at` of a tensor lies along the property's dims.
Indices place_of(const Property& property, const TensorSpec& tensor, const Indices& at) {
  Indices place;
  for (const std::string& dim : property.dims) place.push_back(index_along(tensor, dim, at));
  return place;
}

/// `place` along the dims alone that lie in both it and `of`: two places are the same where these agree.
Indices shared_place(Indices place, const Indices& of) {
  for (std::size_t i = 0; i < place.size(); ++i) {
    if (of[i] < 0) place[i] = -1;
  }
  return place;
}

/// Where one output is a number other than zero: an empty sequence gives zeros and infinities, whatever its query is.
struct OutputPlaces {
  Indices dims;               ///< -1 along a dim that the output has not
  std::set<Indices> written;  ///< along the dims that the tensor has too
};

std::vector<OutputPlaces> places_with_outputs(ProbeRig& rig, const Property& property, const ProbeRun& base,
                                              const TensorSpec& tensor) {
  const auto dims_of = [&](const TensorSpec& spec) {
    return place_of(property, spec, Indices(spec.shape.size(), 0));
  };
  const Indices dims = dims_of(tensor);
  std::vector<OutputPlaces> places;
  for (const auto& [output, factor] : property.output) {
    const TensorSpec& spec = rig.task().tensor(output);
    const auto& values = base.outputs.at(output);
    std::set<Indices> written;
    for_each_element(rig.shape(output, base.point), [&](std::size_t i, const Indices& at) {
      if (std::isfinite(values[i]) && values[i] != 0)
        written.insert(shared_place(place_of(property, spec, at), dims));
    });
    places.push_back({.dims = dims_of(spec), .written = std::move(written)});
  }
  return places;
}

/// An element of a token that belongs to a sequence, at a place with outputs; none if all sequences are empty.
std::optional<std::pair<std::size_t, Indices>> drawn_element(ProbeRig& rig, const Property& property,
                                                             const ProbeRun& base, const TensorSpec& tensor,
                                                             Rng& rng) {
  const std::vector<OutputPlaces> places = places_with_outputs(rig, property, base, tensor);
  std::map<Indices, bool> has_outputs;  // by place of the element
  std::vector<std::pair<std::size_t, Indices>> candidates;
  const auto is_valid = rig.validity(base, tensor);
  for_each_element(rig.shape(tensor.name, base.point), [&](std::size_t i, const Indices& at) {
    if (!is_valid(at)) return;
    const Indices place = place_of(property, tensor, at);
    const auto [known, is_new] = has_outputs.try_emplace(place, false);
    if (is_new) {
      known->second = std::any_of(places.begin(), places.end(), [&](const OutputPlaces& output) {
        return output.written.contains(shared_place(place, output.dims));
      });
    }
    if (known->second) candidates.emplace_back(i, at);
  });
  if (candidates.empty()) return std::nullopt;
  return candidates[rng.below(candidates.size())];
}

/// One element of a valid token becomes another value: outputs change there, and nowhere else.
bool holds_one_element(ProbeRig& rig, const Property& property, std::size_t point, Rng& rng) {
  const ProbeRun& base = rig.base(property, point);
  for (const std::string& name : property.tensors) {
    const TensorSpec& tensor = rig.task().tensor(name);
    TensorContents inputs = base.inputs;
    TensorBytes& bytes = inputs.at(name);
    const auto drawn = drawn_element(rig, property, base, tensor, rng);
    if (!drawn) continue;  // lengths that are all drawn as 0 leave nothing to change
    const std::size_t element = drawn->first;
    const Indices& where = drawn->second;
    const double old = element_value(tensor.dtype, bytes, element), value = property.number.at("value");
    set_element(tensor.dtype, bytes, element, old > 0 ? -value : value);
    const ProbeRun run = rig.run(point, inputs);
    OutputValues expected;
    bool has_changed = false;
    for (const auto& [output, factor] : property.output) {
      const TensorSpec& spec = rig.task().tensor(output);
      auto& values = expected[output] = base.outputs.at(output);
      const auto& found = run.outputs.at(output);
      for_each_element(rig.shape(output, point), [&](std::size_t i, const Indices& at) {
        const bool is_elsewhere =
            std::any_of(property.dims.begin(), property.dims.end(), [&](const auto& dim) {
              const std::int64_t here = index_along(spec, dim, at),
                                 changed_at = index_along(tensor, dim, where);
              return here >= 0 && changed_at >= 0 && here != changed_at;
            });
        if (is_elsewhere) return;
        has_changed = has_changed || found[i] != values[i];
        values[i] = std::numeric_limits<double>::quiet_NaN();
      });
    }
    if (!rig.is_as_expected(property, run, expected)) return false;
    if (!has_changed) return false;
  }
  return true;
}

}  // namespace

const std::vector<ProbeKind>& probe_kinds() {
  static const std::vector<ProbeKind> kinds{
      {"repeat", holds_repeat, "be the same when the same inputs are given again"},
      {"scale", holds_scale, "scale with an input that is scaled by a power of two"},
      {"flip_channel", holds_flip_channel, "follow when one channel changes its sign"},
      {"shift", holds_shift, "not change when the same vector is added to all tokens"},
      {"constant", holds_constant, "be constant where all values are"},
      {"one_element", holds_one_element, "change where one input element changes, and nowhere else"},
      {"isolate", holds_isolate, "not depend on what belongs to other sequences or heads"},
      {"future", holds_future, "not depend on later tokens"},
      {"permute", holds_permute, "be permuted as the inputs are"},
      {"permute_tokens", holds_permute_tokens, "not depend on the order of the tokens"},
      {"permute_pages", holds_permute_pages, "not depend on where in the pool a page lies"},
      {"crop", holds_crop, "begin like those of a longer input that begins like this one"},
      {"expand", holds_expand, "be the same when shared heads are written out"},
      {"split", holds_split, "be the merge of those of two parts of the tokens"},
  };
  return kinds;
}

}  // namespace kernelites::worker
