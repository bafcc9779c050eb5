// SPDX-License-Identifier: Apache-2.0
// A search by dice: who is chosen, how fast it is and where it fails is drawn; what follows from that is decided by the
// elite rule.
#include "tests/support/large_run/large_run.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <vector>

#include "archive/archive.h"
#include "archive/elite_rule.h"
#include "engine/core/rng.h"
#include "engine/core/roofline.h"
#include "engine/core/task.h"
#include "engine/search/placement.h"
#include "engine/search/run_config.h"
#include "engine/search/seeds.h"

namespace kernelites {
namespace {

constexpr double k_gain_max = 0.8;  // log: what no kernel of this world exceeds
constexpr double k_half_width = 0.002;
constexpr int k_rounds = 60;
constexpr double k_started_unix_s = 1790000000, k_seconds_each = 6;

struct Ending {
  double share;
  const char* stage;
  const char* reason;
};
constexpr Ending k_failures[] = {{0.07, "compile", "compile_error"},
                                 {0.02, "plan", "plan_unsupported_shape"},
                                 {0.05, "sanitize", "uninitialised"},
                                 {0.02, "sanitize", "race"},
                                 {0.02, "smoke", "crashed"},
                                 {0.06, "check", "numerical_mismatch"},
                                 {0.01, "stress", "not_deterministic"},
                                 {0.01, "probe", "property_violated"}};
constexpr const char* k_rejections[] = {"edit_does_not_apply", "no_code_block", "no_change", "duplicate"};
constexpr const char* k_operators[] = {"refine", "edit", "tune", "crossover", "repair"};
constexpr const char* k_endpoints[] = {"openai:small", "anthropic:large"};

/// What is known of a candidate that was timed.
struct Kernel {
  std::uint64_t ordinal = 0;
  std::string id, source;
  std::vector<double> gains;  // log speed-up over the baseline by workload
  int generation = 0;
};

class Search {
 public:
  Search(const std::filesystem::path& folder, const LargeRun& options)
      : options_(options),
        task_(load_task(options.data / "tasks" / options.task)),
        weights_(workload_weights(task_)),
        rng_(options.seed),
        archive_(Archive::create(folder, record())),
        grid_(archive_.axes()) {
    for (const Workload& workload : task_.bench) {
      workloads_.push_back(workload.name);
      // The fastest kernel of this world stands near its roof.
      const std::vector<Roof> limits = roofs(roofline_counts(task_, workload), provenance().device);
      baseline_us_.push_back(1.15 * std::exp(k_gain_max) * limits.front().time_us);
    }
    for (const Seed& seed : load_seeds(options.data / "kernels_seed" / options.task)) seeds_.push_back(seed);
  }

  void run() {
    if (options_.is_bare) return;
    for (std::size_t i = 0; i < seeds_.size(); ++i) sow(i);
    for (int i = 0; i < options_.variations; ++i, options_.after_each()) vary();
    archive_.set_wall_s(k_seconds_each * static_cast<double>(ordinal_));
    archive_.set_state("stopped");
  }

 private:
  RunRecord record() const {
    RunConfig config;
    config.task = options_.task;
    config.axes = axis_names_of_family(task_.family);
    config.operators = {{"refine", 0.4}, {"edit", 0.2}, {"tune", 0.2}, {"crossover", 0.1}, {"repair", 0.1}};
    config.budget = {.candidates = 2 * options_.variations, .usd = 400};
    return {.seed = options_.seed,
            .task = options_.task,
            .task_digest = task_.digest,
            .task_document = task_.document,
            .reference_source = task_.reference_source,
            .configuration = run_config_json(config),
            .started_unix_s = k_started_unix_s};
  }

  Provenance provenance() const {
    Provenance provenance{
        .task_digest = task_.digest, .harness_version = k_harness_version, .toolkit = "NVRTC 13.0"};
    provenance.device.kind = options_.is_modelled ? "vgpu (models H100)" : "NVIDIA H100 80GB HBM3";
    provenance.device.is_virtual = options_.is_modelled;
    provenance.device.architecture = "sm_90a";
    provenance.device.driver_version = 13000;
    provenance.device.memory_gb_per_s = 2850;
    return provenance;
  }

  double now() const { return k_started_unix_s + k_seconds_each * static_cast<double>(ordinal_); }
  double noise() { return (rng_.uniform() + rng_.uniform() + rng_.uniform() - 1.5) * 1.15; }

