// SPDX-License-Identifier: Apache-2.0
// The steps of an export.
#include "tools/exporting/export_session.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <set>

#include "engine/core/error.h"
#include "tools/exporting/host_plan.h"
#include "tools/exporting/host_proof.h"

namespace kernelites {
namespace {

constexpr std::size_t k_tables_max = 2048;

std::vector<std::string> host_plans(const Task& task, const Portfolio& portfolio) {
  std::vector<std::string> plans;
  for (const PortfolioArm& arm : portfolio.arms) {
    auto plan = host_plan(task, arm);
    if (const auto* problem = std::get_if<ClosureProblem>(&plan))
      throw ConfigError(
          "--plans", "code",
          fmt::format("cannot be: the plan of #{} cannot be taken out of its file ({}); --plans table ships "
                      "data instead",
                      arm.ordinal, problem->words));
    plans.push_back(std::get<std::string>(plan));
  }
  return plans;
}

std::vector<Shape> table_shapes(const Task& task, const ExportOrder& order) {
  std::vector<Shape> shapes;
  const auto add = [&](const std::map<std::string, std::int64_t>& dims) {
    for (const std::string& dim : variable_dims(task))
      if (!dims.contains(dim)) throw ConfigError("--shape", dim, "is missing: a shape has all variable dims");
    const Shape shape = shape_of(task, dims);
    if (std::find(shapes.begin(), shapes.end(), shape) == shapes.end()) shapes.push_back(shape);
  };
  for (const Workload& workload : task.bench) add(workload.dims);
  for (const Workload& workload : task.check) add(workload.dims);
  for (const auto& dims : order.shapes) add(dims);
  if (shapes.size() > k_tables_max)
    throw ConfigError("--shape", "", fmt::format("at most {} shapes", k_tables_max));
  return shapes;
}

/// "sm_90" or "sm_90a": it is an option of the compiler and part of a file's name.
void check_architecture(const std::string& text) {
  const bool is_one =
      text.starts_with("sm_") && text.size() >= 5 && text.size() <= 8 &&
      std::all_of(text.begin() + 3, text.end() - 1, [](unsigned char c) { return std::isdigit(c); }) &&
      std::isalnum(static_cast<unsigned char>(text.back()));
  if (!is_one) throw ConfigError("--arch", text, "expected an architecture, as sm_90a");
}

/// The domain of tables must hold their shapes.
LibraryDomain spanned(LibraryDomain domain, const std::vector<Shape>& shapes) {
  for (const Shape& shape : shapes) {
    for (std::size_t i = 0; i < shape.size(); ++i) {
      domain.ranges[i].low = std::min(domain.ranges[i].low, shape[i]);
      domain.ranges[i].high = std::max(domain.ranges[i].high, shape[i]);
    }
  }
  domain.multiples.clear();
  return domain;
}

/// Compares host code with the evaluator. Returns how many plans are the same: all of them.
std::size_t prove(const Task& task, const Portfolio& portfolio, const ExportOrder& order,
                  const ExportInputs& inputs, const std::vector<ProofBatch>& batches) {
  std::size_t count = 0;
  for (std::size_t arm = 0; arm < portfolio.arms.size(); ++arm) {
    const std::string& label = portfolio.arms[arm].label;
    const auto digests = host_digests(task, label, inputs.host_plans[arm], order.host_compiler, batches);
    if (const auto* problem = std::get_if<HostProblem>(&digests))
      throw ConfigError("--plans", "code",
                        fmt::format("cannot be for #{}: {}; --plans table ships data instead",
                                    portfolio.arms[arm].ordinal, problem->words));
    const auto& host = std::get<PlanDigests>(digests);
    const PlanDigests& constant = inputs.code.arms[arm].proof;
    if (host.size() != constant.size()) throw Error("the compiler answered for other shapes than were asked");
    for (std::size_t batch = 0; batch < host.size(); ++batch) {
      if (host[batch].size() != constant[batch].size())
        throw Error("the compiler answered for other shapes than were asked");
      for (std::size_t i = 0; i < host[batch].size(); ++i, ++count)
        if (host[batch][i] != constant[batch][i])
          throw ConfigError(
              "--plans", "code",
              fmt::format("cannot be for #{}: host code and constant evaluation differ at {}; --plans table "
                          "ships data instead",
                          portfolio.arms[arm].ordinal, fmt::join(batches[batch].shapes[i], " x ")));
    }
  }
  return count;
}

/// Whether kernels that were proved have the same registers, memory and bytes of code here. The archive keeps no digest
/// of a kernel alone; one that covers the plans of a run's secret shapes too cannot be made again.
bool is_as_proved(const Examination& examination, const LibraryImage& image) {
  const auto is_same = [](const KernelResources& a, const KernelResources& b) {
    return a.kernel == b.kernel && a.registers == b.registers &&
           a.static_shared_bytes == b.static_shared_bytes && a.local_bytes == b.local_bytes &&
           a.code_bytes == b.code_bytes;
  };
  return !examination.kernels.empty() &&
         std::all_of(
             examination.kernels.begin(), examination.kernels.end(), [&](const KernelResources& proved) {
               return std::any_of(image.kernels.begin(), image.kernels.end(),
                                  [&](const KernelResources& kernel) { return is_same(proved, kernel); });
             });
}

Json code_facts(const Portfolio& portfolio, const LibraryCode& code) {
  Json facts = Json::array();
  for (std::size_t i = 0; i < portfolio.arms.size(); ++i) {
    const PortfolioArm& arm = portfolio.arms[i];
    for (const LibraryImage& image : code.arms[i].images)
      facts.push_back({{"label", arm.label},
                       {"architecture", image.architecture},
                       {"kernels", image.kernels.size()},
                       {"proved_on", arm.provenance.device.architecture},
                       {"kernels_are_as_proved", is_as_proved(arm.examination, image)}});
  }
  return facts;
}

/// What is known of determinism, batches and graphs, and from where.
Json test_facts(const Task& task, const Json& findings) {
  Json properties = Json::array();
  for (const Property& property : task.properties)
    properties.push_back({{"name", property.name}, {"kind", property.kind}, {"is_exact", property.is_exact}});
  return {{"how",
           "the export's regression test on a device: every launch made twice and compared bit for bit "
           "(deterministic), first "
           "and last element of a batch computed alone and compared bit for bit (batch-invariant), a graph "
           "captured with one "
           "draw of lengths and replayed with others against the reference"},
          {"findings", findings},
          {"properties_that_the_harness_tried", properties}};
}

std::string origin_words(const Portfolio& portfolio) {
  std::string words;
  for (const PortfolioArm& arm : portfolio.arms) {
    const bool is_model = std::any_of(arm.lineage.begin(), arm.lineage.end(),
                                      [](const LineageStep& step) { return !step.endpoint.empty(); });
    words += fmt::format("{}`src/plan_{}.cpp` ({})", words.empty() ? "" : ", ", arm.label,
                         is_model ? "from a language model's text" : "from a seed's text");
  }
  return words;
}

/// By plans: shapes that they do not take.
std::int64_t refusals_in(const LibraryCode& code) {
  std::int64_t count = 0;
  for (const ArmCode& arm : code.arms) count += arm.unsupported + arm.invalid;
  return count;
}

Json plan_facts(const Portfolio& portfolio, const ExportInputs& inputs, const ExportOrder& order,
                std::size_t proved) {
  Json arms = Json::array();
  for (const ArmCode& arm : inputs.code.arms)
    arms.push_back({{"label", arm.label},
                    {"unsupported", arm.unsupported},
                    {"invalid", arm.invalid},
                    {"first_invalid", arm.first_invalid}});
  Json facts{{"mode", inputs.has_host_plans ? "code" : "table"}, {"arms", arms}};
  if (inputs.has_host_plans) {
    facts["proof"] = {{"shapes_equal", proved},
                      {"refusals_among_them", refusals_in(inputs.code)},
                      {"shapes_different", 0},
                      {"host_compiler", order.host_compiler},
                      {"flags", fmt::format("-std=c++20 -O2 {}", k_plan_flags)},
                      {"against", inputs.code.toolkit + ", constant evaluation"},
                      {"was_jailed", true}};
    facts["words"] = fmt::format(
        "This program's own sources only. How the kernels are launched is code that it wrote from what each "
        "kernel's constexpr `plan` says: {}. Names and quoted texts are the plan's, nothing else of its text "
        "is "
        "compiled: what has no value is noted instead of computed, loops end, there are no addresses. "
        "Compared "
        "with NVRTC's constant evaluator at {} shapes of the domain when this was exported: all plans are "
        "the "
        "same, bit for bit; {} of the {} comparisons are of refusals, with the same words. To have not even "
        "that, export with `--plans table`: plans are then data for a list of shapes.",
        origin_words(portfolio), proved / std::max<std::size_t>(portfolio.arms.size(), 1),
        refusals_in(inputs.code), proved);
    return facts;
  }
  facts["shapes"] = inputs.table_shapes;
  facts["scalars"] = inputs.scalars;
  facts["words"] = fmt::format(
      "This program's own sources only. Plans are data, for the {} shapes in MANIFEST.json (\"plans\") and "
      "the scalars there; "
      "no text of a model is compiled on the host. Other shapes and scalars are refused.",
      inputs.table_shapes.size());
  return facts;
}

}  // namespace

void check_architectures(const std::vector<std::string>& architectures) {
  for (const std::string& architecture : architectures) check_architecture(architecture);
}

ExportInputs make_export(const Task& task, const Portfolio& portfolio, const ExportOrder& order,
                         const std::function<void(const std::string&)>& tell) {
  ExportInputs inputs{.task = task,
                      .portfolio = portfolio,
                      .domain = domain_of(task, order.domain),
                      .coverage = {},
                      .code = {},
                      .has_host_plans = order.plans == PlanMode::code,
                      .host_plans = {},
                      .table_shapes = {},
                      .scalars = order.scalars};
  for (const ScalarSpec& scalar : task.scalars) inputs.scalars.emplace(scalar.name, scalar.value);
  DeviceFacts device = portfolio.arms.front().provenance.device;
  device.is_virtual = false;
  std::vector<std::string> architectures = order.architectures;
  if (architectures.empty()) architectures.push_back(device.architecture);
  check_architectures(architectures);
  std::vector<ProofBatch> batches;
  if (inputs.has_host_plans) {
    inputs.host_plans = host_plans(task, portfolio);
    batches = proof_batches(task, inputs.domain, device, order.proof_shapes);
  } else {
    inputs.table_shapes = table_shapes(task, order);
    inputs.domain = spanned(inputs.domain, inputs.table_shapes);
  }
  tell(fmt::format(
      "compiling {} kernel{} for {}{}", portfolio.arms.size(), portfolio.arms.size() == 1 ? "" : "s",
      fmt::join(architectures, ", "),
      batches.empty() ? "" : fmt::format(" and evaluating plans at {} shapes", order.proof_shapes)));
  inputs.code = compile_library({.task = task,
                                 .portfolio = portfolio,
                                 .architectures = architectures,
                                 .tables = inputs.table_shapes,
                                 .scalars = inputs.scalars,
                                 .proof = batches,
                                 .device = device,
                                 .has_test = order.has_test},
                                order.worker, order.toolkit);
  inputs.coverage = library_coverage(task, portfolio, inputs.code, batches, inputs.table_shapes);
  std::size_t proved = 0;
  if (inputs.has_host_plans) {
    proved = prove(task, portfolio, order, inputs, batches);
    tell(fmt::format(
        "plans as host code are the evaluated ones at {} shapes, bit for bit ({} of them are refusals)",
        proved, refusals_in(inputs.code)));
  }
  if (inputs.coverage.refused > 0)
    tell(fmt::format("within the domain: {}", fmt::join(coverage_words(inputs.coverage), "; ")));
  inputs.facts = {{"domain", inputs.domain},
                  {"coverage", inputs.coverage},
                  {"plans", plan_facts(portfolio, inputs, order, proved)},
                  {"toolkit", inputs.code.toolkit},
                  {"architectures", architectures},
                  {"code", code_facts(portfolio, inputs.code)},
                  {"measured", order.measured},
                  {"tested", test_facts(task, order.tested)}};
  return inputs;
}

}  // namespace kernelites
