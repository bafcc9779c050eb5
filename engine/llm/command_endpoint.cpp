// SPDX-License-Identifier: Apache-2.0
// The life of a jailed call: a folder, a process, a reply, and nothing left.
#include "engine/llm/command_endpoint.h"

#include <fmt/format.h>
#include <poll.h>

#include <algorithm>
#include <cstdlib>

#include "engine/core/error.h"
#include "engine/core/json.h"
#include "engine/llm/poll_wait.h"
#include "engine/llm/request_text.h"
#include "engine/llm/secret_text.h"
#include "engine/llm/utf8_text.h"

namespace kernelites {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;

constexpr milliseconds k_measure_interval{1000};
constexpr const char* k_path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Bytes of all files, as far as they can be seen; stops counting beyond `most`.
std::uint64_t bytes_in(const fs::path& folder, std::uint64_t most) {
  std::error_code problem;
  std::uint64_t bytes = 0, files = 0;
  constexpr std::uint64_t k_bytes_per_file = 4096;
  for (auto it = fs::recursive_directory_iterator(folder, problem);
       !problem && it != fs::recursive_directory_iterator() && bytes + files * k_bytes_per_file <= most;
       it.increment(problem)) {
    ++files;
    std::error_code ignored;
    if (it->is_regular_file(ignored) && !it->is_symlink(ignored)) {
      const std::uintmax_t size = it->file_size(ignored);
      if (!ignored) bytes += size;
    }
  }
  return bytes + files * k_bytes_per_file;
}

/// What the program may have done to modes must not keep its folder from being removed.
void remove_folder(const fs::path& folder) {
  std::error_code ignored;
  fs::remove_all(folder, ignored);
  if (!fs::exists(folder, ignored)) return;
  for (auto it = fs::recursive_directory_iterator(folder, ignored);
       !ignored && it != fs::recursive_directory_iterator(); it.increment(ignored)) {
    std::error_code problem;
    if (!it->is_symlink(problem)) fs::permissions(it->path(), fs::perms::owner_all, problem);
  }
  ignored.clear();
  fs::remove_all(folder, ignored);
}

JailedCommand jailed(const CommandSettings& settings, const fs::path& scratch) {
  return {.command = settings.command,
          .environment = {{"PATH", k_path},
                          {"HOME", scratch.string()},
                          {"TMPDIR", (scratch / "tmp").string()},
                          {"LANG", "C.UTF-8"},
                          {"TERM", "dumb"}},
          .scratch = scratch,
          .readable = settings.readable,
          .allows_network = settings.allows_network,
          .output_bytes_max = settings.output_bytes_max};
}

fs::path make_scratch(const fs::path& folder, const std::string& name) {
  const fs::path scratch = fs::absolute(folder) / name;
  remove_folder(scratch);  // of a run that was killed
  std::error_code problem;
  fs::create_directories(scratch / "tmp", problem);
  if (problem) throw Error(fmt::format("{}: cannot be made: {}", scratch.string(), problem.message()));
  return fs::canonical(scratch);
}

void wait_for(JailedProcess& process, milliseconds timeout) {
  const auto end = std::chrono::steady_clock::now() + timeout;
  while (!process.has_ended() && std::chrono::steady_clock::now() < end) {
    std::vector<pollfd> descriptors;
    process.add_descriptors(descriptors);
    poll_wait(descriptors, milliseconds(20));
    process.pump();
  }
  process.kill();
}

/// The text at a pointer: of a string itself, of anything else its JSON; "" where there is nothing.
std::string text_at_pointer(const Json& document, const std::string& pointer) {
  if (pointer.empty()) return "";
  const Json::json_pointer where(pointer);
  if (!document.contains(where)) return "";
  const Json& value = document.at(where);
  return value.is_string() ? value.get<std::string>() : value.dump();
}

double number_at_pointer(const Json& document, const std::string& pointer) {
  const double number = std::strtod(text_at_pointer(document, pointer).c_str(), nullptr);
  return number >= 0 && number < 1e15 ? number : 0;
}

}  // namespace

