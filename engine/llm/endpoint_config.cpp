// SPDX-License-Identifier: Apache-2.0
// Reading and checking endpoint configurations: one parse function per kind, in one table.
#include "engine/llm/endpoint_config.h"

#include <fmt/format.h>

#include "engine/core/error.h"
#include "engine/llm/endpoint_fields.h"
#include "engine/llm/http_endpoint_config.h"

namespace kernelites {
namespace {

namespace fs = std::filesystem;

using Settings = decltype(EndpointConfig::settings);

Settings parse_openai_kind(ObjectReader& reader, const fs::path& folder) {
  return parse_openai(reader, folder);
}

Settings parse_anthropic_kind(ObjectReader& reader, const fs::path& folder) {
  return parse_anthropic(reader, folder);
}

std::vector<std::string> read_words(ObjectReader& reader, const char* key) {
  std::vector<std::string> words;
  if (!reader.has(key)) return words;
  const Json& list = reader.member(key);
  if (!list.is_array()) reader.fail(key, "expected a list of strings");
  for (const Json& word : list) {
    if (!word.is_string()) reader.fail(key, "expected a list of strings");
    words.push_back(word.get<std::string>());
  }
  return words;
}

/// A JSON pointer per field of the reply.
CommandReplyFields read_reply_fields(ObjectReader& parent) {
  CommandReplyFields fields;
  if (!parent.has("reply")) return fields;
  ObjectReader reader(parent.member("reply"), parent.where(), parent.field("reply"));
  const auto pointer = [&](const char* key) {
    const auto text = reader.optional<std::string>(key, "");
    if (!text.empty() && text.front() != '/') reader.fail(key, "expected a JSON pointer, e.g. \"/result\"");
    return text;
  };
  fields.text = pointer("text");
  fields.model = pointer("model");
  fields.usd = pointer("usd");
  fields.input_tokens = pointer("input_tokens");
  fields.output_tokens = pointer("output_tokens");
  if (fields.text.empty()) reader.fail("text", "expected a JSON pointer, e.g. \"/result\"");
  reader.finish();
  return fields;
}

Settings parse_command(ObjectReader& reader, const fs::path& folder) {
  CommandSettings settings;
  settings.command = read_words(reader, "command");
  if (settings.command.empty())
    reader.fail("command", "expected a program and its arguments as a list of strings");
  settings.environment = read_words(reader, "environment");
  for (const std::string& name : settings.environment) check_variable_name(reader, "environment", name);
  for (const std::string& path : read_words(reader, "readable")) {
    settings.readable.push_back(folder / path);
    if (!fs::exists(settings.readable.back()))
      reader.fail("readable", fmt::format("{} does not exist", path));
  }
  settings.reply = read_reply_fields(reader);
  settings.model = reader.optional<std::string>("model", settings.model);
  settings.allows_network = reader.optional<bool>("network", settings.allows_network);
  settings.total = read_seconds(reader, "total_s", settings.total);
  constexpr std::int64_t k_mib = 1024 * 1024;
  settings.scratch_bytes_max = static_cast<std::uint64_t>(
      k_mib * read_count(reader, "scratch_mib_max",
                         static_cast<std::int64_t>(settings.scratch_bytes_max) / k_mib, 1024 * 1024));
  settings.usd_max = read_amount(reader, "usd_max", 0, "US dollars that one call can cost at most");
  settings.in_flight_max = static_cast<std::size_t>(read_count(reader, "in_flight_max", 2, k_in_flight_most));
  return settings;
}

Settings parse_fallback(ObjectReader& reader, const fs::path& folder) {
  FallbackSettings settings;
  const Json& order = reader.member("order");
  constexpr std::size_t k_most = 8;
  if (!order.is_array() || order.empty() || order.size() > k_most)
    reader.fail("order", fmt::format("expected a list of 1 to {} endpoints", k_most));
  for (std::size_t i = 0; i < order.size(); ++i) {
    settings.order.push_back(parse_endpoint_config(order[i], reader.where(),
                                                   fmt::format("{}[{}]", reader.field("order"), i), folder));
    if (std::holds_alternative<FallbackSettings>(settings.order.back().settings))
      reader.fail("order", "expected endpoints that are no fallbacks themselves");
  }
  return settings;
}

Settings parse_spool(ObjectReader& reader, const fs::path& folder) {
  SpoolSettings settings;
  if (const auto name = reader.optional<std::string>("folder", ""); !name.empty())
    settings.folder = folder / name;
  settings.in_flight_max =
      static_cast<std::size_t>(read_count(reader, "in_flight_max", 64, k_in_flight_most));
  settings.poll_interval = read_seconds(reader, "poll_interval_s", settings.poll_interval);
  return settings;
}

Settings parse_replay(ObjectReader& reader, const fs::path& folder) {
  ReplaySettings settings;
  if (const auto name = reader.optional<std::string>("recording", ""); !name.empty())
    settings.recording = folder / name;
  // What the program carries was recorded with other prompts, which is why it is never looked up by them.
  const auto match = reader.optional<std::string>("match", settings.recording.empty() ? "ordinal" : "digest");
  if (match == "digest")
    settings.match = ReplayMatch::digest;
  else if (match == "ordinal")
    settings.match = ReplayMatch::ordinal;
  else if (match == "cycle")
    settings.match = ReplayMatch::cycle;
  else
    reader.fail("match", "expected \"digest\", \"ordinal\" or \"cycle\"");
  return settings;
}

struct KindRow {
  const char* kind;
  Settings (*parse)(ObjectReader& reader, const fs::path& folder);
};

constexpr KindRow k_kind_table[] = {{"openai", parse_openai_kind}, {"anthropic", parse_anthropic_kind},
                                    {"command", parse_command},    {"spool", parse_spool},
                                    {"replay", parse_replay},      {"fallback", parse_fallback}};

}  // namespace

EndpointConfig endpoint_config_from_option(const std::string& value, const std::string& option) {
  const std::size_t colon = std::min(value.find(':'), value.size());
  const std::string kind = value.substr(0, colon);
  const std::string argument = colon < value.size() ? value.substr(colon + 1) : "";
  Json document;
  if (kind == "openai" && !argument.empty()) {
    document = openai_document(argument);
  } else if (kind == "anthropic" && !argument.empty()) {
    document = anthropic_document(argument);
  } else if (kind == "spool" || kind == "replay") {
    document = {{"kind", kind}};
    if (!argument.empty()) document[kind == "spool" ? "folder" : "recording"] = argument;
  } else if (fs::path(value).extension() == ".json") {
    return parse_endpoint_config(read_json(value), value, "", fs::path(value).parent_path());
  } else {
    throw ConfigError(option, value,
                      "expected openai:MODEL, openai:MODEL@BASE_URL, anthropic:MODEL, spool[:FOLDER], "
                      "replay[:PATH], FILE.json, or (run) none");
  }
  return parse_endpoint_config(document, option + " " + value, "", "");
}

EndpointConfig parse_endpoint_config(const Json& json, const std::string& where, const std::string& path,
                                     const fs::path& folder) {
  ObjectReader reader(json, where, path);
  const auto kind = reader.required<std::string>("kind");
  std::string known;
  for (const KindRow& row : k_kind_table) {
    known += (known.empty() ? "" : ", ") + std::string(row.kind);
    if (kind != row.kind) continue;
    EndpointConfig config{.where = where, .settings = row.parse(reader, folder)};
    reader.finish();
    return config;
  }
  reader.fail("kind", fmt::format("\"{}\" is not an endpoint; known: {}", kind, known));
}

}  // namespace kernelites
