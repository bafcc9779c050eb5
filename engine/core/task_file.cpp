// SPDX-License-Identifier: Apache-2.0
// Reads task.json: one function per section, then the rules that tie sections together. Format:
// docs/tasks.md.
#include <fmt/format.h>

#include <algorithm>

#include "engine/core/digest.h"
#include "engine/core/error.h"
#include "engine/core/identifier.h"
#include "engine/core/task.h"
#include "engine/core/task_reference.h"
#include "engine/core/task_rules.h"
#include "engine/core/task_sections.h"

namespace kernelites {
namespace {

constexpr const char* k_python_key = "python";
constexpr int k_passes_max = 8;
/// The sections of a task file, in the order of docs/tasks.md.
const std::initializer_list<const char*> k_sections{
    "name",    "title", "formula",      "family",    "source",     "dims",     "scalars",
    "tensors", "rows",  "sampled_rows", "precision", k_python_key, "families", "properties",
    "check",   "bench", "hold_out",     "roofline",  "baselines"};

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
  task.sampled_rows = root.optional<std::int64_t>("sampled_rows", task.sampled_rows);
  if (task.sampled_rows < 1) root.fail("sampled_rows", "expected at least 1");
  for_each_named(root, "precision", [&](const std::string& name, ObjectReader& reader) {
    task.precision[name] = read_precision(reader);
  });
  for_each_named(root, "families", [&](const std::string& name, ObjectReader& reader) {
    task.families.push_back(read_family(name, reader));
  });
  if (root.has("properties")) {
    for_each_named(root, "properties", [&](const std::string& name, ObjectReader& reader) {
      task.properties.push_back(read_property(name, reader));
    });
  }
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
  if (const int passes = roofline.optional("passes", 1); passes < 1 || passes > k_passes_max)
    roofline.fail("passes", fmt::format("must be 1 to {}", k_passes_max));
  const bool has_passes = roofline.optional("passes", 1) > 1;
  for (const char* key : {"pass_bytes", "pass_pieces"}) {
    const bool is_given = !roofline.optional<std::string>(key, "").empty();
    if (has_passes && !is_given)
      roofline.fail(key,
                    "with more than one pass expected the bytes of a piece that is gone over as a whole, and "
                    "how many pieces there are, as formulas");
    if (!has_passes && is_given) roofline.fail(key, "is for more than one of \"passes\"");
  }
  roofline.finish();
  read_baselines(root, task);
}

const char* reference_file(bool is_python) { return is_python ? "reference.py" : "reference.cu"; }

/// Which of the two a folder holds; a document that does not name its interpreter gets the usual one.
bool choose_reference(Json& document, const std::filesystem::path& folder, const std::string& where) {
  const bool has_python = std::filesystem::exists(folder / reference_file(true));
  if (has_python && std::filesystem::exists(folder / reference_file(false)))
    throw ConfigError(folder.string(), "reference.py", "expected this or reference.cu, not both");
  const bool is_named = document.is_object() && document.contains(k_python_key);
  if (is_named && !has_python)
    throw ConfigError(where, k_python_key, "names an interpreter, but the folder has no reference.py");
  if (has_python && !is_named && document.is_object()) document[k_python_key] = "python3";
  return has_python;
}

void refuse_computed_inputs(const Task& task, const ObjectReader& root) {
  for (const TensorSpec& tensor : task.tensors) {
    if (is_computed(tensor))
      root.fail(fmt::format("tensors.{}.fill", tensor.name),
                "computed inputs are written by a kernel: they need a reference.cu, not a reference.py");
  }
}

}  // namespace

std::string python_of(const Task& task) { return task.document.value(k_python_key, std::string{}); }

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

Task parse_task(const Json& document, std::string reference_source, const std::string& where) {
  Task task;
  ObjectReader root(document, where);
  // Before any section is read: a misspelt one would be told as missing.
  for (const char* section : k_sections) root.optional<Json>(section, {});
  root.finish();
  task.name = root.required<std::string>("name");
  if (!is_identifier(task.name)) root.fail("name", "expected an identifier");
  task.title = root.required<std::string>("title");
  task.formula = root.required<std::string>("formula");
  task.source = root.optional<std::string>("source", "");
  task.family = root.required<std::string>("family");
  read_sections(root, task);
  const bool is_python = root.has(k_python_key);
  if (is_python && root.required<std::string>(k_python_key).empty())
    root.fail(k_python_key, "expected the interpreter of reference.py");
  if (reference_source.empty())
    throw ConfigError(where, "", fmt::format("the reference ({}) is empty", reference_file(is_python)));
  task.document = document;
  complete_and_check_task(task, where);
  if (is_python) refuse_computed_inputs(task, root);
  task.digest = digest_parts({document.dump(), reference_source});
  task.reference_source = std::move(reference_source);
  return task;
}

Task load_task(const std::filesystem::path& folder) {
  if (!std::filesystem::is_directory(folder))
    throw ConfigError(folder.string(), "", "expected a task folder");
  const std::filesystem::path file = folder / "task.json";
  Json document = read_json(file);
  const bool is_python = choose_reference(document, folder, file.string());
  Task task = parse_task(document, read_text(folder / reference_file(is_python)), file.string());
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