std::string command_problem(const CommandSettings& settings) {
  const fs::path outside = fs::absolute(settings.folder);
  const fs::path scratch = make_scratch(outside, "jail-check");
  write_text_atomically(outside / "outside.txt", "secret");
  JailedCommand probe = jailed(settings, scratch);
  probe.command = {
      "/bin/sh", "-c",
      "echo in > inside.txt || exit 3; cat ../outside.txt && exit 4; echo out > ../outside.txt && exit "
      "5; chmod 0777 ../outside.txt && exit 6; exit 0"};
  constexpr milliseconds k_patience{10'000};
  JailedProcess process(std::move(probe));
  wait_for(process, k_patience);
  const JailedEnd end = process.end();
  remove_folder(scratch);
  std::error_code ignored;
  fs::remove(outside / "outside.txt", ignored);
  if (end.is_clean()) return "";
  const std::string what =
      end.jail_problem.empty() ? fmt::format("the jail leaks ({})", end.words()) : end.jail_problem;
  return fmt::format(
      "a command is run only in a jail, which cannot be had here: {}. Needed are Linux 6.2 or later with "
      "Landlock, and "
      "root or user namespaces (docs/endpoints.md)",
      what);
}

CommandEndpoint::CommandEndpoint(CommandSettings settings, std::map<std::string, std::string> secrets,
                                 Clock clock)
    : settings_(std::move(settings)), secrets_(std::move(secrets)), clock_(std::move(clock)) {
  fs::create_directories(settings_.folder);
}

CommandEndpoint::~CommandEndpoint() {
  for (const auto& call : calls_) {
    call->process.reset();
    if (!call->scratch.empty()) remove_folder(call->scratch);
  }
}

void CommandEndpoint::submit(ModelRequest request) {
  calls_.push_back(std::make_unique<Call>(Call{.request = std::move(request), .submitted = clock_.steady()}));
  if (running() < capacity()) start(*calls_.back());
}

void CommandEndpoint::cancel(const std::string& id) {
  const auto found =
      std::find_if(calls_.begin(), calls_.end(), [&](const auto& call) { return call->request.id == id; });
  if (found == calls_.end()) return;
  finish(**found, {.failure = "cancelled", .message = "the call was cancelled"});
  calls_.erase(found);
}

void CommandEndpoint::wait(std::vector<pollfd>& others, milliseconds timeout) {
  const std::size_t theirs = others.size();
  for (const auto& call : calls_)
    if (call->process) call->process->add_descriptors(others);
  poll_wait(others, std::min(timeout, due_in()));
  others.resize(theirs);
}

milliseconds CommandEndpoint::due_in() const {
  if (!done_.empty()) return milliseconds(0);
  // A program's end shows on its pipes; where another endpoint does the waiting, they are looked at this often.
  constexpr milliseconds k_look{50};
  return calls_.empty() ? milliseconds(std::chrono::hours(1)) : k_look;
}

void CommandEndpoint::pump() {
  const Clock::Steady now = clock_.steady();
  for (auto it = calls_.begin(); it != calls_.end();) {
    Call& call = **it;
    if (!call.process && running() < capacity()) start(call);
    std::optional<ModelReply> reply = advance(call, now);
    if (reply) finish(call, std::move(*reply));
    it = reply ? calls_.erase(it) : std::next(it);
  }
}

std::optional<ModelReply> CommandEndpoint::take() {
  if (done_.empty()) return std::nullopt;
  ModelReply reply = std::move(done_.front());
  done_.pop_front();
  return reply;
}

void CommandEndpoint::start(Call& call) {
  KERNELITES_ASSERT(is_file_safe(call.request.id));
  call.scratch = make_scratch(settings_.folder, call.request.id);
  write_text_atomically(call.scratch / "request.md", request_markdown(call.request));
  write_text_atomically(call.scratch / "request.json",
                        request_json(call.request, prompt_digest(call.request)));
  JailedCommand command = jailed(settings_, call.scratch);
  for (const auto& [name, value] : secrets_) command.environment[name] = value;
  command.input = request_markdown(call.request);
  call.process = std::make_unique<JailedProcess>(std::move(command));
  call.next_measure = clock_.steady() + k_measure_interval;
}

std::optional<ModelReply> CommandEndpoint::advance(Call& call, Clock::Steady now) {
  if (call.process) call.process->pump();
  if (call.process && call.process->has_ended()) return read_reply(call);
  if (now >= call.submitted + settings_.total) {
    const double seconds = std::chrono::duration<double>(settings_.total).count();
    return ModelReply{.failure = "timeout",
                      .message = fmt::format("the command did not end within {} s and was killed", seconds)};
  }
  if (!call.process || now < call.next_measure) return std::nullopt;
  call.next_measure = now + k_measure_interval;
  if (bytes_in(call.scratch, settings_.scratch_bytes_max) <= settings_.scratch_bytes_max) return std::nullopt;
  return ModelReply{
      .failure = "reply_too_big",
      .message = fmt::format("the command filled its folder with more than {} bytes and was killed",
                             settings_.scratch_bytes_max)};
}

ModelReply CommandEndpoint::read_reply(const Call& call) const {
  const JailedProcess& process = *call.process;
  ModelReply reply;
  if (process.has_flooded()) {
    reply.failure = "reply_too_big";
    reply.message =
        fmt::format("the command printed more than {} bytes and was killed", settings_.output_bytes_max);
    return reply;
  }
  if (!process.end().is_clean()) {
    reply.failure = process.end().jail_problem.empty() ? "command_failed" : "no_jail";
    const std::string& errors = process.errors();
    constexpr std::size_t k_shown = 300;
    reply.message = fmt::format(
        "the command ended with {}: {}", process.end().words(),
        one_line(std::string_view(errors).substr(errors.size() - std::min(errors.size(), k_shown))));
    return reply;
  }
  reply.text = valid_utf8(process.output());
  reply.finish = "stop";
  reply.usage = estimated_usage(call.request, reply.text);
  if (const CommandReplyFields& fields = settings_.reply; !fields.text.empty()) {
    const Json document = Json::parse(reply.text, nullptr, /*allow_exceptions=*/false);
    reply.text = document.is_discarded() ? "" : text_at_pointer(document, fields.text);
    reply.model = document.is_discarded() ? "" : text_at_pointer(document, fields.model);
    if (reply.text.empty()) {
      reply.failure = "malformed_reply";
      reply.message =
          fmt::format("the command's output has no {}: {}", fields.text, one_line(process.output()));
    } else {
      // What the output does not tell stays an estimate.
      reply.usage = estimated_usage(call.request, reply.text);
      if (!fields.input_tokens.empty())
        reply.usage.input_tokens =
            static_cast<std::int64_t>(number_at_pointer(document, fields.input_tokens));
      if (!fields.output_tokens.empty())
        reply.usage.output_tokens =
            static_cast<std::int64_t>(number_at_pointer(document, fields.output_tokens));
      if (!fields.usd.empty()) reply.usage.usd = number_at_pointer(document, fields.usd);
      reply.usage.is_estimated = fields.usd.empty();
    }
  } else if (reply.text.empty()) {
    reply.failure = "empty_reply";
    reply.message = "the command printed nothing";
  }
  return reply;
}

void CommandEndpoint::finish(const Call& call, ModelReply reply) {
  if (call.process) call.process->kill();
  if (!call.scratch.empty()) remove_folder(call.scratch);
  reply.id = call.request.id;
  if (reply.model.empty()) reply.model = settings_.model;
  reply.latency_s = std::chrono::duration<double>(clock_.steady() - call.submitted).count();
  for (const auto& [name, secret] : secrets_) {
    blot_out(reply.text, secret);
    blot_out(reply.message, secret);
  }
  // What a command that failed has spent it tells nobody: the most that it can cost, or no cap would ever end it.
  if (!reply.failure.empty() && call.process) {
    reply.usage = estimated_usage(call.request, reply.text);
    reply.usage.usd = settings_.usd_max;
  }
  done_.push_back(std::move(reply));
}

std::size_t CommandEndpoint::running() const {
  return static_cast<std::size_t>(
      std::count_if(calls_.begin(), calls_.end(), [](const auto& call) { return call->process != nullptr; }));
}

}  // namespace kernelites