  void sow(std::size_t index) {
    ++ordinal_;
    archive_.record_variation({.ordinal = ordinal_, .operator_name = "seed", .created_unix_s = now()});
    Kernel kernel{.ordinal = ordinal_, .id = {}, .source = seeds_[index].candidate.source, .gains = {}};
    const double level = index == 0 ? 0 : -0.4 * static_cast<double>(index);  // the first is the baseline
    kernel.gains.assign(workloads_.size(), level);
    CandidateRecord record{.ordinal = ordinal_, .variation = ordinal_, .candidate = seeds_[index].candidate};
    record.summary = "seed " + seeds_[index].name;
    record.id = candidate_id(record.candidate);
    record.created_unix_s = now();
    archive_.record_candidate(record);
    kernel.id = record.id;
    if (index == 0) baseline_id_ = record.id;
    known_[kernel.id] = kernel;
    std::vector<std::string> arms{kernel.id};
    for (const auto& [id, other] : known_)
      if (id != kernel.id) arms.push_back(id);
    const std::string& cell = grid_.cells()[index * 7 % grid_.cell_count()];
    examine(kernel, cell, "");
    finish(kernel, cell, arms);
  }

  void vary() {
    ++ordinal_;
    const std::vector<Elite> elites = grid_.elites();
    const Elite& chosen = elites[std::max(rng_.below(elites.size()), rng_.below(elites.size()))];
    const Kernel parent = known_.at(rng_.below(3) == 0 ? grid_.best()->candidate_id : chosen.candidate_id);
    const std::string name = k_operators[rng_.weighted({4, 2, 2, 1, 1})];
    const bool asks = name != "tune";
    const std::string endpoint = asks ? k_endpoints[rng_.below(3) == 0 ? 1 : 0] : "";
    archive_.record_variation({.ordinal = ordinal_,
                               .generation = parent.generation + 1,
                               .operator_name = name,
                               .endpoint = endpoint,
                               .parents = {parent.id},
                               .created_unix_s = now(),
                               .prompt_version = asks ? "0123456789ab" : ""});
    Kernel kernel{.ordinal = ordinal_,
                  .id = {},
                  .source = child_source(parent),
                  .gains = {},
                  .generation = parent.generation + 1};
    if (asks) ask(kernel, endpoint);
    if (rng_.below(8) == 0) {
      archive_.record_rejection({.ordinal = ordinal_,
                                 .reason = k_rejections[rng_.weighted({5, 2, 1, 3})],
                                 .message = "the reply held no candidate" + options_.text});
      return;
    }
    propose(kernel);
    judge(kernel, parent);
  }

  std::string child_source(const Kernel& parent) {
    const std::string change = fmt::format("// step {}: wider tiles{}\n", ordinal_, options_.text);
    if (options_.is_small) return "// a kernel\n" + change + "__global__ void kernel() {}\n";
    std::string source = parent.source;
    const std::size_t at = source.find('\n', rng_.below(source.size()));
    return source.insert(at == std::string::npos ? source.size() : at + 1, change);
  }

