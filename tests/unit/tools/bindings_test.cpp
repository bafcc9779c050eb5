// SPDX-License-Identifier: Apache-2.0
// Bindings for Python: schemas of operators, what FlashInfer-Bench's validator requires, and texts that compile.
#include <algorithm>

#include "engine/core/error.h"
#include "tests/support/catch.h"
#include "tests/support/small_task.h"
#include "tools/bindings/binding_texts.h"
#include "tools/bindings/flashinfer_target.h"
#include "tools/bindings/operator_signature.h"
#include "tools/bindings/torch_target.h"
#include "tools/exporting/source_text_parts.h"

using namespace kernelites;
namespace fs = std::filesystem;

namespace {

Task repository_task(const std::string& name) {
  return load_task(fs::path(KERNELITES_SOURCE_DIR) / "tasks" / name);
}

PortfolioArm arm_of(const Task& task) {
  PortfolioArm arm{.label = "arm_0",
                   .ordinal = 7,
                   .candidate_id = std::string(64, 'a'),
                   .candidate = {"__global__ void k() {}\n", {}}};
  arm.examination.verdict = Verdict::passed();
  arm.examination.checks = {{.output = "o", .worst_row = 0.001, .gate_row = 0.004, .rows = 10, .trials = 2}};
  arm.provenance.device = {.kind = "NVIDIA H100 80GB HBM3", .architecture = "sm_90a"};
  arm.provenance.toolkit = "NVRTC 13.0";
  arm.provenance.harness_version = "2";
  for (const Workload& workload : task.bench)
    arm.times[workload.name] = {
        .timing = {.time_us_median = 20, .time_us_p10 = 19, .time_us_p90 = 22, .samples = 60},
        .speedup = 1.5,
        .duel_id = "d"};
  return arm;
}

/// An export of one kernel, as the command makes it.
struct Sample {
  explicit Sample(const std::string& name) : task(repository_task(name)) {
    portfolio.task = task.name;
    portfolio.run_started = "1764115200";
    portfolio.arms.push_back(arm_of(task));
    inputs.domain = domain_of(task, {});
    inputs.code.arms.push_back(
        {.label = "arm_0",
         .images = {{.architecture = "sm_90a", .cubin = "not really", .lowered = {{"k", "_Z1kv"}}}}});
    inputs.host_plans = {"// plan\n"};
  }
  Task task;
  Portfolio portfolio;
  ExportInputs inputs{.task = task, .portfolio = portfolio, .domain = {}, .code = {}};
};

/// What flashinfer_bench.data 0.1.2 requires of a tensor's description.
void check_tensors(const Json& tensors, const Json& axes) {
  for (const auto& [name, tensor] : tensors.items()) {
    INFO(name);
    CHECK(tensor.at("dtype").is_string());
    if (tensor.at("shape").is_null()) continue;
    for (const Json& axis : tensor.at("shape")) CHECK(axes.contains(axis.get<std::string>()));
  }
}

void check_definition(const Json& definition) {
  for (const char* key : {"name", "op_type", "reference"})
    CHECK_FALSE(definition.at(key).get<std::string>().empty());
  CHECK_THAT(definition.at("reference").get<std::string>(), Catch::Contains("def run("));
  std::set<std::string> shown;
  for (const auto& [name, tensor] : definition.at("inputs").items()) {
    CHECK_FALSE(definition.at("outputs").contains(name));
    if (tensor.at("shape").is_array())
      for (const Json& axis : tensor.at("shape")) shown.insert(axis.get<std::string>());
  }
  for (const auto& [name, axis] : definition.at("axes").items()) {
    INFO(name);
    CHECK((axis.at("type") == "const" ? axis.at("value").is_number_integer() : shown.contains(name)));
  }
  check_tensors(definition.at("inputs"), definition.at("axes"));
  check_tensors(definition.at("outputs"), definition.at("axes"));
}

void check_workload(const Json& workload, const Json& definition) {
  CHECK_FALSE(workload.at("uuid").get<std::string>().empty());
  for (const auto& [name, axis] : definition.at("axes").items())
    CHECK((axis.at("type") == "const") != workload.at("axes").contains(name));
  CHECK(workload.at("inputs").size() == definition.at("inputs").size());
  for (const auto& [name, input] : workload.at("inputs").items()) {
    INFO(name);
    REQUIRE(definition.at("inputs").contains(name));
    const bool is_scalar = definition.at("inputs").at(name).at("shape").is_null();
    CHECK((input.at("type") == "scalar") == is_scalar);
    if (input.at("type") == "safetensors") CHECK(input.at("tensor_key") == name);
  }
}

}  // namespace

TEST_CASE("an operator's schema has its tensors, the extents that no tensor shows, and its scalars") {
  CHECK(torch_schema(repository_task("gqa_decode_splitkv")) ==
        "gqa_decode_splitkv(Tensor q, Tensor k, Tensor v, Tensor len, *, float scale) -> (Tensor, Tensor)");
  CHECK(torch_schema(repository_task("gqa_decode_paged")) ==
        "gqa_decode_paged(Tensor q, Tensor k, Tensor v, Tensor page_table, Tensor len, *, SymInt S, float "
        "scale) -> (Tensor, Tensor)");
  CHECK(torch_schema(repository_task("softmax_row")) == "softmax_row(Tensor x) -> Tensor");
  CHECK(torch_into_schema(repository_task("rmsnorm")) ==
        "rmsnorm.into(Tensor x, Tensor w, *, float eps, Tensor(a!) y) -> ()");
  Task renamed = repository_task("softmax_row");
  renamed.tensors.front().name = "lambda";
  CHECK_THROWS_AS(torch_schema(renamed), ConfigError);
}

