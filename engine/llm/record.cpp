// SPDX-License-Identifier: Apache-2.0
// Recordings in and out of JSON.
#include "engine/llm/record.h"

#include <fmt/format.h>

#include <algorithm>
#include <tuple>

#include "engine/core/error.h"
#include "engine/llm/conversation_json.h"

namespace kernelites {
namespace {

constexpr int k_recording_version = 1;

Json call_to_json(const RecordedCall& call) {
  const ModelReply& reply = call.reply;
  Json json = {{"id", reply.id},           {"ordinal", call.ordinal},  {"digest", call.digest},
               {"model", reply.model},     {"text", reply.text},       {"failure", reply.failure},
               {"message", reply.message}, {"usage", Json(reply.cost)}};
  if (!reply.tool_calls.empty()) json["tool_calls"] = reply.tool_calls;
  if (!reply.finish.empty()) json["finish"] = reply.finish;
  if (!call.messages.empty()) json["messages"] = call.messages;
  if (!call.extras.empty()) json["extras"] = call.extras;
  return json;
}

RecordedCall parse_call(const Json& json, const std::string& where, const std::string& path) {
  ObjectReader reader(json, where, path);
  RecordedCall call;
  call.reply.id = reader.required<std::string>("id");
  call.ordinal = reader.required<std::uint64_t>("ordinal");
  call.digest = reader.required<std::string>("digest");
  call.reply.text = reader.required<std::string>("text");
  call.reply.model = reader.optional<std::string>("model", "recorded");
  call.reply.failure = reader.optional<std::string>("failure", "");
  call.reply.message = reader.optional<std::string>("message", "");
  if (reader.has("usage")) call.reply.cost = parse_cost(reader.member("usage"), where, reader.field("usage"));
  call.reply.finish = reader.optional<std::string>("finish", "");
  if (reader.has("tool_calls"))
    call.reply.tool_calls = parse_tool_calls(reader.member("tool_calls"), where, reader.field("tool_calls"));
  if (reader.has("messages"))
    call.messages = parse_messages(reader.member("messages"), where, reader.field("messages"));
  if (reader.has("extras")) call.extras = reader.member("extras");
  reader.finish();
  return call;
}

}  // namespace

RecordedCall recorded_call(const ModelRequest& request, const ModelReply& reply) {
  RecordedCall call{.ordinal = request.ordinal,
                    .digest = prompt_digest(request),
                    .reply = reply,
                    .messages = request.messages,
                    .extras = request_extras(request)};
  call.reply.id = request.id;
  return call;
}

std::string recording_text(std::vector<RecordedCall> calls, const std::vector<std::string>& seeds) {
  std::stable_sort(calls.begin(), calls.end(), [](const RecordedCall& a, const RecordedCall& b) {
    return std::tie(a.ordinal, a.reply.id) < std::tie(b.ordinal, b.reply.id);
  });
  Json document = {{"version", k_recording_version}, {"calls", Json::array()}};
  if (!seeds.empty()) document["seeds"] = seeds;
  for (const RecordedCall& call : calls) document["calls"].push_back(call_to_json(call));
  return document.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

void write_recording(const std::filesystem::path& file, std::vector<RecordedCall> calls) {
  write_text_atomically(file, recording_text(std::move(calls)));
}

std::vector<RecordedCall> parse_recording(std::string_view text, const std::string& where) {
  const Json document = parse_json(text, where);
  ObjectReader reader(document, where);
  if (reader.required<int>("version") != k_recording_version) {
    reader.fail("version", fmt::format("expected {}", k_recording_version));
  }
  const Json& list = reader.member("calls");
  reader.optional<std::vector<std::string>>("seeds", {});
  reader.finish();
  if (!list.is_array()) reader.fail("calls", "expected a list of calls");
  std::vector<RecordedCall> calls;
  for (std::size_t i = 0; i < list.size(); ++i)
    calls.push_back(parse_call(list[i], where, fmt::format("calls[{}]", i)));
  return calls;
}

std::vector<std::string> seeds_of_recording(const std::filesystem::path& file) {
  const Json document = read_json(file);
  return ObjectReader(document, file.string()).optional<std::vector<std::string>>("seeds", {});
}

std::vector<RecordedCall> read_recording(const std::filesystem::path& path) {
  if (!std::filesystem::is_directory(path)) return parse_recording(read_text(path), path.string());
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(path)) {
    if (entry.path().extension() == ".json") files.push_back(entry.path());
  }
  if (files.empty()) throw ConfigError(path.string(), "", "expected a folder with recordings (*.json)");
  std::sort(files.begin(), files.end());
  std::vector<RecordedCall> calls;
  for (const auto& file : files) {
    for (RecordedCall& call : parse_recording(read_text(file), file.string()))
      calls.push_back(std::move(call));
  }
  return calls;
}

void to_json(Json& json, const CallCost& usage) {
  json = {{"input_tokens", usage.input_tokens},
          {"cached_input_tokens", usage.cached_input_tokens},
          {"output_tokens", usage.output_tokens},
          {"usd", usage.usd},
          {"is_estimated", usage.is_estimated}};
  if (usage.reasoning_tokens > 0) json["reasoning_tokens"] = usage.reasoning_tokens;
  if (usage.cache_write_tokens > 0) json["cache_write_tokens"] = usage.cache_write_tokens;
}

CallCost parse_cost(const Json& json, const std::string& where, const std::string& path) {
  ObjectReader reader(json, where, path);
  CallCost usage{.input_tokens = reader.optional<std::int64_t>("input_tokens", 0),
                 .cached_input_tokens = reader.optional<std::int64_t>("cached_input_tokens", 0),
                 .output_tokens = reader.optional<std::int64_t>("output_tokens", 0),
                 .reasoning_tokens = reader.optional<std::int64_t>("reasoning_tokens", 0),
                 .cache_write_tokens = reader.optional<std::int64_t>("cache_write_tokens", 0),
                 .usd = reader.optional<double>("usd", 0),
                 .is_estimated = reader.optional<bool>("is_estimated", false)};
  reader.finish();
  return usage;
}

}  // namespace kernelites
