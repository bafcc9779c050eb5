// SPDX-License-Identifier: Apache-2.0
// Both ends of the compile child's channel: toolkit, ready, input, output.
#include "evaluators/worker/nvrtc/compile_child.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <map>

#include "engine/core/digest.h"
#include "engine/core/error.h"
#include "evaluators/worker/sandbox/jail.h"

namespace kernelites::worker {
namespace {

/// Warm children wait this long for work, then end: their supervisor is gone or busy with something else.
constexpr double k_idle_s = 24 * 3600;
constexpr double k_handshake_s = 30;
constexpr double k_quick_ms = 5000;
/// What a compile may use: memory for the largest honest kernels, processor time beyond any deadline, no
/// files.
constexpr ChildLimits k_limits{
    .address_space_bytes = std::uint64_t{4} << 30, .cpu_s = 300, .file_bytes = 0, .open_files = 64};

Json encode(const Toolkit& toolkit) {
  Json folders = Json::array();
  for (const auto& folder : toolkit.include_folders) folders.push_back(folder.string());
  return {
      {"library", toolkit.library.string()}, {"builtins", toolkit.builtins.string()}, {"include", folders}};
}

Toolkit decode_toolkit(const Json& json) {
  Toolkit toolkit{.library = json.at("library").get<std::string>(),
                  .builtins = json.at("builtins").get<std::string>(),
                  .include_folders = {},
                  .version = ""};
  for (const Json& folder : json.at("include"))
    toolkit.include_folders.emplace_back(folder.get<std::string>());
  return toolkit;
}

/// Where the include folders lie for the compiler: elsewhere once the jail has a root of its own.
std::map<std::string, std::string> moved_folders(const Toolkit& toolkit, const JailPolicy& policy) {
  std::map<std::string, std::string> moved;
  for (const auto& folder : toolkit.include_folders)
    moved["-I" + folder.string()] = "-I" + path_within(policy.root, folder).string();
  return moved;
}

/// Folders by their real paths too: a toolkit is a tree of links, and the jail judges where a path ends.
JailPolicy policy_of(const Toolkit& toolkit) {
  std::vector<std::filesystem::path> paths = toolkit.include_folders;
  for (const auto& folder : toolkit.include_folders) {
    std::error_code problem;
    const auto real = std::filesystem::canonical(folder, problem);
    if (!problem && std::find(paths.begin(), paths.end(), real) == paths.end()) paths.push_back(real);
  }
  return compile_jail(std::move(paths));
}

/// Throws Error, with what can be done, unless the jail holds.
void require_jail(const JailReport& jail, bool allows_weak) {
  if (!jail.is_sufficient()) throw Error("the compile child has no jail: " + jail.describe());
  if (jail.has_closed_files() || allows_weak) return;
  throw Error(
      "the compile child could read files: this system has neither Landlock (Linux 5.13) nor user "
      "namespaces; run the worker as root, or accept it with --allow-weak-jail (" +
      jail.describe() + ")");
}

/// Loads what a first compile would load, so that the wait is over before there is work.
void warm_up(const NvrtcLibrary& nvrtc, const std::string& architecture_option) {
  const CompileInput trivial{.source = "__global__ void warm_up(float* x) { *x = 1; }\n",
                             .file_name = "warm_up.cu",
                             .headers = {},
                             .options = {architecture_option},
                             .name_expressions = {},
                             .ptx_only = false};
  compile_in_process(nvrtc, trivial);
}

}  // namespace

int compile_child_main(Channel& channel) {
  const std::optional<Message> setup = channel.receive(k_handshake_s);
  if (!setup) return 1;
  const Toolkit toolkit = decode_toolkit(setup->body);
  // The libraries first: once they are there, a compile reads headers and nothing else.
  const NvrtcLibrary nvrtc = open_nvrtc(toolkit);
  warm_up(nvrtc, "-arch=sm_90a");
  const JailPolicy policy = policy_of(toolkit);
  auto moved = moved_folders(toolkit, policy);
  const JailReport jail = enter_jail(policy);
  require_jail(jail, setup->body.value("allows_weak_jail", false));
  if (!jail.has_root) moved.clear();
  if (!channel.send({.body = {{"ready", true}}, .payload = {}, .descriptors = {}}, k_handshake_s)) return 1;

  const std::optional<Message> work = channel.receive(k_idle_s);
  if (!work) return channel.status() == ChannelStatus::closed ? 0 : 1;
  CompileInput input = decode_compile_input(work->body);
  for (std::string& option : input.options) {
    if (const auto place = moved.find(option); place != moved.end()) option = place->second;
  }
  const CompileOutput output = compile_in_process(nvrtc, input);
  Message answer;
  answer.body = encode(output, answer.payload);
  return channel.send(answer, k_handshake_s) ? 0 : 1;
}

Compiler::Compiler(Toolkit toolkit, std::filesystem::path program, Defences defences, bool allows_weak_jail)
    : toolkit_(std::move(toolkit)),
      program_(std::move(program)),
      defences_(std::move(defences)),
      allows_weak_jail_(allows_weak_jail) {
  for (std::size_t i = 0; i < k_warm_children; ++i) warm_.push_back(start());
}

Child Compiler::start() {
  Child child = Child::start(std::string(k_compile_role), k_limits, program_);
  Json setup = encode(toolkit_);
  setup["allows_weak_jail"] = allows_weak_jail_;
  if (!child.channel().send({.body = setup, .payload = {}, .descriptors = {}}, k_handshake_s)) {
    throw Error(
        fmt::format("the compile child does not take its toolkit ({})", to_string(child.channel().status())));
  }
  return child;
}

Child Compiler::take() {
  const std::lock_guard lock(mutex_);
  warm_.push_back(start());  // the spare for the next compile gets ready while this one runs
  Child child = std::move(warm_.front());
  warm_.pop_front();
  return child;
}

Child Compiler::start_with(const CompileInput& input) {
  const Message message{.body = encode(input), .payload = {}, .descriptors = {}};
  std::string words;
  // What ends before it has the input is no answer to it: a warm child may have been killed while it waited.
  for (int attempt = 0; attempt < 2; ++attempt) {
    Child child = attempt == 0 ? take() : start();
    if (child.channel().receive(k_handshake_s) && child.channel().send(message, k_handshake_s)) return child;
    const std::optional<ChildEnd> end = child.wait(1);
    words = end ? end->words : "no word of it";
  }
  throw Error(fmt::format("the compile child did not start: {}", words));
}

CompileOutput Compiler::compile_once(const CompileInput& input, double deadline_s) {
  const std::string key = digest(encode(input).dump());
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [known, output] : known_)
      if (known == key) return output;  // with the milliseconds of then
  }
  CompileOutput output = compile(input, deadline_s);
  if (!output.ok) return output;
  const std::lock_guard lock(mutex_);
  known_.emplace_back(key, output);
  if (known_.size() > k_outputs_known_max) known_.pop_front();
  return output;
}

CompileOutput Compiler::compile(const CompileInput& input, double deadline_s) {
  CompileOutput output = try_to_compile(input, deadline_s);
  // A crash may have been the machine's (memory that others took): it is believed the second time, if that is quick.
  if (output.failure == "compiler_crash" && output.ms < k_quick_ms)
    output = try_to_compile(input, deadline_s);
  return output;
}

CompileOutput Compiler::try_to_compile(const CompileInput& input, double deadline_s) {
  Child child = start_with(input);
  // The child's own start is not the candidate's time.
  const auto begin = std::chrono::steady_clock::now();
  const std::optional<Message> answer = child.channel().receive(deadline_s);
  if (answer) return decode_compile_output(answer->body, answer->payload);
  const bool is_late = child.channel().status() == ChannelStatus::deadline;
  child.kill();
  CompileOutput output;
  output.failure = is_late ? "compile_deadline" : "compiler_crash";
  output.ms = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
  return output;
}

}  // namespace kernelites::worker
