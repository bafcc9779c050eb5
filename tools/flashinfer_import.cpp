// SPDX-License-Identifier: Apache-2.0
// The operators in common, and how their axes are called on either side.
#include "tools/flashinfer_import.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <optional>
#include <set>

#include "engine/core/error.h"
#include "tools/flashinfer_file.h"

namespace kernelites {
namespace {

namespace fs = std::filesystem;
using flashinfer::Axes;
using flashinfer::BenchWorkload;
using flashinfer::Definition;
using flashinfer::member;
using flashinfer::text_member;

void expect_constant(const Definition& definition, const char* axis,
                     std::initializer_list<std::int64_t> known) {
  const std::int64_t value = definition.constant(axis);
  if (std::find(known.begin(), known.end(), value) == known.end())
    definition.fail(fmt::format("axes.{}.value", axis),
                    fmt::format("expected one of {}", fmt::join(known, ", ")));
}

void expect_inputs(const Definition& definition, std::initializer_list<const char*> names) {
  for (const char* name : names) {
    const std::string path = fmt::format("inputs.{}", name);
    const Json& input = member(definition.inputs, name, definition.file, "inputs");
    if (text_member(input, "dtype", definition.file, path) != "bfloat16")
      definition.fail(path + ".dtype", "expected \"bfloat16\", which the task has");
  }
}

void refuse_input(const Definition& definition, const char* name, const char* why) {
  if (definition.has_input(name)) definition.fail(fmt::format("inputs.{}", name), why);
}

std::int64_t divided(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

/// Dims of paged decode: lengths are data there, so that the mean length stands for all.
Axes paged_dims(const Axes& axes, Axes dims) {
  const std::int64_t pages = divided(
      axes.at(axes.contains("num_kv_indices") ? "num_kv_indices" : "num_pages"), axes.at("batch_size"));
  dims["B"] = axes.at("batch_size");
  dims["Hq"] = axes.at("num_qo_heads");
  dims["S"] = pages * axes.at("page_size");
  dims["P"] = axes.at("batch_size") * pages + 1;
  return dims;
}

constexpr const char* k_paged_remark =
    "Pages are named by page_table [B, pages] and len [B] here, by kv_indptr, kv_indices and "
    "kv_last_page_len there; every "
    "sequence gets the mean of the workload's lengths, and the pool one page more than they need.";
constexpr const char* k_lse_remark = "lse is a natural logarithm here, one to the base 2 there.";
constexpr const char* k_scale_remark =
    "The scale keeps the task's odd value, so that a kernel that has the usual one built in shows.";

/// An operator in common. `check` refuses definitions that the task does not cover; `dims` is empty for a workload that
/// it does not; `constants` are the dims that constant axes bind, for shapes of the task's own.
struct Operation {
  const char* op_type;
  const char* task;
  void (*check)(const Definition&);
  std::optional<Axes> (*dims)(const Axes&);
  Axes (*constants)(const Definition&);
  std::vector<const char*> needed;  ///< axes that a definition must have
  std::vector<const char*> remarks;
};

Operation rmsnorm_operation() {
  return {.op_type = "rmsnorm",
          .task = "rmsnorm",
          .check =
              [](const Definition& d) {
                refuse_input(d, "residual", "the sum with a residual is no part of the task rmsnorm");
                expect_inputs(d, {d.has_input("input") ? "input" : "hidden_states", "weight"});
              },
          .dims = [](const Axes& axes) -> std::optional<Axes> {
            return Axes{{"M", axes.at("batch_size")}, {"N", axes.at("hidden_size")}};
          },
          .constants =
              [](const Definition& d) {
                return Axes{{"N", d.constant("hidden_size")}};
              },
          .needed = {"batch_size", "hidden_size"},
          .remarks = {"eps is an argument with the task's odd value, so that a built-in one shows."}};
}

Operation gqa_paged_operation() {
  return {.op_type = "gqa_paged",
          .task = "gqa_decode_paged",
          .check =
              [](const Definition& d) {
                refuse_input(d, "qo_indptr", "paged prefill is no task here, only decode");
                expect_inputs(d, {"q", "k_cache", "v_cache"});
                expect_constant(d, "head_dim", {128});
                expect_constant(d, "page_size", {1, 2, 4, 8, 16, 32, 64, 128});
              },
          .dims = [](const Axes& axes) -> std::optional<Axes> {
            return paged_dims(axes, {{"Hkv", axes.at("num_kv_heads")}, {"PS", axes.at("page_size")}});
          },
          .constants =
              [](const Definition& d) {
                return Axes{{"Hq", d.constant("num_qo_heads")},
                            {"Hkv", d.constant("num_kv_heads")},
                            {"PS", d.constant("page_size")}};
              },
          .needed = {"batch_size", "num_pages"},
          .remarks = {k_paged_remark, k_lse_remark, k_scale_remark}};
}

Operation mla_paged_operation() {
  return {
      .op_type = "mla_paged",
      .task = "mla_decode_paged",
      .check =
          [](const Definition& d) {
            refuse_input(d, "qo_indptr", "paged prefill is no task here, only decode");
            expect_inputs(d, {"q_nope", "q_pe", "ckv_cache", "kpe_cache"});
            expect_constant(d, "head_dim_ckv", {512});
            expect_constant(d, "head_dim_kpe", {64});
            expect_constant(d, "page_size", {64});
          },
      .dims = [](const Axes& axes) -> std::optional<Axes> { return paged_dims(axes, {}); },
      .constants =
          [](const Definition& d) {
            return Axes{{"Hq", d.constant("num_qo_heads")}};
          },
      .needed = {"batch_size", "num_pages"},
      .remarks = {"q_nope and q_pe are one tensor of 576 channels here, and so are ckv_cache and kpe_cache.",
                  k_paged_remark, k_lse_remark, k_scale_remark}};
}

Operation gqa_ragged_operation() {
  return {.op_type = "gqa_ragged",
          .task = "gqa_prefill_varlen",
          .check =
              [](const Definition& d) {
                if (d.name.find("causal") == std::string::npos)
                  d.fail("name", "expected a causal prefill (its name says so): the task has a causal mask");
                expect_inputs(d, {"q", "k", "v"});
                expect_constant(d, "head_dim", {64, 128});
              },
          .dims = [](const Axes& axes) -> std::optional<Axes> {
            if (axes.at("total_q") != axes.at("total_kv") || axes.at("len_indptr") < 2) return std::nullopt;
            return Axes{{"B", axes.at("len_indptr") - 1},
                        {"T", axes.at("total_q")},
                        {"Hq", axes.at("num_qo_heads")},
                        {"Hkv", axes.at("num_kv_heads")},
                        {"D", axes.at("head_dim")}};
          },
          .constants =
              [](const Definition& d) {
                return Axes{{"Hq", d.constant("num_qo_heads")},
                            {"Hkv", d.constant("num_kv_heads")},
                            {"D", d.constant("head_dim")}};
              },
          .needed = {"total_q", "total_kv", "len_indptr"},
          .remarks =
              {"Queries and keys share one cu_seqlens here; shapes are timed with sequences of equal length.",
               k_lse_remark, k_scale_remark}};
}

std::vector<Operation> operations() {
  return {rmsnorm_operation(), gqa_paged_operation(), mla_paged_operation(), gqa_ragged_operation()};
}

Operation operation_of(const Definition& definition) {
  std::vector<std::string> known;
  for (const Operation& operation : operations()) {
    if (definition.op_type == operation.op_type) return operation;
    known.emplace_back(operation.op_type);
  }
  definition.fail("op_type", fmt::format("\"{}\" is no operator of a task here; known: {}",
                                         definition.op_type, fmt::join(known, ", ")));
}

/// A shape, and the workloads that have it.
struct Shape {
  Axes dims;
  std::string uuid;
  int count = 0;
  double size() const {
    double product = 1;
    for (const auto& [name, value] : dims) product *= static_cast<double>(value);
    return product;
  }
};

/// Equal shapes once; of too many some of all sizes, the smallest and the largest among them.
std::vector<Shape> distinct_shapes(const std::vector<BenchWorkload>& workloads, const Operation& operation,
                                   std::vector<std::string>& remarks) {
  std::vector<Shape> shapes;
  std::set<std::string> seen;
  int skipped = 0;
  for (const BenchWorkload& workload : workloads) {
    if (!seen.insert(workload.uuid).second) continue;
    const auto dims = operation.dims(workload.axes);
    skipped += dims ? 0 : 1;
    if (!dims) continue;
    const auto same =
        std::find_if(shapes.begin(), shapes.end(), [&](const Shape& s) { return s.dims == *dims; });
    if (same != shapes.end()) {
      ++same->count;
    } else {
      shapes.push_back({*dims, workload.uuid, 1});
    }
  }
  if (skipped > 0)
    remarks.push_back(
        fmt::format("{} workloads are left out: their queries are not all of their keys.", skipped));
  std::stable_sort(shapes.begin(), shapes.end(),
                   [](const Shape& a, const Shape& b) { return a.size() < b.size(); });
  if (shapes.size() <= k_flashinfer_shapes_max) return shapes;
  remarks.push_back(
      fmt::format("{} of {} shapes are taken, of all sizes.", k_flashinfer_shapes_max, shapes.size()));
  std::vector<Shape> chosen;
  for (std::size_t i = 0; i < k_flashinfer_shapes_max; ++i)
    chosen.push_back(shapes[i * (shapes.size() - 1) / (k_flashinfer_shapes_max - 1)]);
  return chosen;
}

/// The task's own bench shapes with the definition's constant axes, each once.
Json adapted_bench(const Json& bench, const Definition& definition, const Operation& operation) {
  Json adapted = Json::array();
  std::set<std::string> seen;
  for (Json entry : bench) {
    for (const auto& [name, value] : operation.constants(definition)) entry["dims"][name] = value;
    Json& dims = entry["dims"];
    if (dims.contains("PS") && dims.contains("P"))
      dims["P"] = dims.at("B").get<std::int64_t>() *
                      divided(dims.at("S").get<std::int64_t>(), dims.at("PS").get<std::int64_t>()) +
                  1;
    if (seen.insert(dims.dump()).second) adapted.push_back(std::move(entry));
  }
  return adapted;
}

}  // namespace

FlashinferTask import_flashinfer(const std::vector<fs::path>& files, const std::string& name,
                                 const DataRoot& data) {
  const flashinfer::Bundle bundle = flashinfer::read_bundle(files);
  const Definition& definition = bundle.definition;
  const Operation operation = operation_of(definition);
  operation.check(definition);
  operation.constants(definition);  // they must be constant
  for (const char* axis : operation.needed) {
    if (!definition.variables.contains(axis) && !definition.constants.contains(axis))
      definition.fail(fmt::format("axes.{}", axis), "is missing");
  }

  FlashinferTask task{.operation = operation.task,
                      .document = read_json(data.tasks() / operation.task / "task.json"),
                      .remarks = {operation.remarks.begin(), operation.remarks.end()}};
  task.document["name"] = name;
  task.document["source"] = fmt::format("FlashInfer-Bench definition {}", definition.name);
  if (bundle.workloads.empty()) {
    task.remarks.emplace_back(
        "No workloads were given: the shapes are the task's, with the definition's constant axes.");
    task.document["bench"] = adapted_bench(task.document.at("bench"), definition, operation);
    return task;
  }
  Json bench = Json::array();
  for (const Shape& shape : distinct_shapes(bundle.workloads, operation, task.remarks)) {
    bench.push_back(
        {{"name", "fib_" + shape.uuid.substr(0, 8)},
         {"dims", shape.dims},
         {"weight", shape.count},
         {"source", fmt::format("FlashInfer-Bench {}, workload {}", definition.name, shape.uuid)}});
  }
  if (bench.empty())
    throw ConfigError(definition.file, "axes", "no workload of it has a shape that the task covers");
  task.document["bench"] = std::move(bench);
  return task;
}

}  // namespace kernelites
