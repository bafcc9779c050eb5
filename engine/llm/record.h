// SPDX-License-Identifier: Apache-2.0
// Recordings: the model calls of a run as JSON, to be replayed without a model.
//
// A recording is one JSON file, or a folder whose *.json files are read in the order of their names:
//   {"version": 1, "seeds": ["split_kv.cu"], "calls": [
//     {"id": "12-0", "ordinal": 12, "digest": "<prompt digest>", "model": "m", "text": "...",
//      "failure": "", "message": "", "usage": {"input_tokens": 1, "cached_input_tokens": 0, "output_tokens":
//      2, "usd": 0.0, "is_estimated": false}, "messages": [{"role": "user", "text": "..."}]}]}
// `seeds` names the kernels that the run began with, if not all of its task. Only id, ordinal, digest and text must be
// there. A reply may have "tool_calls" and "finish". `messages` and `extras` (conversation_json.h) are for readers;
// replay does not need them.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "engine/core/json.h"
#include "engine/llm/endpoint.h"

namespace kernelites {

/// One call and how it ended. `reply.id` is the call's id; latency and attempts are not recorded.
struct RecordedCall {
  std::uint64_t ordinal = 0;
  std::string digest;  ///< prompt_digest of the request
  ModelReply reply;
  std::vector<ChatMessage> messages;  ///< may be empty
  Json extras = Json::object();       ///< `request_extras` of the request
};

/// A call as it goes into a recording.
RecordedCall recorded_call(const ModelRequest& request, const ModelReply& reply);

/// The whole recording as text, ordered by ordinal and id whatever the order of `calls`; `seeds` are left out if empty.
std::string recording_text(std::vector<RecordedCall> calls, const std::vector<std::string>& seeds = {});
/// Writes `recording_text` to a file, atomically. Throws Error.
void write_recording(const std::filesystem::path& file, std::vector<RecordedCall> calls);

/// Reads one document. Throws ConfigError with `where` and the field.
std::vector<RecordedCall> parse_recording(std::string_view text, const std::string& where);
/// The names under "seeds" of a recording that is one file; empty if it has none. Throws ConfigError.
std::vector<std::string> seeds_of_recording(const std::filesystem::path& file);
/// Reads a file, or all *.json files of a folder. Throws ConfigError, also for a folder without any.
std::vector<RecordedCall> read_recording(const std::filesystem::path& path);

void to_json(Json& json, const CallCost& usage);
/// Reads what `to_json` writes: an object whose members are all optional, refusing unknown ones. Throws ConfigError.
CallCost parse_cost(const Json& json, const std::string& where, const std::string& path);

}  // namespace kernelites
