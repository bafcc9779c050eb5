// SPDX-License-Identifier: Apache-2.0
// Objects of foreign files: what is needed of them must be there and of the right type.
#include "tools/flashinfer_file.h"

#include <fmt/format.h>

#include <sstream>

#include "engine/core/error.h"

namespace kernelites::flashinfer {

void Definition::fail(const std::string& field, const std::string& problem) const {
  throw ConfigError(file, field, problem);
}

std::int64_t Definition::constant(const char* axis) const {
  const auto found = constants.find(axis);
  if (found == constants.end())
    fail(fmt::format("axes.{}", axis), "expected a constant axis: {\"type\": \"const\", \"value\": ...}");
  return found->second;
}

const Json& member(const Json& object, const char* key, const std::string& file, const std::string& path) {
  const std::string field = path.empty() ? key : path + "." + key;
  if (!object.is_object() || !object.contains(key)) throw ConfigError(file, field, "is missing");
  return object.at(key);
}

std::string text_member(const Json& object, const char* key, const std::string& file,
                        const std::string& path) {
  const Json& value = member(object, key, file, path);
  if (!value.is_string()) throw ConfigError(file, path.empty() ? key : path + "." + key, "expected a string");
  return value.get<std::string>();
}

namespace {

std::int64_t extent(const Json& value, const std::string& file, const std::string& field) {
  const auto number = whole_number_in<std::int64_t>(value);
  if (!number || *number < 1) throw ConfigError(file, field, "expected a whole number of at least 1");
  return *number;
}

Definition read_definition(const Json& json, const std::string& file) {
  Definition definition{.file = file,
                        .name = text_member(json, "name", file),
                        .op_type = text_member(json, "op_type", file),
                        .inputs = member(json, "inputs", file, "")};
  for (const auto& [axis, spec] : member(json, "axes", file, "").items()) {
    const std::string path = "axes." + axis, type = text_member(spec, "type", file, path);
    if (type == "var") {
      definition.variables.insert(axis);
    } else if (type == "const") {
      definition.constants[axis] = extent(member(spec, "value", file, path), file, path + ".value");
    } else {
      definition.fail(path + ".type", "expected \"const\" or \"var\"");
    }
  }
  return definition;
}

BenchWorkload read_workload(const Json& line, const std::string& file, const Definition& definition) {
  const bool is_trace = line.is_object() && line.contains("workload");
  if (is_trace && text_member(line, "definition", file) != definition.name)
    throw ConfigError(file, "definition",
                      fmt::format("expected \"{}\", the definition given", definition.name));
  const Json& workload = is_trace ? line.at("workload") : line;
  const std::string path = is_trace ? "workload" : "";
  BenchWorkload read{.uuid = text_member(workload, "uuid", file, path), .axes = definition.constants};
  const Json& axes = member(workload, "axes", file, path);
  for (const std::string& axis : definition.variables) {
    const std::string at = path.empty() ? "axes" : path + ".axes";
    read.axes[axis] = extent(member(axes, axis.c_str(), file, at), file, at + "." + axis);
  }
  return read;
}

/// A file of ours may be one object, or one on each line.
std::vector<std::pair<Json, std::string>> read_objects(const std::filesystem::path& file) {
  const std::string text = read_text(file);
  Json whole = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (whole.is_object()) return {{std::move(whole), file.string()}};
  std::vector<std::pair<Json, std::string>> objects;
  std::istringstream lines(text);
  int number = 0;
  for (std::string line; std::getline(lines, line);) {
    ++number;
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    const std::string place = fmt::format("{}, line {}", file.string(), number);
    objects.emplace_back(parse_json(line, place), place);
  }
  return objects;
}

}  // namespace

Bundle read_bundle(const std::vector<std::filesystem::path>& files) {
  std::optional<Definition> definition;
  std::vector<std::pair<Json, std::string>> lines;
  for (const std::filesystem::path& file : files) {
    for (auto& [object, place] : read_objects(file)) {
      if (!object.is_object() || !object.contains("op_type")) {
        lines.emplace_back(std::move(object), place);
        continue;
      }
      if (definition) throw ConfigError(place, "op_type", "a second definition: expected one, and workloads");
      definition = read_definition(object, place);
    }
  }
  if (!definition)
    throw ConfigError("--from-flashinfer", "",
                      "expected a definition among the files: an object with \"op_type\"");
  Bundle bundle{.definition = std::move(*definition), .workloads = {}};
  for (const auto& [object, place] : lines)
    bundle.workloads.push_back(read_workload(object, place, bundle.definition));
  return bundle;
}

}  // namespace kernelites::flashinfer