TEST_CASE("shape formulas become whole-number arithmetic, and anything else is refused") {
  CHECK(integer_formula("cdiv(S, PS)+1", false) == "cdiv(S, PS)+1");
  CHECK(integer_formula("N/2", true) == "N//2");
  for (const char* formula : {"sqrt(N)", "N; system(1)", "N\"", "N[0]"})
    CHECK_THROWS_AS(integer_formula(formula, false), Error);
}

TEST_CASE("every task of the repository has a schema and a binding") {
  for (const std::string& name : list_tasks(fs::path(KERNELITES_SOURCE_DIR) / "tasks")) {
    INFO(name);
    const Task task = repository_task(name);
    CHECK_THAT(torch_schema(task), Catch::StartsWith(name + "(Tensor "));
    const std::string binding = torch_binding(task, "kernelites");
    CHECK_THAT(binding,
               Catch::Contains("TORCH_LIBRARY_IMPL(kernelites, CUDA, library)") && !Catch::Contains("{{"));
    CHECK(binding.find("init(0)") <
          binding.find("driver().device_get("));  // `supports` comes before any launch
  }
}

TEST_CASE(
    "a PyTorch export holds a package, the library's sources and a test, and no text of the task unescaped") {
  Sample sample("gqa_decode_splitkv");
  sample.task.title = "Title \"\"\" import os \\";
  sample.inputs.coverage.refused_shapes = {{.shape = {1, 36, 4, 64}, .is_taken = false, .words = "no"}};
  const std::vector<ExportFile> files = torch_files(sample.inputs);
  std::set<std::string> paths;
  for (const ExportFile& file : files) CHECK(paths.insert(file.path).second);
  for (const char* path :
       {"setup.py", "pyproject.toml", "README.md", "kernelites_gqa_decode_splitkv/__init__.py",
        "csrc/torch_binding.cpp", "csrc/include/gqa_decode_splitkv.h", "test/cases.json", "test/cases.py",
        "test/references.py", "test/test_gqa_decode_splitkv.py"})
    CHECK(paths.contains(path));
  const std::string package = file_at(files, "kernelites_gqa_decode_splitkv/__init__.py").bytes;
  CHECK_THAT(package, Catch::Contains("q.new_empty((B, Hq, D), dtype=torch.bfloat16)") &&
                          !Catch::Contains("\"\"\" import"));
  const Json cases = Json::parse(file_at(files, "test/cases.json").bytes);
  CHECK(cases.at("cases").back().at("time_us") == 20);
  CHECK(cases.at("refused").at(0) == Json{{"B", 1}, {"Hq", 36}, {"Hkv", 4}, {"S", 64}});
  REQUIRE(cases.at("beyond").size() == 4);
  for (const Json& dims : cases.at("beyond"))
    CHECK_FALSE(is_within(sample.inputs.domain, shape_of(sample.task, dims)));
}

TEST_CASE("definition, solution, workloads and traces have what FlashInfer-Bench's validator requires") {
  for (const char* name : {"gqa_decode_splitkv", "gqa_decode_paged", "rmsnorm", "gqa_prefill_varlen"}) {
    INFO(name);
    const Sample sample(name);
    const Json definition = flashinfer_definition(sample.task);
    check_definition(definition);
    const Json solution = flashinfer_solution(sample.inputs);
    CHECK(solution.at("definition") == definition.at("name"));
    std::set<std::string> paths;
    for (const Json& source : solution.at("sources")) {
      const auto path = source.at("path").get<std::string>();
      CHECK((paths.insert(path).second && path.front() != '/' && path.find("..") == std::string::npos));
      CHECK_FALSE(source.at("content").get<std::string>().empty());
    }
    const auto entry = solution.at("spec").at("entry_point").get<std::string>();
    CHECK((entry == "main.py::run" && paths.contains("main.py") && paths.contains("csrc/torch_binding.cpp")));
    CHECK(solution.at("spec").at("language") == "python");
    CHECK_FALSE(solution.at("spec").at("target_hardware").empty());
    for (const Json& line : flashinfer_workloads(sample.task))
      check_workload(line.at("workload"), definition);
    const std::vector<Json> traces = flashinfer_traces(sample.inputs);
    CHECK(traces.size() == sample.task.bench.size());
    for (const Json& trace : traces) {
      check_workload(trace.at("workload"), definition);
      CHECK(trace.at("solution") == solution.at("name"));
      const Json& evaluation = trace.at("evaluation");
      CHECK(evaluation.at("status") == "PASSED");
      CHECK(evaluation.at("timestamp") == "2025-11-26T00:00:00Z");
      CHECK(evaluation.at("performance").at("latency_ms") == 0.02);
      CHECK(evaluation.at("performance").at("reference_latency_ms").get<double>() == Approx(0.03));
      CHECK(evaluation.at("correctness").at("max_relative_error") == 0.001);
    }
  }
}

TEST_CASE("a task whose outputs need an extent that no input shows has no definition for FlashInfer-Bench") {
  CHECK_THROWS_WITH(flashinfer_definition(repository_task("snapkv_select")),
                    Catch::Contains("N of the output"));
}

TEST_CASE("safetensors files are a length, a header of a multiple of eight bytes, and the data") {
  const std::string bytes = safetensors_bytes({{"len", {2}, {5, 258}}, {"table", {1, 1}, {7}}});
  const std::size_t header = static_cast<unsigned char>(bytes[0]);
  CHECK(header % 8 == 0);
  CHECK(bytes.size() == 8 + header + 12);
  const Json json = Json::parse(bytes.substr(8, header));
  CHECK(json.at("table").at("data_offsets") == Json({8, 12}));
  CHECK(bytes.substr(8 + header + 4, 4) == std::string("\x02\x01\x00\x00", 4));
}
