// SPDX-License-Identifier: Apache-2.0
// Reads task.json: one function per section, then the rules that tie sections together. Format:
// docs/tasks.md.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <set>

#include "engine/core/digest.h"
#include "engine/core/error.h"
#include "engine/core/fill_kind.h"
#include "engine/core/identifier.h"
#include "engine/core/task.h"
#include "engine/core/task_rules.h"

namespace kernelites {
namespace {

/// The named members of an object such as "dims": calls `read(name, ObjectReader)` for each, in the order
/// written.
template <typename Read>
void for_each_named(ObjectReader& parent, const char* key, Read read) {
  const Json& members = parent.member(key);
  if (!members.is_object()) parent.fail(key, "expected an object: name -> description");
  for (const auto& [name, value] : members.items()) {
    if (!is_identifier(name)) parent.fail(key, fmt::format("\"{}\" is not an identifier", name));
    ObjectReader reader(value, parent.where(), fmt::format("{}.{}", parent.field(key), name));
    read(name, reader);
    reader.finish();
  }
}

/// The entries of an array such as "check": calls `read(ObjectReader)` for each.
template <typename Read>
void for_each_entry(ObjectReader& parent, const char* key, Read read) {
  const Json& entries = parent.member(key);
  if (!entries.is_array()) parent.fail(key, "expected an array of objects");
  for (std::size_t i = 0; i < entries.size(); ++i) {
    ObjectReader reader(entries[i], parent.where(), fmt::format("{}[{}]", parent.field(key), i));
    read(reader);
    reader.finish();
  }
}

Dtype read_dtype(ObjectReader& reader) {
  const auto word = reader.required<std::string>("dtype");
  const auto dtype = dtype_from_name(word);
  if (!dtype) {
    reader.fail("dtype",
                fmt::format("\"{}\" is not an element type; known: f16, bf16, f32, f64, e4m3, e5m2, i8, u8, "
                            "i32, i64",
                            word));
  }
  return *dtype;
}

Role read_role(ObjectReader& reader) {
  const auto word = reader.required<std::string>("role");
  for (const Role role : {Role::input, Role::metadata, Role::output}) {
    if (word == role_name(role)) return role;
  }
  if (word == role_name(Role::inout)) {
    reader.fail("role",
                "inout tensors need a declared write set, which this version of the format cannot state");
  }
  reader.fail("role", fmt::format("\"{}\" is not a role; known: input, metadata, output", word));
}

Fill read_fill(ObjectReader reader, bool is_metadata) {
  Fill fill{.kind = reader.required<std::string>("kind"), .number = {}, .of = {}};
  const FillKind* kind = find_fill_kind(fill.kind);
  if (!kind || kind->is_metadata != is_metadata) {
    std::vector<std::string_view> known;
    for (const FillKind& other : fill_kinds()) {
      if (other.is_metadata == is_metadata) known.push_back(other.name);
    }
    reader.fail("kind", fmt::format("\"{}\" is not a fill of {} tensors; known: {}", fill.kind,
                                    is_metadata ? "metadata" : "input", fmt::join(known, ", ")));
  }
  for (const FillParameter& parameter : kind->parameters) {
    const std::string name(parameter.name);
    fill.number[name] = reader.optional<double>(name.c_str(), parameter.fallback);
  }
  if (is_metadata) fill.of = reader.required<std::string>("of");
  reader.finish();
  return fill;
}

/// A fill may be written alone or, for metadata, as the array of contents that are rotated.
std::vector<Fill> read_fills(ObjectReader& reader, const char* key, bool is_metadata) {
  const Json& value = reader.member(key);
  if (!value.is_array())
    return {read_fill(ObjectReader(value, reader.where(), reader.field(key)), is_metadata)};
  if (!is_metadata || value.empty())
    reader.fail(key, "expected an object, or for metadata one or more of them");
  std::vector<Fill> fills;
  for (std::size_t i = 0; i < value.size(); ++i) {
    const std::string path = fmt::format("{}[{}]", reader.field(key), i);
    fills.push_back(read_fill(ObjectReader(value[i], reader.where(), path), is_metadata));
  }
  return fills;
}

TensorSpec read_tensor(const std::string& name, ObjectReader& reader) {
  TensorSpec tensor;
  tensor.name = name;
  tensor.dtype = read_dtype(reader);
  tensor.role = read_role(reader);
  tensor.shape = reader.required<std::vector<std::string>>("shape");
  if (tensor.shape.empty() || tensor.shape.size() > 6) reader.fail("shape", "expected one to six axes");
  tensor.meaning = reader.optional<std::string>("meaning", "");
  if (tensor.role == Role::metadata && tensor.dtype != Dtype::i32) reader.fail("dtype", "metadata is i32");
  if (tensor.role != Role::output) tensor.fill = read_fills(reader, "fill", tensor.role == Role::metadata);
  if (tensor.role == Role::input && reader.has("valid")) {
    ObjectReader valid(reader.member("valid"), reader.where(), reader.field("valid"));
    tensor.valid = ValidPrefix{.axis = valid.required<std::string>("axis"),
                               .lengths = valid.required<std::string>("lengths")};
    valid.finish();
  }
  return tensor;
}

ScalarSpec read_scalar(const std::string& name, ObjectReader& reader) {
  ScalarSpec scalar{.name = name,
                    .dtype = read_dtype(reader),
                    .value = reader.required<double>("value"),
                    .meaning = reader.optional<std::string>("meaning", "")};
  const auto allowed = {Dtype::f32, Dtype::f64, Dtype::i32, Dtype::i64};
  if (std::find(allowed.begin(), allowed.end(), scalar.dtype) == allowed.end()) {
    reader.fail("dtype", "scalars are f32, f64, i32 or i64");
  }
  return scalar;
}

DimSpec read_dim(const std::string& name, ObjectReader& reader) {
  DimSpec dim{.name = name, .constant = {}, .meaning = reader.optional<std::string>("meaning", "")};
  if (reader.has("constant")) {
    dim.constant = reader.required<std::int64_t>("constant");
    if (*dim.constant < 1) reader.fail("constant", "expected at least 1");
  }
  return dim;
}

Precision read_precision(ObjectReader& reader) {
  Precision precision{.name = reader.required<std::string>("name"),
                      .row = reader.optional<double>("row", 0),
                      .element_ulp = reader.optional<double>("element_ulp", 0),
                      .element_rms = reader.optional<double>("element_rms", 0),
                      .absolute = reader.optional<double>("absolute", 0)};
  for (const double limit :
       {precision.row, precision.element_ulp, precision.element_rms, precision.absolute}) {
    if (!(limit >= 0)) reader.fail("name", "has a negative limit");
  }
  if (precision.absolute > 0) {
    if (precision.row > 0)
      reader.fail("row", "does not go with absolute: one is for values, one for log-sum-exp");
    if (precision.element_rms > 0) reader.fail("element_rms", "does not go with absolute");
  } else {
    if (!(precision.row > 0))
      reader.fail("row", "expected a positive limit (or absolute, for log-sum-exp outputs)");
    if (!(precision.element_rms > 0)) reader.fail("element_rms", "expected a positive limit");
  }
  return precision;
}

InputFamily read_family(const std::string& name, ObjectReader& reader) {
  InputFamily family{
      .name = name, .fill = {}, .precision = {}, .catches = reader.required<std::string>("catches")};
  const Json& fills = reader.member("fill");
  if (!fills.is_object()) reader.fail("fill", "expected an object: tensor -> fill");
  for (const auto& [tensor, fill] : fills.items()) {
    const std::string path = fmt::format("{}.{}", reader.field("fill"), tensor);
    family.fill[tensor] = read_fill(ObjectReader(fill, reader.where(), path), /*is_metadata=*/false);
  }
  if (reader.has("precision")) {
    for_each_named(reader, "precision", [&](const std::string& output, ObjectReader& gates) {
      family.precision[output] = read_precision(gates);
    });
  }
  return family;
}

/// The whole numbers of "dims"; which names must be there is the business of `check_task`.
std::map<std::string, std::int64_t> read_extents(ObjectReader& reader) {
  std::map<std::string, std::int64_t> dims;
  const Json& members = reader.member("dims");
  ObjectReader extents(members, reader.where(), reader.field("dims"));
  for (const auto& [name, value] : members.items()) dims[name] = extents.required<std::int64_t>(name.c_str());
  return dims;
}

Workload read_workload(ObjectReader& reader, bool is_bench) {
  Workload workload;
  workload.name = reader.required<std::string>("name");
  workload.dims = read_extents(reader);
  if (is_bench) {
    workload.weight = reader.optional<double>("weight", 1.0);
    workload.source = reader.required<std::string>("source");
    if (!(workload.weight > 0)) reader.fail("weight", "expected a positive number");
  }
  return workload;
}

HoldOutRange read_hold_out(ObjectReader& reader) {
  HoldOutRange range;
  const Json& members = reader.member("dims");
  ObjectReader dims(members, reader.where(), reader.field("dims"));
  for (const auto& [name, value] : members.items()) {
    range.dims[name] = dims.required<std::pair<std::int64_t, std::int64_t>>(name.c_str());
  }
  return range;
}

void read_baselines(ObjectReader& root, Task& task) {
  for_each_entry(root, "baselines", [](ObjectReader& reader) {
    for (const char* key : {"name", "library", "call"}) reader.required<std::string>(key);
    reader.optional<std::string>("note", "");
  });
  task.baselines = root.member("baselines");
}

void read_sections(ObjectReader& root, Task& task) {
  for_each_named(root, "dims", [&](const std::string& name, ObjectReader& reader) {
    task.dims.push_back(read_dim(name, reader));
  });
  for_each_named(root, "scalars", [&](const std::string& name, ObjectReader& reader) {
    task.scalars.push_back(read_scalar(name, reader));
  });
  for_each_named(root, "tensors", [&](const std::string& name, ObjectReader& reader) {
    task.tensors.push_back(read_tensor(name, reader));
  });
  task.rows = root.required<std::vector<std::string>>("rows");
  for_each_named(root, "precision", [&](const std::string& name, ObjectReader& reader) {
    task.precision[name] = read_precision(reader);
  });
  for_each_named(root, "families", [&](const std::string& name, ObjectReader& reader) {
    task.families.push_back(read_family(name, reader));
  });
  for_each_entry(root, "check",
                 [&](ObjectReader& reader) { task.check.push_back(read_workload(reader, false)); });
  for_each_entry(root, "bench",
                 [&](ObjectReader& reader) { task.bench.push_back(read_workload(reader, true)); });
  for_each_entry(root, "hold_out",
                 [&](ObjectReader& reader) { task.hold_out.push_back(read_hold_out(reader)); });
  ObjectReader roofline(root.member("roofline"), root.where(), "roofline");
  task.roofline = {.flops = roofline.required<std::string>("flops"),
                   .bytes = roofline.required<std::string>("bytes"),
                   .exponentials = roofline.required<std::string>("exponentials")};
  roofline.finish();
  read_baselines(root, task);
}

}  // namespace

Task parse_task(const Json& document, std::string reference_source, const std::string& where) {
  Task task;
  ObjectReader root(document, where);
  task.name = root.required<std::string>("name");
  if (!is_identifier(task.name)) root.fail("name", "expected an identifier");
  task.title = root.required<std::string>("title");
  task.formula = root.required<std::string>("formula");
  task.source = root.optional<std::string>("source", "");
  task.family = root.required<std::string>("family");
  read_sections(root, task);
  root.finish();
  if (reference_source.empty()) throw ConfigError(where, "", "the reference (reference.cu) is empty");
  complete_and_check_task(task, where);
  task.digest = digest_parts({document.dump(), reference_source});
  task.reference_source = std::move(reference_source);
  task.document = document;
  return task;
}

Task load_task(const std::filesystem::path& folder) {
  if (!std::filesystem::is_directory(folder))
    throw ConfigError(folder.string(), "", "expected a task folder");
  const std::filesystem::path file = folder / "task.json";
  Task task = parse_task(read_json(file), read_text(folder / "reference.cu"), file.string());
  const auto folder_name = std::filesystem::weakly_canonical(folder).filename().string();
  if (task.name != folder_name) {
    throw ConfigError(file.string(), "name", fmt::format("expected the folder's name \"{}\"", folder_name));
  }
  task.folder = folder;
  return task;
}

std::vector<std::string> list_tasks(const std::filesystem::path& root) {
  std::vector<std::string> names;
  std::error_code problem;
  for (const auto& entry : std::filesystem::directory_iterator(root, problem)) {
    if (std::filesystem::exists(entry.path() / "task.json"))
      names.push_back(entry.path().filename().string());
  }
  if (problem) throw ConfigError(root.string(), "", fmt::format("cannot be listed: {}", problem.message()));
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace kernelites
