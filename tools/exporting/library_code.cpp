// SPDX-License-Identifier: Apache-2.0
// Writes the order, runs the worker on it, and reads the answer.
#include "tools/exporting/library_code.h"

#include <fmt/format.h>

#include <chrono>

#include "engine/core/error.h"
#include "engine/core/fresh_folder.h"
#include "evaluators/child_process.h"

namespace kernelites {
namespace {

namespace fs = std::filesystem;

/// Three compiles a shape and architecture at most, and 6 ms for each plan of the proof.
constexpr std::chrono::seconds k_deadline{1800};
constexpr std::size_t k_log_words_max = 2000;

Json order_json(const LibraryOrder& order) {
  Json arms = Json::array(), proof = Json::array();
  for (const PortfolioArm& arm : order.portfolio.arms)
    arms.push_back({{"label", arm.label}, {"candidate", arm.candidate}});
  for (const ProofBatch& batch : order.proof)
    proof.push_back({{"device", batch.device}, {"scalars", batch.scalars}, {"shapes", batch.shapes}});
  return {{"kernelites_order", 1},
          {"task", order.task.document},
          {"reference_source", order.task.reference_source},
          {"device", order.device},
          {"architectures", order.architectures},
          {"arms", arms},
          {"tables", order.tables},
          {"scalars", order.scalars},
          {"proof", proof},
          {"with_test", order.has_test}};
}

std::string bytes_of(const std::string& hex) {
  const auto digit = [](char c) { return c >= 'a' ? c - 'a' + 10 : c - '0'; };
  std::string bytes;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2)
    bytes.push_back(static_cast<char>(digit(hex[i]) * 16 + digit(hex[i + 1])));
  return bytes;
}

std::vector<LibraryImage> images_from(const Json& json) {
  std::vector<LibraryImage> images;
  const auto kernels_from = [](const Json& list) {
    std::vector<KernelResources> kernels;
    for (const Json& row : list)
      kernels.push_back({.kernel = row.at("kernel").get<std::string>(),
                         .registers = row.at("registers").get<int>(),
                         .static_shared_bytes = row.at("static_shared_bytes").get<int>(),
                         .local_bytes = row.at("local_bytes").get<int>(),
                         .code_bytes = row.at("code_bytes").get<int>()});
    return kernels;
  };
  for (const auto& [architecture, image] : json.items())
    images.push_back({.architecture = architecture,
                      .cubin = bytes_of(image.at("cubin").get<std::string>()),
                      .lowered = image.value("lowered", std::map<std::string, std::string>()),
                      .kernels = kernels_from(image.value("kernels", Json::array()))});
  return images;
}

ArmCode arm_from(const Json& json) {
  const auto label = json.at("label").get<std::string>();
  if (const auto refused = json.at("refused").get<std::string>(); !refused.empty())
    throw ConfigError("--elite", label, "cannot be exported: " + refused);
  std::vector<PlanRefusal> refusals;
  for (const Json& row : json.at("refusals"))
    refusals.push_back(
        {.batch = row.at(0).get<int>(),
         .shape = row.at(1).get<std::size_t>(),
         .words = json.at("refusal_words").at(row.at(2).get<std::size_t>()).get<std::string>()});
  return {.label = label,
          .images = images_from(json.at("images")),
          .tables = json.at("tables").get<std::vector<std::vector<std::uint64_t>>>(),
          .proof = json.at("proof").get<PlanDigests>(),
          .unsupported = json.at("unsupported").get<std::int64_t>(),
          .invalid = json.at("invalid").get<std::int64_t>(),
          .first_invalid = json.at("first_invalid").get<std::string>(),
          .refusals = std::move(refusals)};
}

}  // namespace

LibraryCode library_code_from(const Json& answer) {
  if (const auto error = answer.at("error").get<std::string>(); !error.empty()) throw Error(error);
  LibraryCode code{.toolkit = answer.at("toolkit").get<std::string>(), .arms = {}, .reference = {}};
  for (const Json& arm : answer.at("arms")) code.arms.push_back(arm_from(arm));
  const Json& test = answer.at("test");
  if (test.is_null()) return code;
  code.harness = images_from(test.at("harness"));
  const auto read_form = [&](const Json& form, std::vector<LibraryImage>& images,
                             std::map<std::string, ReferencePlanWords>& plans) {
    if (form.is_null()) return;
    images = images_from(form.at("images"));
    for (const auto& [workload, plan] : form.at("workloads").items())
      plans[workload] = {.rows = plan.at("rows").get<std::int64_t>(),
                         .words = plan.at("words").get<std::vector<std::uint64_t>>()};
  };
  read_form(test.at("reference"), code.reference, code.reference_plans);
  read_form(test.at("inputs"), code.inputs, code.inputs_plans);
  test.at("draws").get_to(code.draws);
  for (const auto& [workload, tensors] : test.at("fills").items())
    for (const auto& [tensor, fill] : tensors.items())
      code.fills[workload][tensor] = {.order = bytes_of(fill.at("order").get<std::string>()),
                                      .unit = fill.at("unit").get<double>()};
  for (const auto& [workload, outputs] : test.at("compares").items())
    for (const auto& [output, compare] : outputs.items())
      code.compares[workload][output] = {.order = bytes_of(compare.at("order").get<std::string>()),
                                         .columns = compare.at("columns").get<std::int64_t>(),
                                         .parts = compare.at("parts").get<std::int64_t>(),
                                         .chosen = compare.at("chosen").get<std::int64_t>(),
                                         .is_selection = compare.at("is_selection").get<bool>()};
  for (const auto& [workload, draws] : test.at("metadata").items())
    for (const Json& draw : draws)
      code.metadata[workload].push_back(draw.get<std::map<std::string, std::vector<std::int32_t>>>());
  return code;
}

LibraryCode compile_library(const LibraryOrder& order, const fs::path& worker, const std::string& toolkit) {
  const FreshFolder scratch("order");
  const fs::path in = scratch.path() / "order.json", out = scratch.path() / "answer.json",
                 log = scratch.path() / "log";
  write_text_atomically(in, order_json(order).dump());
  std::vector<std::string> command{worker.string(), "--order", in.string(), out.string()};
  if (!toolkit.empty()) command.insert(command.end(), {"--toolkit", toolkit});
  ChildProcess child(command, log);
  if (!child.wait_for_end(k_deadline)) throw Error("the compiler of the export did not end in time");
  if (child.end() != "exit code 0")
    throw Error(fmt::format("the export cannot be compiled here ({}): {}", child.end(),
                            read_text(log).substr(0, k_log_words_max)));
  try {
    return library_code_from(Json::parse(read_text(out)));
  } catch (const Json::exception& error) {
    throw Error(fmt::format("the compiler's answer makes no sense: {}", error.what()));
  }
}

}  // namespace kernelites
