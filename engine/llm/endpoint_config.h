// SPDX-License-Identifier: Apache-2.0
// Which model a run talks to: from the command line or from JSON to a checked configuration.
//
// Command line (`--endpoint`):
//   openai:MODEL            api.openai.com, key in OPENAI_API_KEY
//   openai:MODEL@BASE_URL   any compatible server, no key: openai:qwen3-coder@http://localhost:8080/v1
//   anthropic:MODEL         api.anthropic.com, key in ANTHROPIC_API_KEY; anthropic:MODEL@BASE_URL as above
//   spool[:FOLDER]          files; by default the run folder's spool/
//   replay[:PATH]           recorded replies; by default those that the program carries
//   FILE.json               what follows
//
// JSON, by "kind" (docs/endpoints.md is the page for users); every key is optional unless marked:
//   {"kind": "openai", "base_url": "https://..." (required), "model": "..." (required), "api": "chat" | "responses",
//    "api_key_env": "NAME" or "api_key_file": "FILE", "api_key_header": "Authorization",
//    "headers": {"X-Title": "..."}, "stream": true, "parameters": {"top_p": 0.9},
//    "effort_parameters": {"high": {...}}, "output_limit_key": "max_tokens", "proxy": "http://...", "ca_file": "...",
//    "in_flight_max": 16, "limits": {"requests_per_minute": 500, "tokens_per_minute": 200000},
//    "prices": {"input_usd_per_million": 1.0, "cached_input_usd_per_million": 0.1, "cache_write_usd_per_million": 1.25,
//               "output_usd_per_million": 4.0, "date": "2026-01-31" (required)},
//    "deadlines": {"connect_s": 15, "first_byte_s": 600, "idle_s": 300, "total_s": 900},
//    "retry": {"attempts_max": 6, "backoff_first_s": 1, "backoff_max_s": 60},
//    "breaker": {"failures_max": 10, "cooldown_first_s": 15, "cooldown_max_s": 300}}
//   {"kind": "anthropic", ...the same without api and output_limit_key; base_url has a default}
//   {"kind": "command", "command": ["PROGRAM", "ARGUMENT", ...] (required), "environment": ["NAME"],
//    "readable": ["/opt/agent"], "network": true, "reply": {"text": "/result", "usd": "/total_cost_usd", ...},
//    "model": "...", "usd_max": 0, "total_s": 3600, "scratch_mib_max": 1024, "in_flight_max": 2}
//   {"kind": "spool", "folder": "...", "in_flight_max": 64, "poll_interval_s": 0.2}
//   {"kind": "replay", "recording": "FILE or FOLDER", "match": "digest" | "ordinal" | "cycle"}
//   {"kind": "fallback", "order": [{"kind": ...}, ...] (required)}
// Relative paths are relative to the JSON file. A key's value is never part of a configuration.
#pragma once

#include <filesystem>
#include <string>
#include <variant>
#include <vector>

#include "engine/core/json.h"
#include "engine/llm/command_endpoint.h"
#include "engine/llm/http_endpoint.h"
#include "engine/llm/replay_endpoint.h"
#include "engine/llm/spool_endpoint.h"

namespace kernelites {

struct ReplaySettings {
  std::filesystem::path recording;  ///< empty: the embedded recordings, matched by `match`
  ReplayMatch match = ReplayMatch::digest;
};

struct EndpointConfig;

struct FallbackSettings {
  std::vector<EndpointConfig> order;
};

struct EndpointConfig {
  std::string where;  ///< the file or option it came from, for errors
  std::variant<HttpEndpointSettings, CommandSettings, SpoolSettings, ReplaySettings, FallbackSettings>
      settings;
};

/// Reads the value of `--endpoint`. Throws ConfigError that lists the forms.
EndpointConfig endpoint_config_from_option(const std::string& value,
                                           const std::string& option = "--endpoint");
/// Reads a JSON object at `path` of the document `where`; relative paths start at `folder`. Throws
/// ConfigError.
EndpointConfig parse_endpoint_config(const Json& json, const std::string& where, const std::string& path,
                                     const std::filesystem::path& folder);

}  // namespace kernelites
