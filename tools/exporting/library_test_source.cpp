// SPDX-License-Identifier: Apache-2.0
// Workloads, gates, metadata and the reference as tables of runtime/library_cases.h.
#include "tools/exporting/library_test_source.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "engine/core/code_measures.h"
#include "evaluators/worker/contract/problem_source.h"
#include "tools/exporting/library_texts.h"
#include "tools/exporting/source_text_parts.h"

namespace kernelites {
namespace {

using worker::Form;
using worker::PlanPoint;

std::vector<const Workload*> listed(const Task& task) {
  std::vector<const Workload*> workloads;
  for (const auto* list : {&task.check, &task.bench})
    for (const Workload& workload : *list) workloads.push_back(&workload);
  return workloads;
}

std::string padded(std::vector<std::int64_t> values, std::size_t count) {
  values.resize(count, 0);
  return fmt::format("{}", fmt::join(values, ", "));
}

std::string tensors_table(const Task& task) {
  std::string text = "const CaseTensor k_tensors[] = {\n";
  for (const TensorSpec& tensor : task.tensors)
    text += fmt::format("    {{\"{}\", {}, {}, {}}},\n", tensor.name, static_cast<int>(tensor.dtype),
                        is_written(tensor)              ? 2
                        : tensor.role == Role::metadata ? 1
                                                        : 0,
                        tensor.shape.size());
  return text + "};\n";
}

std::string byte_list(const std::string& order) {
  std::vector<int> bytes;
  for (const char c : order) bytes.push_back(static_cast<unsigned char>(c));
  return fmt::format("{}", fmt::join(bytes, ","));
}

/// Its number in the reference's form; -1: there is none.
int reference_tensor(const Task& task, const std::string& name) {
  const std::size_t count = worker::tensor_count_in_form(task, Form::reference);
  for (std::size_t i = 0; i < count; ++i)
    if (worker::tensor_in_form(task, i, Form::reference).name == name) return static_cast<int>(i);
  return -1;
}

/// A dim that counts independent elements: the first axis of every tensor that has it, and of all outputs.
int batch_dim(const Task& task) {
  const std::vector<std::string> dims = variable_dims(task);
  for (std::size_t d = 0; d < dims.size(); ++d) {
    const bool is_batch =
        std::all_of(task.tensors.begin(), task.tensors.end(), [&](const TensorSpec& tensor) {
          const bool leads = !tensor.shape.empty() && tensor.shape.front() == dims[d];
          const auto names = std::count_if(
              tensor.shape.begin(), tensor.shape.end(),
              [&](const std::string& extent) { return extent.find(dims[d]) != std::string::npos; });
          return is_written(tensor) ? leads && names == 1 : names == 0 || (leads && names == 1);
        });
    if (is_batch) return static_cast<int>(d);
  }
  return -1;
}

std::string batch_table(const Task& task, int dim) {
  std::vector<std::string> has;
  const std::vector<std::string> dims = variable_dims(task);
  for (const TensorSpec& tensor : task.tensors)
    has.emplace_back(dim >= 0 && !tensor.shape.empty() &&
                             tensor.shape.front() == dims[static_cast<std::size_t>(dim)]
                         ? "true"
                         : "false");
  return fmt::format("const bool k_has_batch[] = {{{}}};\n", fmt::join(has, ", "));
}

std::string atomics_table(const Portfolio& portfolio) {
  std::vector<std::string> has;
  for (const PortfolioArm& arm : portfolio.arms)
    has.emplace_back(adds_floats(arm.examination.counts) ? "true" : "false");
  return fmt::format("const bool k_may_differ[] = {{{}}};\n", fmt::join(has, ", "));
}

class CaseTables {
 public:
  explicit CaseTables(const ExportInputs& inputs) : inputs_(inputs), task_(inputs.task) {}

  std::string text() {
    std::string rows;
    const std::vector<const Workload*> workloads = listed(task_);
    for (std::size_t i = 0; i < workloads.size(); ++i) rows += case_row(*workloads[i], i);
    return text_ + "const Case k_cases[] = {\n" + rows + "};\n";
  }

