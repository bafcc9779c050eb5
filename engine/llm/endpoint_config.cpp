// SPDX-License-Identifier: Apache-2.0
// Reading and checking endpoint configurations: one parse function per kind, in one table.
#include "engine/llm/endpoint_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cmath>

#include "engine/core/error.h"

namespace kernelites {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;

constexpr const char* k_openai_base_url = "https://api.openai.com/v1";
constexpr const char* k_openai_key_env = "OPENAI_API_KEY";
constexpr double k_seconds_max = 24 * 3600;
constexpr std::int64_t k_in_flight_max = 256;

using Settings = decltype(EndpointConfig::settings);

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::tolower(c); });
  return text;
}

milliseconds read_seconds(ObjectReader& reader, const char* key, milliseconds fallback) {
  const double seconds = reader.optional<double>(key, static_cast<double>(fallback.count()) / 1000);
  if (!(seconds > 0 && seconds <= k_seconds_max)) {
    reader.fail(key, fmt::format("expected seconds above 0, at most {}", k_seconds_max));
  }
  return milliseconds(std::max<std::int64_t>(1, std::llround(seconds * 1000)));
}

std::int64_t read_count(ObjectReader& reader, const char* key, std::int64_t fallback, std::int64_t max) {
  const auto count = reader.optional<std::int64_t>(key, fallback);
  if (count < 1 || count > max) reader.fail(key, fmt::format("expected 1 to {}", max));
  return count;
}

double read_price(ObjectReader& reader, const char* key, double fallback) {
  const double price = reader.optional<double>(key, fallback);
  if (!(price >= 0 && std::isfinite(price)))
    reader.fail(key, "expected US dollars per million tokens, not negative");
  return price;
}

std::string read_url(ObjectReader& reader, const char* key, const std::string& url) {
  const std::size_t scheme = url.find("://");
  const std::string name = scheme == std::string::npos ? "" : lower(url.substr(0, scheme));
  if ((name != "http" && name != "https") || url.size() == scheme + 3) {
    reader.fail(key, "expected a URL that starts with http:// or https://");
  }
  if (url.find_first_of(" \t\r\n#") != std::string::npos)
    reader.fail(key, "expected a URL without spaces and '#'");
  const std::string authority = url.substr(scheme + 3, url.find_first_of("/?", scheme + 3) - scheme - 3);
  if (authority.find('@') != std::string::npos) {
    reader.fail(key, "expected a URL without a user name or password; keys come from api_key_env");
  }
  return url;
}

/// Keys in a file end up in repositories and logs, so that only the name of a variable is taken.
std::string read_key_name(ObjectReader& reader) {
  if (reader.has("api_key")) {
    reader.fail("api_key",
                "is not accepted: put the key into an environment variable and its name into api_key_env");
  }
  const std::string name = reader.optional<std::string>("api_key_env", "");
  const bool is_name =
      std::all_of(name.begin(), name.end(), [](unsigned char c) { return std::isalnum(c) || c == '_'; });
  // The value is not shown: it may be the key itself.
  if (!is_name || (!name.empty() && std::isdigit(static_cast<unsigned char>(name[0])))) {
    reader.fail("api_key_env",
                "expected the name of an environment variable (letters, digits, '_'), not a key");
  }
  return name;
}

bool is_header_name(const std::string& name) {
  return !name.empty() && std::all_of(name.begin(), name.end(), [](unsigned char c) {
    return std::isalnum(c) || c == '-' || c == '_';
  });
}

std::map<std::string, std::string> read_headers(ObjectReader& parent) {
  std::map<std::string, std::string> headers;
  if (!parent.has("headers")) return headers;
  const Json& json = parent.member("headers");
  ObjectReader reader(json, parent.where(), parent.field("headers"));
  for (const auto& [name, value] : json.items()) {
    const std::string text = reader.required<std::string>(name.c_str());
    if (!is_header_name(name)) reader.fail(name, "expected a header name of letters, digits, '-' and '_'");
    if (text.find_first_of("\r\n") != std::string::npos || text.find('\0') != std::string::npos) {
      reader.fail(name, "expected a value on one line");
    }
    const std::string key = lower(name);
    if (key == "authorization" || key == "proxy-authorization" || key == "cookie" || key == "api-key" ||
        key == "x-api-key") {
      reader.fail(
          name,
          "is not accepted here: a secret comes from api_key_env, its header's name from api_key_header");
    }
    headers[name] = text;
  }
  return headers;
}

PriceList read_prices(ObjectReader& parent) {
  PriceList prices;
  if (!parent.has("prices")) return prices;
  ObjectReader reader(parent.member("prices"), parent.where(), parent.field("prices"));
  prices.input_usd_per_million = read_price(reader, "input_usd_per_million", 0);
  prices.cached_input_usd_per_million =
      read_price(reader, "cached_input_usd_per_million", prices.input_usd_per_million);
  prices.output_usd_per_million = read_price(reader, "output_usd_per_million", 0);
  prices.date = reader.optional<std::string>("date", "");
  reader.finish();
  return prices;
}

