// SPDX-License-Identifier: Apache-2.0
// Requests out, replies in, nothing asked twice.
#include "engine/llm/spool_endpoint.h"

#include <fmt/format.h>

#include "engine/core/error.h"
#include "engine/core/json.h"
#include "engine/core/json_shape.h"
#include "engine/llm/conversation_json.h"
#include "engine/llm/foreign_json.h"
#include "engine/llm/poll_wait.h"
#include "engine/llm/record.h"
#include "engine/llm/request_text.h"
#include "engine/llm/utf8_text.h"

namespace kernelites {
namespace {

namespace fs = std::filesystem;

constexpr std::uintmax_t k_reply_bytes_max = 8 * 1024 * 1024;

/// Reads {"text", "tool_calls", "model", "usage", "digest"}. Throws ConfigError naming the file and the field.
ModelReply parse_reply(const std::string& text, const std::string& where, const std::string& digest) {
  if (!is_modest_json(text, k_foreign_depth_max, k_foreign_keys_max))
    throw ConfigError(where, "", "is nested too deeply, or has too many members");
  const Json document = parse_json(text, where);
  ObjectReader reader(document, where);
  ModelReply reply;
  if (reader.has("tool_calls"))
    reply.tool_calls = parse_tool_calls(reader.member("tool_calls"), where, reader.field("tool_calls"));
  reply.finish = reply.tool_calls.empty() ? "stop" : "tool_calls";
  reply.text = reply.tool_calls.empty() ? reader.required<std::string>("text")
                                        : reader.optional<std::string>("text", "");
  reply.model = one_line(reader.optional<std::string>("model", ""), k_model_bytes_max);
  if (reader.optional<std::string>("digest", digest) != digest) {
    reader.fail("digest", fmt::format("expected {}: this answers another prompt", digest));
  }
  if (reader.has("usage")) {
    reply.cost = parse_cost(reader.member("usage"), where, "usage");
  } else {
    reply.cost.is_estimated = true;
  }
  reader.finish();
  return reply;
}

bool is_ready(const fs::path& file) {
  std::error_code ignored;
  const std::uintmax_t size = fs::file_size(file, ignored);
  return !ignored && size > 0;  // an editor makes the empty file first
}

}  // namespace

SpoolEndpoint::SpoolEndpoint(SpoolSettings settings, Clock clock)
    : settings_(std::move(settings)), clock_(std::move(clock)) {
  for (const char* part : {"requests", "replies"}) {
    std::error_code problem;
    fs::create_directories(settings_.folder / part, problem);
    if (problem)
      throw Error(
          fmt::format("{}: cannot be made: {}", (settings_.folder / part).string(), problem.message()));
  }
}

void SpoolEndpoint::submit(ModelRequest request) {
  KERNELITES_ASSERT(is_file_safe(request.id) && !waiting_.contains(request.id));
  Call call{.request = std::move(request), .digest = {}, .submitted = clock_.steady()};
  call.digest = prompt_digest(call.request);
  if (!is_written(call)) write(call);
  const std::string id = call.request.id;
  waiting_.emplace(id, std::move(call));
  next_look_ = clock_.steady();  // the reply of a resumed run may be there
}

void SpoolEndpoint::cancel(const std::string& id) {
  const auto found = waiting_.find(id);
  if (found == waiting_.end()) return;
  std::error_code ignored;
  for (const char* extension : {"json", "md"}) fs::remove(request_file(id, extension), ignored);
  done_.push_back({.id = id, .failure = "cancelled", .message = "the call was cancelled"});
  waiting_.erase(found);
}

void SpoolEndpoint::wait(std::vector<pollfd>& others, std::chrono::milliseconds timeout) {
  if (!done_.empty()) timeout = std::chrono::milliseconds(0);
  if (!waiting_.empty()) {
    timeout = std::min(timeout, std::chrono::ceil<std::chrono::milliseconds>(next_look_ - clock_.steady()));
  }
  poll_wait(others, timeout);
}

void SpoolEndpoint::pump() {
  const Clock::Steady now = clock_.steady();
  if (now < next_look_) return;
  next_look_ = now + settings_.poll_interval;
  for (auto it = waiting_.begin(); it != waiting_.end();) {
    std::optional<ModelReply> reply = look(it->second);
    if (!reply) {
      ++it;
      continue;
    }
    const Call& call = it->second;
    reply->id = call.request.id;
    if (reply->model.empty()) reply->model = "spool";
    if (reply->cost.is_estimated) {
      std::string said = reply->text;
      for (const ToolCall& wanted : reply->tool_calls) said += wanted.name + wanted.arguments;
      reply->cost = estimated_cost(call.request, said);
    }
    reply->latency_s = std::chrono::duration<double>(now - call.submitted).count();
    done_.push_back(std::move(*reply));
    it = waiting_.erase(it);
  }
}

std::optional<ModelReply> SpoolEndpoint::take() {
  if (done_.empty()) return std::nullopt;
  ModelReply reply = std::move(done_.front());
  done_.pop_front();
  return reply;
}

fs::path SpoolEndpoint::request_file(const std::string& id, const char* extension) const {
  return settings_.folder / "requests" / fmt::format("{}.{}", id, extension);
}

fs::path SpoolEndpoint::reply_file(const std::string& id, const char* extension) const {
  return settings_.folder / "replies" / fmt::format("{}.{}", id, extension);
}

bool SpoolEndpoint::is_written(const Call& call) const {
  const std::string& id = call.request.id;
  if (!fs::exists(request_file(id, "json"))) return false;
  const Json old = parse_foreign_json(read_text(request_file(id, "json")));
  std::string old_digest = "unreadable";
  if (old.is_object() && old.contains("digest") && old["digest"].is_string()) old_digest = old["digest"];
  if (!is_file_safe(old_digest)) old_digest = "unreadable";  // it becomes part of a path
  if (old_digest == call.digest) return true;
  std::error_code ignored;  // of four files some are not there
  for (const char* extension : {"json", "md"}) {
    const std::string stale = fmt::format("{}.stale-{}.{}", id, old_digest.substr(0, 8), extension);
    fs::rename(request_file(id, extension), settings_.folder / "requests" / stale, ignored);
    fs::rename(reply_file(id, extension), settings_.folder / "replies" / stale, ignored);
  }
  return false;
}

void SpoolEndpoint::write(const Call& call) const {
  write_text_atomically(
      request_file(call.request.id, "md"),
      fmt::format("<!-- Request {0}. Write the answer to ../replies/{0}.md.tmp, then rename it to "
                  "../replies/{0}.md. -->\n",
                  call.request.id) +
          request_markdown(call.request));
  write_text_atomically(request_file(call.request.id, "json"), request_json(call.request, call.digest));
}

std::optional<ModelReply> SpoolEndpoint::look(const Call& call) const {
  for (const char* extension : {"json", "md"}) {
    const fs::path file = reply_file(call.request.id, extension);
    if (!is_ready(file)) continue;
    ModelReply reply;
    reply.cost.is_estimated = true;
    try {
      if (fs::file_size(file) > k_reply_bytes_max) {
        reply.failure = "reply_too_big";
        reply.message = fmt::format("{} is longer than {} bytes", file.string(), k_reply_bytes_max);
      } else if (std::string_view(extension) == "json") {
        reply = parse_reply(read_text(file), file.string(), call.digest);
      } else {
        reply.text = valid_utf8(read_text(file));
        reply.finish = "stop";
      }
    } catch (const ConfigError& error) {  // what came from outside is a failed call, not a run in trouble
      reply.failure = "malformed_reply";
      reply.message = error.what();
    }
    return reply;
  }
  return std::nullopt;
}

}  // namespace kernelites