 private:
  std::string case_row(const Workload& workload, std::size_t i) {
    const auto dims = shape_of(task_, workload.dims);
    std::string shapes;
    for (const TensorSpec& tensor : task_.tensors)
      shapes += fmt::format("    {},\n", padded(tensor_shape(tensor, workload), 8));
    text_ += fmt::format(
        "const long long k_dims_{0}[16] = {{{1}}};\nconst long long k_shapes_{0}[] = {{\n{2}}};\n", i,
        fmt::join(dims, ", "), shapes);
    const std::string fills = fills_of(workload, i), compares = compares_of(workload, i),
                      metadata = metadata_of(workload, i);
    reference_of(workload, i);
    const auto draws = inputs_.code.metadata.find(workload.name);
    const bool has_metadata =
        std::any_of(task_.tensors.begin(), task_.tensors.end(),
                    [](const TensorSpec& tensor) { return tensor.role == Role::metadata; });
    const std::size_t draw_count = draws == inputs_.code.metadata.end() ? 0
                                   : has_metadata                       ? draws->second.size()
                                                                        : 1;
    const bool is_bench =
        &workload >= task_.bench.data() && &workload < task_.bench.data() + task_.bench.size();
    return fmt::format(
        "    {{{0}, {1}, k_dims_{2}, k_shapes_{2}, {3}, {6}, {4}, {7}, {5}, k_counts_{2}, k_rows_{2}, "
        "k_totals_{2}}},\n",
        c_literal(workload.name), is_bench, i, fills, metadata, draw_count, compares,
        computed_of(workload, i));
  }

  std::string fills_of(const Workload& workload, std::size_t i) {
    std::string rows;
    const auto found = inputs_.code.fills.find(workload.name);
    for (std::size_t t = 0; t < task_.tensors.size(); ++t) {
      const InputFill* fill = nullptr;
      if (found != inputs_.code.fills.end())
        if (const auto own = found->second.find(task_.tensors[t].name); own != found->second.end())
          fill = &own->second;
      if (fill == nullptr) {
        rows += "    {nullptr, 0},\n";
        continue;
      }
      text_ += fmt::format("const unsigned char k_fill_{}_{}[] = {{{}}};\n", i, t, byte_list(fill->order));
      rows += fmt::format("    {{k_fill_{}_{}, {}}},\n", i, t, fill->unit);
    }
    text_ += fmt::format("const CaseFill k_fills_{}[] = {{\n{}}};\n", i, rows);
    return fmt::format("k_fills_{}", i);
  }

  std::string compares_of(const Workload& workload, std::size_t i) {
    const auto found = inputs_.code.compares.find(workload.name);
    if (found == inputs_.code.compares.end()) return "nullptr";
    std::string rows;
    for (std::size_t t = 0; t < task_.tensors.size(); ++t) {
      const auto own = found->second.find(task_.tensors[t].name);
      if (own == found->second.end()) {
        rows += "    {nullptr, 0, 0, 0, false, 0, -1},\n";
        continue;
      }
      const OutputCompare& compare = own->second;
      text_ +=
          fmt::format("const unsigned char k_compare_{}_{}[] = {{{}}};\n", i, t, byte_list(compare.order));
      rows += fmt::format("    {{k_compare_{}_{}, {}, {}, {}, {}, {}, {}}},\n", i, t, compare.columns,
                          compare.parts, compare.chosen, compare.is_selection,
                          row_group_of(task_, task_.tensors[t]),
                          reference_tensor(task_, task_.tensors[t].name + "_emulated"));
    }
    text_ += fmt::format("const CaseCompare k_compares_{}[] = {{\n{}}};\n", i, rows);
    return fmt::format("k_compares_{}", i);
  }

  std::string metadata_of(const Workload& workload, std::size_t i) {
    const auto found = inputs_.code.metadata.find(workload.name);
    if (found == inputs_.code.metadata.end()) return "nullptr";
    std::string rows;
    for (std::size_t draw = 0; draw < found->second.size(); ++draw)
      for (std::size_t t = 0; t < task_.tensors.size(); ++t) {
        const auto values = found->second[draw].find(task_.tensors[t].name);
        if (values == found->second[draw].end()) {
          rows += "    nullptr,\n";
          continue;
        }
        text_ += fmt::format("const int k_metadata_{}_{}_{}[] = {{{}}};\n", i, draw, t,
                             fmt::join(values->second, ","));
        rows += fmt::format("    k_metadata_{}_{}_{},\n", i, draw, t);
      }
    text_ += fmt::format("const int* const k_metadata_{}[] = {{\n{}}};\n", i, rows);
    return fmt::format("k_metadata_{}", i);
  }