  void ask(const Kernel& kernel, const std::string& endpoint) {
    ModelCallRecord call{
        .request_id = fmt::format("{}-0", ordinal_), .ordinal = ordinal_, .endpoint = endpoint};
    call.prompt_digest = fmt::format("prompt-{}", ordinal_);
    const std::string filler(options_.is_small ? 40 : 16'000, 'p');
    call.prompt = Json::array({Json{{"role", "user"}, {"text", fmt::format("{} {}", ordinal_, filler)}}});
    call.sent_unix_s = now();
    archive_.record_model_call(call);
    call.model = endpoint;
    call.reply = kernel.source;
    call.input_tokens = 9000;
    call.cached_input_tokens = 6000;
    call.output_tokens = 3500;
    call.usd = endpoint.ends_with("large") ? 0.06 : 0.004;
    call.latency_s = 20;
    archive_.record_model_reply(call);
  }

  void propose(Kernel& kernel) {
    CandidateRecord record{
        .ordinal = ordinal_, .variation = ordinal_, .summary = "Wider tiles" + options_.text};
    record.candidate.source = kernel.source;
    record.id = kernel.id = candidate_id(record.candidate);
    record.prompt_digest = fmt::format("prompt-{}", ordinal_);
    record.created_unix_s = now();
    archive_.record_candidate(record);
  }

  void judge(Kernel& kernel, const Kernel& parent) {
    double draw = rng_.uniform();
    for (const Ending& failure : k_failures) {
      draw -= failure.share;
      if (draw >= 0) continue;
      examine(kernel, "", failure.stage, failure.reason);
      return end("failed", {}, {});
    }
    const std::string& cell =
        grid_.cells()[std::min(rng_.below(grid_.cell_count()), rng_.below(grid_.cell_count()))];
    examine(kernel, cell, "");
    if (rng_.below(25) == 0) return end("duplicate_code", {}, {});
    const double step = 0.07 * noise() - 0.03;
    for (const double gain : parent.gains)
      kernel.gains.push_back(std::min(k_gain_max - 0.02 * rng_.uniform(), gain + step + 0.015 * noise()));
    known_[kernel.id] = kernel;
    std::vector<std::string> arms{baseline_id_};
    const Elite* incumbent = grid_.find(cell);
    for (const std::string& id : {incumbent ? incumbent->candidate_id : parent.id, parent.id})
      if (std::find(arms.begin(), arms.end(), id) == arms.end()) arms.push_back(id);
    finish(kernel, cell, arms);
  }

  /// None of an empty name.
  Descriptors descriptors_of(const std::string& cell) const {
    Descriptors descriptors;
    std::size_t at = 0;
    for (const Axis& axis : grid_.axes()) {
      if (cell.empty()) break;
      const std::size_t next = std::min(cell.find('/', at), cell.size());
      descriptors[std::string(axis.name)] = cell.substr(at, next - at);
      at = next + 1;
    }
    return descriptors;
  }

  void examine(const Kernel& kernel, const std::string& cell, const std::string& stage,
               const std::string& reason = "") {
    Examination examination;
    examination.verdict =
        stage.empty() ? Verdict::passed() : Verdict::failed(stage, reason, "why" + options_.text);
    examination.descriptors = descriptors_of(cell);
    examination.code_digest = fmt::format("code-{}", ordinal_);
    examination.kernels = {
        {.kernel = "decode<64>" + options_.text, .registers = 96 + static_cast<int>(rng_.below(80))}};
    examination.checks = {{.output = "o", .worst_row = 0.002, .gate_row = 0.004, .rows = 536, .trials = 40}};
    for (const char* name :
         {"plan", "compile", "screen", "sanitize", "smoke", "probe", "check", "bench", "stress"})
      examination.stages.push_back({.stage = name,
                                    .outcome = "passed",
                                    .wall_s = 0.1,
                                    .counts = {{"launches", 12}},
                                    .remark = "what was looked at, in one line"});
    for (int i = 0; i < (options_.is_small ? 4 : 40); ++i)
      examination.counts.opcodes[fmt::format("opcode.{}", i)] = static_cast<std::int64_t>(rng_.below(300));
    if (!options_.is_small)
      for (const std::string& workload : workloads_)
        examination.plans[workload].launches = {
            {.kernel = "decode<64>", .grid = {8, 48, 1}, .block = {192, 1, 1}},
            {.kernel = "combine", .grid = {32, 1, 1}, .block = {256, 1, 1}}};
    const std::string request = fmt::format("{}-examine", kernel.ordinal);
    archive_.record_request_sent({.request_id = request, .ordinal = ordinal_, .verb = "examine"});
    archive_.record_examination(request, examination, provenance(), 4, 2.5);
  }

  /// Seeds merge in a launch of their own, others do not.
  std::vector<ModelledLaunch> launches_of(const Kernel& kernel, std::size_t workload) const {
    constexpr double k_merge_us = 4.88;
    const double us = baseline_us_[workload] * std::exp(-kernel.gains[workload]);
    const auto launch = [](const char* name, double time_us) {
      return ModelledLaunch{
          .kernel = name, .time_us = time_us, .limit = "DRAM", .occupancy = 0.5, .waves = 1};
    };
    if (kernel.ordinal > seeds_.size()) return {launch("decode<64>", us)};
    return {launch("decode<64>", us - k_merge_us), launch("combine", k_merge_us)};
  }

  Duel duel_of(const Kernel& kernel, const std::vector<std::string>& arms, double confidence) {
    Duel duel{.verdict = Verdict::passed(), .arms = {"candidate"}};
    for (const std::string& id : arms) duel.arms.push_back(id);
    for (std::size_t w = 0; w < workloads_.size(); ++w) {
      const double base_us = baseline_us_[w];
      const auto timing = [&](double gain) {
        const double us = base_us * std::exp(-gain);
        if (options_.is_modelled)
          return ArmTiming{
              .time_us_median = us, .time_us_p10 = us, .time_us_p90 = us, .samples = 1, .is_modelled = true};
        return ArmTiming{
            .time_us_median = us, .time_us_p10 = 0.99 * us, .time_us_p90 = 1.012 * us, .samples = k_rounds};
      };
      if (options_.is_modelled) duel.modelled[workloads_[w]] = launches_of(kernel, w);
      duel.timing[workloads_[w]] = {timing(kernel.gains[w])};
      for (const std::string& id : arms) {
        const double gain = known_.at(id).gains[w];
        const double ratio = gain - kernel.gains[w] + (options_.is_modelled ? 0 : 0.0005 * noise());
        const double half_width = options_.is_modelled ? 0 : k_half_width;
        duel.timing[workloads_[w]].push_back(timing(gain));
        duel.ratio[workloads_[w]].push_back(
            {ratio, ratio - half_width, ratio + half_width, confidence, options_.is_modelled ? 1 : k_rounds});
      }
    }
    return duel;
  }

  DuelEvidence answer(const Kernel& kernel, const std::vector<std::string>& arms, bool is_confirmation,
                      const std::string& incumbent_id, Duel* duel) {
    const std::string request = fmt::format("{}-duel-{}", ordinal_, is_confirmation ? 1 : 0);
    archive_.record_request_sent(
        {.request_id = request,
         .ordinal = ordinal_,
         .verb = "duel",
         .request = Json{{"arms", arms}, {"rounds", k_rounds}, {"is_confirmation", is_confirmation}}});
    *duel = duel_of(kernel, arms, is_confirmation ? 0.98 : 0.999);
    archive_.record_duel(request, *duel, provenance(), 3, 2.8);
    DuelEvidence evidence{.duel_id = request, .is_passed = true};
    evidence.speedup = speedup_over(*duel, baseline_id_, weights_);
    if (!incumbent_id.empty()) {
      evidence.incumbent_id = incumbent_id;
      evidence.ratio = pooled_ratio(*duel, incumbent_id, weights_);
      evidence.worst_log_ratio = worst_log_ratio(*duel, incumbent_id, weights_);
    }
    return evidence;
  }

  void finish(const Kernel& kernel, const std::string& cell, const std::vector<std::string>& arms) {
    Evidence evidence{.ordinal = ordinal_, .candidate_id = kernel.id, .is_passed = true};
    evidence.descriptors = descriptors_of(cell);
    evidence.provenance = provenance();
    const Elite* incumbent = grid_.find(cell);
    const std::string incumbent_id = incumbent ? incumbent->candidate_id : "";
    Duel duel;
    evidence.duel = answer(kernel, arms, false, incumbent_id, &duel);
    Decision decision = decide_insert(grid_, evidence, {});
    if (decision.status == InsertStatus::unconfirmed) {
      evidence.confirmation = answer(kernel, arms, true, incumbent_id, &duel);
      decision = decide_insert(grid_, evidence, {});
    }
    if (decision.elite) grid_.put(*decision.elite);
    end(insert_status_name(decision.status), decision.elite,
        decision.elite ? crowned(kernel, duel) : std::vector<Champion>());
  }

  std::vector<Champion> crowned(const Kernel& kernel, const Duel& duel) {
    std::vector<Champion> won;
    for (std::size_t w = 0; w < workloads_.size(); ++w) {
      double& best = champions_.try_emplace(workloads_[w], -HUGE_VAL).first->second;
      if (kernel.gains[w] <= best + 0.005) continue;
      best = kernel.gains[w];
      won.push_back({.workload = workloads_[w],
                     .ordinal = ordinal_,
                     .candidate_id = kernel.id,
                     .speedup = std::exp(kernel.gains[w]),
                     .timing = duel.timing.at(workloads_[w]).front(),
                     .duel_id = fmt::format("{}-duel-0", ordinal_)});
    }
    return won;
  }

  void end(const std::string& status, const std::optional<Elite>& elite,
           const std::vector<Champion>& champions) {
    archive_.tell({.ordinal = ordinal_,
                   .status = status,
                   .elite = elite,
                   .champions = champions,
                   .told_unix_s = now()});
    archive_.append_event({{"event", "told"},
                           {"ordinal", ordinal_},
                           {"outcome", status},
                           {"time_s", now() - k_started_unix_s}});
  }

  LargeRun options_;
  Task task_;
  std::map<std::string, double> weights_;
  Rng rng_;
  Archive archive_;
  Grid grid_;
  std::vector<std::string> workloads_;
  std::vector<double> baseline_us_;  // by workload
  std::vector<Seed> seeds_;
  std::map<std::string, Kernel> known_;  // that were timed, by id
  std::map<std::string, double> champions_;
  std::string baseline_id_;
  std::uint64_t ordinal_ = 0;
};

}  // namespace

void write_large_run(const std::filesystem::path& folder, const LargeRun& run) { Search(folder, run).run(); }

}  // namespace kernelites