HttpDeadlines read_deadlines(ObjectReader& parent) {
  HttpDeadlines deadlines;
  if (!parent.has("deadlines")) return deadlines;
  ObjectReader reader(parent.member("deadlines"), parent.where(), parent.field("deadlines"));
  deadlines.connect = read_seconds(reader, "connect_s", deadlines.connect);
  deadlines.first_byte = read_seconds(reader, "first_byte_s", deadlines.first_byte);
  deadlines.idle = read_seconds(reader, "idle_s", deadlines.idle);
  deadlines.total = read_seconds(reader, "total_s", deadlines.total);
  reader.finish();
  return deadlines;
}

RetryPolicy read_retry(ObjectReader& parent) {
  RetryPolicy retry;
  if (!parent.has("retry")) return retry;
  ObjectReader reader(parent.member("retry"), parent.where(), parent.field("retry"));
  retry.attempts_max = static_cast<int>(read_count(reader, "attempts_max", retry.attempts_max, 100));
  retry.backoff_first = read_seconds(reader, "backoff_first_s", retry.backoff_first);
  retry.backoff_max = read_seconds(reader, "backoff_max_s", retry.backoff_max);
  reader.finish();
  return retry;
}

ChatShape read_shape(ObjectReader& reader, const std::string& base_url) {
  ChatShape shape;
  shape.model = reader.required<std::string>("model");
  if (shape.model.empty()) reader.fail("model", "expected the name of a model");
  const bool is_openai = base_url.rfind(k_openai_base_url, 0) == 0;
  shape.output_limit_key =
      reader.optional<std::string>("output_limit_key", is_openai ? "max_completion_tokens" : "max_tokens");
  if (!reader.has("parameters")) return shape;
  shape.parameters = reader.member("parameters");
  if (!shape.parameters.is_object()) reader.fail("parameters", "expected an object");
  for (const char* ours : {"model", "messages", "stream", "n", "tools"}) {
    if (shape.parameters.contains(ours)) reader.fail("parameters", fmt::format("may not set \"{}\"", ours));
  }
  return shape;
}

Settings parse_openai(ObjectReader& reader, const fs::path& folder) {
  OpenAiSettings settings;
  settings.base_url = read_url(reader, "base_url", reader.required<std::string>("base_url"));
  settings.api_key_env = read_key_name(reader);
  settings.api_key_header = reader.optional<std::string>("api_key_header", settings.api_key_header);
  if (!is_header_name(settings.api_key_header)) reader.fail("api_key_header", "expected a header name");
  settings.headers = read_headers(reader);
  settings.shape = read_shape(reader, settings.base_url);
  settings.prices = read_prices(reader);
  settings.deadlines = read_deadlines(reader);
  settings.retry = read_retry(reader);
  settings.in_flight_max = static_cast<std::size_t>(read_count(reader, "in_flight_max", 16, k_in_flight_max));
  if (reader.has("proxy"))
    settings.route.proxy = read_url(reader, "proxy", reader.required<std::string>("proxy"));
  if (const auto file = reader.optional<std::string>("ca_file", ""); !file.empty()) {
    settings.route.ca_file = (folder / file).string();
    if (!fs::is_regular_file(settings.route.ca_file))
      reader.fail("ca_file", "expected a file with PEM certificates");
  }
  return settings;
}

Settings parse_spool(ObjectReader& reader, const fs::path& folder) {
  SpoolSettings settings;
  if (const auto name = reader.optional<std::string>("folder", ""); !name.empty())
    settings.folder = folder / name;
  settings.in_flight_max = static_cast<std::size_t>(read_count(reader, "in_flight_max", 64, k_in_flight_max));
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

constexpr KindRow k_kind_table[] = {
    {"openai", parse_openai}, {"spool", parse_spool}, {"replay", parse_replay}};

/// The JSON that a short form stands for.
Json openai_document(const std::string& argument) {
  const std::size_t at = std::min(argument.find("@http"), argument.size());
  Json document = {{"kind", "openai"}, {"model", argument.substr(0, at)}};
  document["base_url"] = at < argument.size() ? argument.substr(at + 1) : k_openai_base_url;
  if (at == argument.size()) document["api_key_env"] = k_openai_key_env;
  return document;
}

}  // namespace

EndpointConfig endpoint_config_from_option(const std::string& value) {
  const std::size_t colon = std::min(value.find(':'), value.size());
  const std::string kind = value.substr(0, colon);
  const std::string argument = colon < value.size() ? value.substr(colon + 1) : "";
  Json document;
  if (kind == "openai" && !argument.empty()) {
    document = openai_document(argument);
  } else if (kind == "spool" || kind == "replay") {
    document = {{"kind", kind}};
    if (!argument.empty()) document[kind == "spool" ? "folder" : "recording"] = argument;
  } else if (fs::path(value).extension() == ".json") {
    return parse_endpoint_config(read_json(value), value, "", fs::path(value).parent_path());
  } else {
    throw ConfigError(
        "--endpoint", value,
        "expected openai:MODEL, openai:MODEL@BASE_URL, spool[:FOLDER], replay[:PATH] or FILE.json");
  }
  return parse_endpoint_config(document, "--endpoint " + value, "", "");
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
