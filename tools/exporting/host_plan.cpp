// SPDX-License-Identifier: Apache-2.0
// Writes the plan's translation unit: shim, contract, Problem, closure, and the call from outside.
#include "tools/exporting/host_plan.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <set>

#include "engine/core/candidate.h"
#include "engine/core/error.h"
#include "evaluators/worker/contract/plan_batch.h"
#include "evaluators/worker/contract/problem_source.h"
#include "tools/exporting/library_texts.h"
#include "tools/plan_code/plan_code.h"

namespace kernelites {

namespace {

constexpr const char* k_begin = R"(// SPDX-License-Identifier: Apache-2.0
// The plan of kernel {id_short} as host code: how its launches follow from a shape.
//
// WHAT YOU COMPILE: the declarations between the two lines of "=" below were written by this program. They say what
// `plan` of kernels/{label}.cu says, whose text was {origin}:
// arithmetic on extents, {lines} lines, with the text's names (and a number behind each, or `_own` behind a member's).
// What could be undefined is a function of plan_arithmetic.h that notes it instead, loops and calls count their steps,
// and there are no addresses: it writes nothing but its plan, and ends. An export checks that it gives the same plans
// as NVRTC's constant evaluator at the shapes that MANIFEST.json counts under "plans". `export --plans table` ships data
// instead.
#include "library_name.h"

#include "plan_arithmetic.h"
#include "plan_shim.h"

namespace {name}_plan_std {{
using std::initializer_list;
}}
// From here on these names are strangers to the program's own, and to those of other exported libraries.
#define std {name}_plan_std
#define kernelites {name}_plan_contract
#include <kernelites/plan.cuh>

namespace formula {{
static inline double min(double a, double b) {{ return b < a ? b : a; }}
static inline double max(double a, double b) {{ return a < b ? b : a; }}
static inline double floor(double a) {{ return __builtin_floor(a); }}
static inline double cdiv(double a, double b) {{ return __builtin_ceil(a / b); }}
static inline double sqrt(double a) {{ return __builtin_sqrt(a); }}
static inline double exp(double a) {{ return __builtin_exp(a); }}
static inline double log(double a) {{ return __builtin_log(a); }}
}}  // namespace formula

namespace plan_of_{name}_{label} {{

namespace safe = KERNELITES_LIBRARY::safe;
{problem}
// =====================================================================================================================
{closure}
// =====================================================================================================================

}}  // namespace plan_of_{name}_{label}

namespace {{

template <int N>
kl::Tensor dense(int id, kl::Dtype dtype, const double (&extents)[N]) {{
  kl::Tensor tensor{{id, dtype, N, {{}}, {{}}}};
  long long step = 1;
  for (int i = N - 1; i >= 0; --i) {{
    tensor.shape[i] = static_cast<long long>(extents[i]);
    tensor.stride[i] = step;
    step *= tensor.shape[i];
  }}
  return tensor;
}}

}}  // namespace
)";

constexpr const char* k_end = R"(
namespace KERNELITES_LIBRARY {{

int plan_{label}(const long long* d, const double* s, const long long* f, unsigned long long* words) {{
  (void)d, (void)s;
{named}
  const plan_of_{name}_{label}::Problem problem{{{members}}};
  kl::Plan plan;
  safe::Run run;
  plan_of_{name}_{label}::plan(run, problem, plan);
  if (run.trouble != safe::no_trouble) {{
    plan = kl::Plan();
    plan.require(false, safe::k_trouble_words[run.trouble]);
  }}
  kl::detail::Encoder encoder{{words, 0}};
  encoder.plan(plan);
  return encoder.at;
}}

}}  // namespace KERNELITES_LIBRARY
)";

std::string origin_of(const PortfolioArm& arm) {
  std::string words;
  for (const LineageStep& step : arm.lineage)
    if (!step.endpoint.empty()) words = "written by a language model in a run of this program";
  return words.empty() ? "written by people, as a seed of this program or of the run" : words;
}

std::map<std::string, std::int64_t> tunables_of(const Candidate& candidate) {
  std::map<std::string, std::int64_t> values;
  for (const Tunable& tunable : parse_tunables(candidate.source)) values[tunable.name] = tunable.values.at(0);
  for (const auto& [name, value] : candidate.tuning) values[name] = value;
  return values;
}

