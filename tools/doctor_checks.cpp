// SPDX-License-Identifier: Apache-2.0
// The doctor's lines about machine and worker.
#include "tools/doctor_checks.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>

#include "engine/core/error.h"
#include "engine/core/negative_control.h"
#include "evaluators/child_process.h"
#include "tools/evaluation_requests.h"
#include "tools/seed_table.h"
#include "tools/worker_setup.h"

namespace kernelites {
namespace {

constexpr std::uintmax_t k_megabyte = 1 << 20;
constexpr std::uintmax_t k_disk_bad = 200 * k_megabyte, k_disk_low = 2000 * k_megabyte;
constexpr std::chrono::seconds k_inspection_s_max{60};
constexpr std::size_t k_inspection_bytes_max = 1 << 20;
constexpr double k_smoke_s_max = 60, k_noise_s_max = 40;
constexpr std::size_t k_controls = 2;
constexpr int k_noise_rounds = 60;
/// What timing is open at: the median of a kernel against itself.
constexpr double k_null_max = 0.003;
/// An elite needs twice what the null's interval leaves open, and half a per cent at least.
constexpr double k_elite_gain_min = 0.005;

CheckState state_of(const std::string& word) {
  if (word == "ok") return CheckState::good;
  return word == "warn" ? CheckState::warning : CheckState::bad;
}

std::string read_all(ChildProcess& child) {
  std::string text;
  const auto deadline = std::chrono::steady_clock::now() + k_inspection_s_max;
  while (text.size() < k_inspection_bytes_max && std::chrono::steady_clock::now() < deadline) {
    pollfd ready{.fd = child.stdout_descriptor(), .events = POLLIN, .revents = 0};
    if (::poll(&ready, 1, 200) <= 0) continue;
    char buffer[4096];
    const auto count = ::read(child.stdout_descriptor(), buffer, sizeof buffer);
    if (count <= 0) break;
    text.append(buffer, static_cast<std::size_t>(count));
  }
  return text;
}

/// One kernel of the smoke test and what must become of it.
struct SmokeCase {
  std::string name;
  Candidate candidate;
  bool must_pass = false;
};

std::vector<SmokeCase> smoke_cases(const Task& task, const DataRoot& data) {
  std::vector<SmokeCase> cases;
  for (Seed& seed : find_seeds(task, data)) cases.push_back({seed.name, std::move(seed.candidate), true});
  const std::vector<NegativeControl> controls =
      load_controls(data.tasks() / task.name, seed_folder(task, data));
  for (std::size_t k = 0; k < std::min(k_controls, controls.size()); ++k)
    cases.push_back({controls[k].name, controls[k].candidate, false});
  return cases;
}

}  // namespace

DoctorLine disk_line(const std::filesystem::path& folder, std::uintmax_t free_bytes) {
  DoctorLine line{.subject = "disk",
                  .state = CheckState::good,
                  .found = fmt::format("{} MB free at {}", free_bytes / k_megabyte, folder.string()),
                  .remedy = ""};
  if (free_bytes >= k_disk_low) return line;
  line.state = free_bytes < k_disk_bad ? CheckState::bad : CheckState::warning;
  line.remedy = "make room, or put runs elsewhere with --out: a long run writes some hundred MB";
  return line;
}

DoctorLine check_disk(const std::filesystem::path& folder) {
  std::error_code problem;
  const auto space = std::filesystem::space(folder, problem);
  if (problem)
    return {"disk", CheckState::warning, fmt::format("{}: {}", folder.string(), problem.message()),
            "start it in a folder that can be written"};
  return disk_line(folder, space.available);
}

std::vector<DoctorLine> machine_lines(const std::string& printed) {
  std::vector<DoctorLine> lines;
  try {
    for (const Json& line : Json::parse(printed))
      lines.push_back({line.at("subject").get<std::string>(), state_of(line.at("state").get<std::string>()),
                       line.at("found").get<std::string>(), line.at("remedy").get<std::string>()});
  } catch (const Json::exception&) {
    return {{"worker", CheckState::bad, "it does not say what the machine has",
             "use the worker of this version, and look into --log"}};
  }
  return lines;
}

std::vector<DoctorLine> check_machine(std::vector<std::string> command,
                                      const std::filesystem::path& error_log) {
  command.emplace_back("--inspect");
  try {
    ChildProcess child(command, error_log);
    child.close_stdin();
    return machine_lines(read_all(child));
  } catch (const Error& error) {
    return {{"worker", CheckState::bad, error.what(), "build it, or name it with --worker"}};
  }
}

DoctorLine check_verdicts(Evaluator& evaluator, const Task& task, const DataRoot& data) {
  const std::string device = device_of(evaluator.provenance());
  const Task small = small_task(task, Key::random());
  const std::vector<SmokeCase> cases = smoke_cases(task, data);
  std::map<std::string, Request> requests;
  for (std::size_t k = 0; k < cases.size(); ++k) {
    Request request = request_for(small, device, fmt::format("smoke-{}", k), k_smoke_s_max);
    request.examine = ExamineRequest{.candidate = cases[k].candidate, .key = Key::random()};
    requests.emplace(request.id, std::move(request));
  }
  std::vector<std::string> wrong;
  ask_all(evaluator, requests, [&](const Reply& reply) {
    const SmokeCase& smoke = cases[std::stoul(reply.id.substr(6))];
    const Verdict verdict =
        reply.examination ? reply.examination->verdict : Verdict::failed("worker", "lost", reply.error);
    if (verdict.is_passed == smoke.must_pass && reply.examination) return;
    wrong.push_back(
        fmt::format("{} {}", smoke.name,
                    verdict.is_passed ? "passed" : "failed: " + verdict.stage + "/" + verdict.reason));
  });
  const auto honest =
      std::count_if(cases.begin(), cases.end(), [](const SmokeCase& c) { return c.must_pass; });
  if (wrong.empty())
    return {"verdicts", CheckState::good,
            fmt::format("{} seeds of {} pass, {} wrong kernels are rejected", honest, task.name,
                        static_cast<std::ptrdiff_t>(cases.size()) - honest),
            ""};
  return {"verdicts", CheckState::bad, fmt::format("{}: {}", task.name, fmt::join(wrong, "; ")),
          "do not trust this worker: run tools/test, and kernelites-red-team on the device"};
}

DoctorLine noise_line(const std::vector<NullComparison>& comparisons) {
  double worst = 0, half_width = 0;
  bool covers = true;
  int rounds = 0;
  std::string where;
  for (const NullComparison& comparison : comparisons) {
    const PairedRatio& ratio = comparison.ratio;
    worst = std::max(worst, std::abs(std::expm1(ratio.log_ratio_median)));
    half_width = std::max(half_width, (ratio.log_ratio_high - ratio.log_ratio_low) / 2);
    covers = covers && ratio.log_ratio_low <= 0 && ratio.log_ratio_high >= 0;
    rounds += ratio.rounds;
    where +=
        fmt::format("{}{} ({:.1f} us)", where.empty() ? "" : ", ", comparison.workload, comparison.time_us);
  }
  const double resolvable = std::max(k_elite_gain_min, 2 * half_width);
  DoctorLine line{
      .subject = "noise",
      .state = CheckState::good,
      .found = fmt::format("a kernel differs from itself by {:.2f} % at most; speed-ups from {:.1f} % "
                           "on are resolved (n = {} rounds: {})",
                           100 * worst, 100 * resolvable, rounds, where),
      .remedy = ""};
  if (worst < k_null_max && covers) return line;
  line.state = CheckState::warning;
  line.remedy =
      "end other work on the device, let it cool, and try again: until then only larger gains are believed";
  return line;
}

DoctorLine check_noise(Evaluator& evaluator, const Task& task, const DataRoot& data) {
  const DeviceFacts& facts = evaluator.provenance().device;
  if (facts.is_virtual)
    return {"noise", CheckState::skipped, "times are modelled here and repeat exactly", ""};
  const Candidate candidate = find_seeds(task, data).back().candidate;
  Request request = duel_request(task, device_of(evaluator.provenance()), "null",
                                 {{"candidate", candidate}, {"itself", candidate}}, k_noise_rounds);
  request.deadline_s = k_noise_s_max;
  request.duel->may_stop_early = false;
  const Reply reply = ask_worker(evaluator, request);
  if (!reply.duel || !reply.duel->verdict.is_passed)
    return {"noise", CheckState::bad,
            reply.duel ? reply.duel->verdict.message : "the worker's reply holds no duel",
            "look into --log; kernelites bench shows the same in full"};
  std::vector<NullComparison> comparisons;
  for (const auto& [workload, ratios] : reply.duel->ratio)
    comparisons.push_back({workload, reply.duel->timing.at(workload).front().time_us_median, ratios.front()});
  return noise_line(comparisons);
}

}  // namespace kernelites
