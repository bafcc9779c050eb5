// SPDX-License-Identifier: Apache-2.0
// kernelites doctor: tries what a run would depend on, and says what to do about what does not work.
#include <fmt/format.h>
#include <stdlib.h>

#include <filesystem>
#include <memory>

#include "engine/llm/endpoint_check.h"
#include "tools/command_line.h"

namespace kernelites {
namespace {

struct DoctorOptions {
  std::string endpoint;
  double timeout_s = 60;
  bool is_json = false;
};

const char* word_of(CheckState state) {
  switch (state) {
    case CheckState::good:
      return "ok";
    case CheckState::warning:
      return "warn";
    case CheckState::bad:
      return "bad";
    case CheckState::skipped:
      return "skip";
  }
  return "";
}

/// A folder for what an endpoint wants to write while it is tried.
class TrialFolder {
 public:
  TrialFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "kernelites-doctor-XXXXXX").string();
    if (::mkdtemp(name.data()) != nullptr) path_ = name;
  }
  ~TrialFolder() {
    std::error_code ignored;
    if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
  }
  TrialFolder(const TrialFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

void examine(const DoctorOptions& options, Program& program) {
  const EndpointConfig config = endpoint_config_from_option(options.endpoint);
  HttpLoop http;
  const TrialFolder folder;
  const EndpointContext context{.http = http, .run_folder = folder.path()};
  const auto timeout = std::chrono::milliseconds(static_cast<std::int64_t>(options.timeout_s * 1000));
  const std::vector<EndpointCheck> checks = check_endpoint(config, context, timeout);
  Json all = Json::array();
  for (const EndpointCheck& check : checks) {
    if (check.state == CheckState::bad) program.exit_code = exit_failed;
    all.push_back({{"subject", check.subject},
                   {"state", word_of(check.state)},
                   {"found", check.found},
                   {"remedy", check.remedy}});
  }
  if (options.is_json) {
    program.out << all.dump(2, ' ', false, Json::error_handler_t::replace) << "\n";
    return;
  }
  for (const EndpointCheck& check : checks) {
    program.out << fmt::format("{:6}{:10}{}\n", word_of(check.state), check.subject, check.found);
    if (!check.remedy.empty()) program.out << fmt::format("{:16}-> {}\n", "", check.remedy);
  }
}

}  // namespace

void add_doctor_command(CLI::App& command, Program& program) {
  const auto options = std::make_shared<DoctorOptions>();
  command
      .add_option("--endpoint", options->endpoint,
                  "as in run; a few tiny calls are made, which cost a little")
      ->required();
  command.add_option("--timeout", options->timeout_s, "seconds for each call")
      ->check(CLI::Range(1.0, 3600.0));
  command.add_flag("--json", options->is_json, "machine-readable");
  command.footer(
      "Example: kernelites doctor --endpoint openai:qwen3-coder@http://localhost:8080/v1\n"
      "Exit code 0: usable, perhaps with warnings; 1: not usable.");
  command.callback([options, &program] { examine(*options, program); });
}

}  // namespace kernelites