/// The initialisers of Problem, in the order in which it declares its members.
std::string members_of(const Task& task) {
  std::vector<std::string> members;
  int dim = 0, scalar = 0, tensor = 0;
  for (const DimSpec& spec : task.dims)
    if (!spec.constant) members.push_back(fmt::format("static_cast<int>(d[{}])", dim++));
  for (const ScalarSpec& spec : task.scalars)
    members.push_back(fmt::format("static_cast<{}>(s[{}])", worker::scalar_type(spec.dtype), scalar++));
  for (const TensorSpec& spec : task.tensors) {
    std::vector<std::string> extents;
    for (const std::string& formula : spec.shape) extents.push_back(formula_expression(formula));
    members.push_back(fmt::format("dense(\n          {}, kl::{}, {{{}}})", tensor++, dtype_name(spec.dtype),
                                  fmt::join(extents, ", ")));
  }
  members.push_back(
      "{static_cast<int>(f[0]), static_cast<int>(f[1]), static_cast<int>(f[2]), f[3], "
      "static_cast<int>(f[4])}");
  return fmt::format("\n      {}", fmt::join(members, ",\n      "));
}

/// The dims as doubles, for the tensors' extents.
std::string named_dims(const Task& task) {
  std::string text;
  int dim = 0;
  for (const DimSpec& spec : task.dims)
    text += fmt::format(
        "  const double dim_{} = {};\n  (void)dim_{};\n", spec.name,
        spec.constant ? fmt::format("{}", *spec.constant) : fmt::format("static_cast<double>(d[{}])", dim++),
        spec.name);
  return text;
}

}  // namespace

std::string formula_expression(const std::string& formula) {
  static const std::set<std::string> k_functions{"min", "max", "cdiv", "floor", "sqrt", "exp", "log"};
  std::string text;
  for (std::size_t i = 0; i < formula.size();) {
    std::size_t end = i + 1;
    const auto c = static_cast<unsigned char>(formula[i]);
    if (std::isalpha(c) || c == '_') {
      while (end < formula.size() &&
             (std::isalnum(static_cast<unsigned char>(formula[end])) || formula[end] == '_'))
        ++end;
      const std::string word = formula.substr(i, end - i);
      text += k_functions.contains(word) ? "formula::" + word : "dim_" + word;
    } else if (std::isdigit(c) || c == '.') {
      while (end < formula.size() &&
             (std::isalnum(static_cast<unsigned char>(formula[end])) || formula[end] == '.'))
        ++end;
      const std::string number = formula.substr(i, end - i);
      text += number.find_first_of(".eE") == std::string::npos ? number + ".0" : number;
    } else {
      text += formula[i];
    }
    i = end;
  }
  return text;
}

std::variant<std::string, ClosureProblem> host_plan(const Task& task, const PortfolioArm& arm) {
  auto closure = plan_closure(arm.candidate.source);
  if (const auto* problem = std::get_if<ClosureProblem>(&closure)) return *problem;
  const auto code = plan_code(std::get<std::string>(closure), tunables_of(arm.candidate));
  if (const auto* problem = std::get_if<PlanCodeProblem>(&code)) return ClosureProblem{problem->words};
  const std::string& text = std::get<std::string>(code);
  std::vector<worker::PlanPoint> typed_by;
  for (const auto* workloads : {&task.check, &task.bench})
    for (const Workload& workload : *workloads) typed_by.push_back({.workload = &workload});
  const std::string problem = worker::problem_declaration(task, worker::Form::candidate, typed_by);
  return fmt::format(fmt::runtime(k_begin), fmt::arg("id_short", arm.candidate_id.substr(0, 12)),
                     fmt::arg("origin", origin_of(arm)),
                     fmt::arg("lines", std::count(text.begin(), text.end(), '\n')),
                     fmt::arg("label", arm.label), fmt::arg("name", task.name), fmt::arg("problem", problem),
                     fmt::arg("closure", text)) +
         fmt::format(fmt::runtime(k_end), fmt::arg("label", arm.label), fmt::arg("name", task.name),
                     fmt::arg("named", named_dims(task)), fmt::arg("members", members_of(task)));
}

std::vector<ExportFile> host_plan_headers() {
  std::vector<ExportFile> files;
  for (const worker::HeaderText& header : worker::contract_headers())
    if (header.name == "kernelites/plan.cuh" || header.name == "kernelites/std.cuh")
      files.push_back({"src/" + header.name, header.text});
  for (const char* name : {"plan_shim.h", "plan_arithmetic.h"})
    files.push_back({fmt::format("src/{}", name), export_text(name)});
  return files;
}

}  // namespace kernelites