  std::string computed_of(const Workload& workload, std::size_t i) {
    const auto found = inputs_.code.draws.find(workload.name);
    if (inputs_.code.inputs.empty() || found == inputs_.code.draws.end()) return "nullptr";
    std::vector<std::string> numbers;
    for (const std::vector<std::int64_t>& draw : found->second)
      for (const std::int64_t number : draw)
        numbers.push_back(fmt::format("static_cast<long long>({}u)", static_cast<std::uint64_t>(number)));
    text_ += fmt::format("const long long k_computed_{}[] = {{{}}};\n", i, fmt::join(numbers, ", "));
    return fmt::format("k_computed_{}", i);
  }

  void reference_of(const Workload& workload, std::size_t i) {
    const auto plan = inputs_.code.reference_plans.find(workload.name);
    const PlanPoint point{
        .workload = &workload,
        .reference_rows = plan == inputs_.code.reference_plans.end() ? 1 : plan->second.rows};
    std::vector<std::int64_t> counts, rows, totals;
    for (std::size_t t = 0; t < worker::tensor_count_in_form(task_, Form::reference); ++t) {
      std::int64_t count = 1;
      for (const std::int64_t extent : worker::tensor_shape_in_form(task_, t, Form::reference, point))
        count *= extent;
      counts.push_back(count);
    }
    const auto groups = row_groups(task_);
    for (std::size_t g = 0; g < groups.size(); ++g) {
      rows.push_back(worker::reference_row_count(task_, g, point));
      totals.push_back(row_count(groups[g], workload));
    }
    text_ += fmt::format(
        "const long long k_counts_{0}[] = {{{1}}};\nconst long long k_rows_{0}[] = {{{2}}};\n"
        "const long long k_totals_{0}[] = {{{3}}};\n",
        i, fmt::join(counts, ", "), fmt::join(rows, ", "), fmt::join(totals, ", "));
  }

