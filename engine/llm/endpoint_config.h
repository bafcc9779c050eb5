// SPDX-License-Identifier: Apache-2.0
// Which model a run talks to: from the command line or from JSON to a checked configuration.
//
// Command line (`--endpoint`):
//   openai:MODEL            api.openai.com, key in OPENAI_API_KEY
//   openai:MODEL@BASE_URL   any compatible server, no key: openai:qwen3-coder@http://localhost:8080/v1
//   spool[:FOLDER]          files; by default the run folder's spool/
//   replay[:PATH]           recorded replies; by default those that the program carries
//   FILE.json               what follows
//
// JSON, by "kind"; every other key is optional unless marked:
//   {"kind": "openai", "base_url": "https://..." (required), "model": "..." (required), "api_key_env":
//   "NAME",
//    "api_key_header": "Authorization", "headers": {"X-Title": "..."}, "parameters": {"reasoning_effort":
//    "high"}, "output_limit_key": "max_tokens", "proxy": "http://...", "ca_file": "...", "in_flight_max": 16,
//    "prices": {"input_usd_per_million": 1.0, "cached_input_usd_per_million": 0.1,
//    "output_usd_per_million": 4.0,
//               "date": "2026-01-31"},
//    "deadlines": {"connect_s": 15, "first_byte_s": 600, "idle_s": 120, "total_s": 900},
//    "retry": {"attempts_max": 6, "backoff_first_s": 1, "backoff_max_s": 60}}
//   {"kind": "spool", "folder": "...", "in_flight_max": 64, "poll_interval_s": 0.2}
//   {"kind": "replay", "recording": "FILE or FOLDER", "match": "digest" | "ordinal" | "cycle"}
// Relative paths are relative to the JSON file. A key's value is never part of a configuration.
#pragma once

#include <filesystem>
#include <string>
#include <variant>

#include "engine/core/json.h"
#include "engine/llm/openai_endpoint.h"
#include "engine/llm/replay_endpoint.h"
#include "engine/llm/spool_endpoint.h"

namespace kernelites {

struct ReplaySettings {
  std::filesystem::path recording;  ///< empty: the embedded recordings, matched by `match`
  ReplayMatch match = ReplayMatch::digest;
};

struct EndpointConfig {
  std::string where;  ///< the file or option it came from, for errors
  std::variant<OpenAiSettings, SpoolSettings, ReplaySettings> settings;
};

/// Reads the value of `--endpoint`. Throws ConfigError that lists the forms.
EndpointConfig endpoint_config_from_option(const std::string& value);
/// Reads a JSON object at `path` of the document `where`; relative paths start at `folder`. Throws
/// ConfigError.
EndpointConfig parse_endpoint_config(const Json& json, const std::string& where, const std::string& path,
                                     const std::filesystem::path& folder);

}  // namespace kernelites
