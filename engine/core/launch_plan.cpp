// SPDX-License-Identifier: Apache-2.0
// JSON of launch plans, version 1.
#include "engine/core/launch_plan.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/core/error.h"

namespace kernelites {
namespace {

constexpr int k_plan_version = 1;

// Stored words, in the order of the enumerators; append only.
constexpr std::array k_argument_words{"tensor", "workspace", "tensor_map", "i32", "i64", "f32", "f64"};
constexpr std::array k_workspace_words{"poisoned", "zeroed", "self_clearing", "prepared"};

template <typename Enum, std::size_t N>
Enum enum_from_word(const Json& json, const std::array<const char*, N>& words, const char* what) {
  const auto word = json.get<std::string>();
  const auto found = std::find(words.begin(), words.end(), word);
  if (found == words.end()) throw Error(fmt::format("launch plan: \"{}\" is no {}", word, what));
  return static_cast<Enum>(found - words.begin());
}

Dtype dtype_from_json(const Json& json) {
  const auto dtype = dtype_from_name(json.get<std::string>());
  if (!dtype) throw Error(fmt::format("launch plan: {} is no element type", json.dump()));
  return *dtype;
}

bool is_real(ArgumentKind kind) { return kind == ArgumentKind::f32 || kind == ArgumentKind::f64; }
bool is_integer(ArgumentKind kind) { return kind == ArgumentKind::i32 || kind == ArgumentKind::i64; }

}  // namespace

// An argument is its kind and the one member that the kind uses: {"tensor": 2}, {"f32": 0.125}.
void to_json(Json& json, const Argument& argument) {
  const char* word = k_argument_words[static_cast<std::size_t>(argument.kind)];
  if (is_real(argument.kind)) {
    json = Json{{word, real_to_json(argument.real)}};
  } else {
    json = Json{{word, is_integer(argument.kind) ? argument.integer : argument.index}};
  }
}

void from_json(const Json& json, Argument& argument) {
  if (!json.is_object() || json.size() != 1) throw Error("launch plan: an argument has exactly one member");
  argument = {};
  argument.kind = enum_from_word<ArgumentKind>(Json(json.begin().key()), k_argument_words, "argument kind");
  const Json& value = json.begin().value();
  if (is_real(argument.kind)) {
    argument.real = real_from_json(value);
  } else if (is_integer(argument.kind)) {
    value.get_to(argument.integer);
  } else {
    value.get_to(argument.index);
  }
}

void to_json(Json& json, const PlannedLaunch& launch) {
  json = Json{{"kernel", launch.kernel},
              {"grid", launch.grid},
              {"block", launch.block},
              {"cluster", launch.cluster},
              {"shared_bytes", launch.shared_bytes},
              {"is_cooperative", launch.is_cooperative},
              {"is_programmatic", launch.is_programmatic},
              {"is_prepare", launch.is_prepare},
              {"carveout_percent", launch.carveout_percent},
              {"priority", launch.priority},
              {"after", launch.after},
              {"arguments", launch.arguments}};
}

void from_json(const Json& json, PlannedLaunch& launch) {
  json.at("kernel").get_to(launch.kernel);
  json.at("grid").get_to(launch.grid);
  json.at("block").get_to(launch.block);
  json.at("cluster").get_to(launch.cluster);
  json.at("shared_bytes").get_to(launch.shared_bytes);
  json.at("is_cooperative").get_to(launch.is_cooperative);
  json.at("is_programmatic").get_to(launch.is_programmatic);
  json.at("is_prepare").get_to(launch.is_prepare);
  json.at("carveout_percent").get_to(launch.carveout_percent);
  json.at("priority").get_to(launch.priority);
  json.at("after").get_to(launch.after);
  json.at("arguments").get_to(launch.arguments);
}

void to_json(Json& json, const Workspace& workspace) {
  json = Json{{"bytes", workspace.bytes},
              {"alignment", workspace.alignment},
              {"kind", k_workspace_words[static_cast<std::size_t>(workspace.kind)]}};
}

void from_json(const Json& json, Workspace& workspace) {
  json.at("bytes").get_to(workspace.bytes);
  json.at("alignment").get_to(workspace.alignment);
  workspace.kind = enum_from_word<WorkspaceKind>(json.at("kind"), k_workspace_words, "workspace kind");
}

void to_json(Json& json, const TensorMap& map) {
  json = Json{{"is_workspace", map.is_workspace},
              {"index", map.index},
              {"dtype", dtype_name(map.dtype)},
              {"rank", map.rank},
              {"extent", map.extent},
              {"stride_bytes", map.stride_bytes},
              {"box", map.box},
              {"element_stride", map.element_stride},
              {"swizzle_bytes", map.swizzle_bytes},
              {"l2_promotion_bytes", map.l2_promotion_bytes},
              {"offset_bytes", map.offset_bytes}};
}

void from_json(const Json& json, TensorMap& map) {
  json.at("is_workspace").get_to(map.is_workspace);
  json.at("index").get_to(map.index);
  map.dtype = dtype_from_json(json.at("dtype"));
  json.at("rank").get_to(map.rank);
  json.at("extent").get_to(map.extent);
  json.at("stride_bytes").get_to(map.stride_bytes);
  json.at("box").get_to(map.box);
  json.at("element_stride").get_to(map.element_stride);
  json.at("swizzle_bytes").get_to(map.swizzle_bytes);
  json.at("l2_promotion_bytes").get_to(map.l2_promotion_bytes);
  json.at("offset_bytes").get_to(map.offset_bytes);
}

void to_json(Json& json, const LaunchPlan& plan) {
  json = Json{{"version", k_plan_version},
              {"unsupported", plan.unsupported},
              {"launches", plan.launches},
              {"workspaces", plan.workspaces},
              {"tensor_maps", plan.tensor_maps}};
}

void from_json(const Json& json, LaunchPlan& plan) {
  if (const int version = json.at("version").get<int>(); version != k_plan_version) {
    throw Error(fmt::format("launch plan: version {} where {} is known", version, k_plan_version));
  }
  json.at("unsupported").get_to(plan.unsupported);
  json.at("launches").get_to(plan.launches);
  json.at("workspaces").get_to(plan.workspaces);
  json.at("tensor_maps").get_to(plan.tensor_maps);
}

}  // namespace kernelites