  const ExportInputs& inputs_;
  const Task& task_;
  std::string text_;
};

/// One of the task's own programs as a library of one arm whose plans are a table: `k_<label>`.
std::string program_tables(const Task& task, Form form, const std::string& label,
                           const std::vector<LibraryImage>& images,
                           const std::map<std::string, ReferencePlanWords>& plans) {
  std::vector<Shape> shapes;
  std::vector<std::vector<std::uint64_t>> words;
  for (const Workload* workload : listed(task)) {
    const Shape shape = shape_of(task, workload->dims);
    if (std::find(shapes.begin(), shapes.end(), shape) != shapes.end()) continue;
    shapes.push_back(shape);
    words.push_back(plans.at(workload->name).words);
  }
  const std::size_t count = worker::tensor_count_in_form(task, form);
  std::vector<std::string> names, dims, domain;
  for (std::size_t t = 0; t < count; ++t)
    names.push_back(fmt::format("\"{}\"", worker::tensor_in_form(task, t, form).name));
  for (const std::string& dim : variable_dims(task)) {
    domain.push_back(fmt::format("{{{}, 1, 0x7fffffff}}", dims.size()));
    dims.push_back(fmt::format("\"{}\"", dim));
  }
  return image_tables(images, label) + plan_table(shapes, words, label) +
         fmt::format(
             "const char* const k_{0}_tensors[] = {{{1}}};\nconst char* const k_{0}_dims[] = {{{2}}};\n"
             "const RangeDescription k_{0}_domain[] = {{{3}}};\n"
             "const ArmDescription k_{0}_arms[] = {{\n    {{\"{0}\", \"{0}\", k_images_{0}, {4}, "
             "k_kernels_{0}, {5}, nullptr, k_table_{0}, {6}}},\n}};\n"
             "const LibraryDescription k_{0} = {{\"{0}\", {7}, {8}, {9}, k_{0}_dims, "
             "k_{0}_tensors, k_{0}_domain, nullptr, 0, k_scalars, 1, k_{0}_arms, 1, nullptr, 0, 0}};\n",
             label, fmt::join(names, ", "), fmt::join(dims, ", "), fmt::join(domain, ", "), images.size(),
             images.front().lowered.size(), shapes.size(), dims.size(), task.scalars.size(), count);
}

std::string reference_tables(const ExportInputs& inputs) {
  const Task& task = inputs.task;
  std::vector<int> dtypes, rows;
  for (std::size_t t = 0; t < worker::tensor_count_in_form(task, Form::reference); ++t)
    dtypes.push_back(static_cast<int>(worker::tensor_in_form(task, t, Form::reference).dtype));
  for (const RowGroup& group : row_groups(task))
    rows.push_back(reference_tensor(task, "rows" + group.suffix));
  return program_tables(task, Form::reference, "reference", inputs.code.reference,
                        inputs.code.reference_plans) +
         fmt::format("const int k_reference_dtypes[] = {{{}}};\nconst int k_rows_tensors[] = {{{}}};\n",
                     fmt::join(dtypes, ", "), fmt::join(rows, ", "));
}

std::string cases_source(const ExportInputs& inputs) {
  const Task& task = inputs.task;
  const bool has_reference = !inputs.code.reference_plans.empty();
  std::string problem, tensors;
  std::vector<std::string> scalars;
  for (const ScalarSpec& scalar : task.scalars) {
    const auto found = inputs.scalars.find(scalar.name);
    scalars.push_back(fmt::format("{:a}", found == inputs.scalars.end() ? scalar.value : found->second));
    problem += fmt::format("  problem.{} = scalars[{}];\n", scalar.name, scalars.size() - 1);
  }
  if (scalars.empty()) scalars.emplace_back("0");
  const std::vector<std::string> dims = variable_dims(task);
  for (std::size_t d = 0; d < dims.size(); ++d)
    problem += fmt::format("  problem.{} = dims[{}];\n", dims[d], d);
  for (std::size_t t = 0; t < task.tensors.size(); ++t)
    tensors += fmt::format("  given.{} = tensors[{}];\n", task.tensors[t].name, t);
  const int batch = batch_dim(task);
  std::string tables = tensors_table(task) +
                       fmt::format("const double k_scalars[] = {{{}}};\n", fmt::join(scalars, ", ")) +
                       CaseTables(inputs).text() + batch_table(task, batch) +
                       atomics_table(inputs.portfolio) + image_tables(inputs.code.harness, "harness");
  if (has_reference) tables += reference_tables(inputs);
  const bool has_inputs = !inputs.code.inputs.empty();
  if (has_inputs)
    tables += program_tables(task, Form::inputs, "inputs", inputs.code.inputs, inputs.code.inputs_plans);
  std::size_t fill_bytes = 0, compare_bytes = 0;
  for (const auto& [workload, fills] : inputs.code.fills)
    for (const auto& [tensor, fill] : fills) fill_bytes = fill.order.size();
  for (const auto& [workload, compares] : inputs.code.compares)
    for (const auto& [output, compare] : compares) compare_bytes = compare.order.size();
  return filled(export_text("library_cases.cpp.in"),
                {{"name", task.name},
                 {"tables", tables},
                 {"tensor_count", std::to_string(task.tensors.size())},
                 {"dim_count", std::to_string(dims.size())},
                 {"case_count", std::to_string(listed(task).size())},
                 {"batch_dim", std::to_string(batch)},
                 {"inputs", has_inputs ? "&k_inputs" : "nullptr"},
                 {"reference", has_reference ? "&k_reference" : "nullptr"},
                 {"reference_dtypes", has_reference ? "k_reference_dtypes" : "nullptr"},
                 {"rows_tensors", has_reference ? "k_rows_tensors" : "nullptr"},
                 {"group_count", std::to_string(row_groups(task).size())},
                 {"harness_count", std::to_string(inputs.code.harness.size())},
                 {"fill_bytes", std::to_string(fill_bytes)},
                 {"compare_bytes", std::to_string(compare_bytes)},
                 {"problem_members", problem},
                 {"tensor_members", tensors}});
}

}  // namespace

std::vector<ExportFile> library_test_files(const ExportInputs& inputs) {
  std::vector<ExportFile> files;
  for (const char* name : {"library_cases.h", "library_rig.h", "library_rig.cpp", "library_compare.h",
                           "library_compare.cpp", "library_regression.cpp", "library_bench.cpp"})
    files.push_back({fmt::format("test/{}", name), export_text(name)});
  files.push_back({"test/library_cases.cpp", cases_source(inputs)});
  return files;
}

}  // namespace kernelites
