// SPDX-License-Identifier: Apache-2.0
// Reading and checking the configuration of model servers.
#include "engine/llm/http_endpoint_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "engine/llm/endpoint_fields.h"

namespace kernelites {
namespace {

namespace fs = std::filesystem;

constexpr const char* k_openai_base_url = "https://api.openai.com/v1";
constexpr const char* k_openai_key_env = "OPENAI_API_KEY";
constexpr const char* k_anthropic_base_url = "https://api.anthropic.com/v1";
constexpr const char* k_anthropic_key_env = "ANTHROPIC_API_KEY";

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::tolower(c); });
  return text;
}

/// Keys in a configuration end up in repositories and logs, so that only the name of a variable or file is taken.
void read_key_source(ObjectReader& reader, HttpEndpointSettings& settings, const fs::path& folder) {
  if (reader.has("api_key")) {
    reader.fail("api_key",
                "is not accepted: put the key into an environment variable and its name into api_key_env");
  }
  settings.api_key_env =
      check_variable_name(reader, "api_key_env", reader.optional<std::string>("api_key_env", ""));
  if (const auto file = reader.optional<std::string>("api_key_file", ""); !file.empty())
    settings.api_key_file = (folder / file).string();
  if (!settings.api_key_file.empty() && !settings.api_key_env.empty())
    reader.fail("api_key_file", "expected either api_key_file or api_key_env");
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

RateLimits read_limits(ObjectReader& parent) {
  RateLimits limits;
  if (!parent.has("limits")) return limits;
  ObjectReader reader(parent.member("limits"), parent.where(), parent.field("limits"));
  limits.requests_per_minute = read_amount(reader, "requests_per_minute", 0, "requests per minute");
  limits.tokens_per_minute = read_amount(reader, "tokens_per_minute", 0, "tokens per minute");
  reader.finish();
  return limits;
}

BreakerPolicy read_breaker(ObjectReader& parent) {
  BreakerPolicy breaker;
  if (!parent.has("breaker")) return breaker;
  ObjectReader reader(parent.member("breaker"), parent.where(), parent.field("breaker"));
  breaker.failures_max =
      static_cast<int>(read_count(reader, "failures_max", breaker.failures_max, 1'000'000));
  breaker.cooldown_first = read_seconds(reader, "cooldown_first_s", breaker.cooldown_first);
  breaker.cooldown_max = read_seconds(reader, "cooldown_max_s", breaker.cooldown_max);
  reader.finish();
  return breaker;
}

void check_parameters(ObjectReader& reader, const char* key, const Json& parameters) {
  if (!parameters.is_object()) reader.fail(key, "expected an object");
  for (const char* ours : {"model", "messages", "input", "system", "stream", "n", "tools", "max_tokens",
                           "max_completion_tokens", "max_output_tokens"}) {
    if (parameters.contains(ours)) reader.fail(key, fmt::format("may not set \"{}\"", ours));
  }
}

ModelShape read_shape(ObjectReader& reader) {
  ModelShape shape;
  shape.model = reader.required<std::string>("model");
  if (shape.model.empty()) reader.fail("model", "expected the name of a model");
  shape.streams = reader.optional<bool>("stream", shape.streams);
  if (reader.has("parameters")) {
    shape.parameters = reader.member("parameters");
    check_parameters(reader, "parameters", shape.parameters);
  }
  if (!reader.has("effort_parameters")) return shape;
  shape.effort_parameters = reader.member("effort_parameters");
  ObjectReader efforts(shape.effort_parameters, reader.where(), reader.field("effort_parameters"));
  for (const char* effort : {"low", "medium", "high"})
    if (efforts.has(effort)) check_parameters(efforts, effort, efforts.member(effort));
  efforts.finish();
  return shape;
}

/// What the kinds have in common.
void read_server(ObjectReader& reader, HttpEndpointSettings& settings, const fs::path& folder) {
  read_key_source(reader, settings, folder);
  settings.api_key_header = reader.optional<std::string>("api_key_header", settings.api_key_header);
  if (!is_header_name(settings.api_key_header)) reader.fail("api_key_header", "expected a header name");
  settings.headers = read_headers(reader);
  settings.shape = read_shape(reader);
  settings.prices = read_prices(reader);
  settings.deadlines = read_deadlines(reader);
  settings.retry = read_retry(reader);
  settings.limits = read_limits(reader);
  settings.breaker = read_breaker(reader);
  settings.in_flight_max =
      static_cast<std::size_t>(read_count(reader, "in_flight_max", 16, k_in_flight_most));
  if (reader.has("proxy"))
    settings.route.proxy = read_url(reader, "proxy", reader.required<std::string>("proxy"));
  if (const auto file = reader.optional<std::string>("ca_file", ""); !file.empty()) {
    settings.route.ca_file = (folder / file).string();
    if (!fs::is_regular_file(settings.route.ca_file))
      reader.fail("ca_file", "expected a file with PEM certificates");
  }
}

Json short_form(const std::string& argument, const char* kind, const char* base_url, const char* key_env) {
  const std::size_t at = std::min(argument.find("@http"), argument.size());
  Json document = {{"kind", kind}, {"model", argument.substr(0, at)}};
  document["base_url"] = at < argument.size() ? argument.substr(at + 1) : base_url;
  if (at == argument.size()) document["api_key_env"] = key_env;
  return document;
}

}  // namespace

HttpEndpointSettings parse_openai(ObjectReader& reader, const fs::path& folder) {
  HttpEndpointSettings settings;
  read_server(reader, settings, folder);
  settings.base_url = read_url(reader, "base_url", reader.required<std::string>("base_url"));
  settings.dialect = reader.optional<std::string>("api", "chat");
  if (settings.dialect != "chat" && settings.dialect != "responses")
    reader.fail("api", "expected \"chat\" or \"responses\"");
  const bool is_openai = settings.base_url.rfind(k_openai_base_url, 0) == 0;
  settings.shape.output_limit_key =
      reader.optional<std::string>("output_limit_key", is_openai ? "max_completion_tokens" : "max_tokens");
  return settings;
}

HttpEndpointSettings parse_anthropic(ObjectReader& reader, const fs::path& folder) {
  HttpEndpointSettings settings;
  settings.kind = "anthropic";
  settings.dialect = "messages";
  settings.api_key_header = "x-api-key";
  settings.base_url =
      read_url(reader, "base_url", reader.optional<std::string>("base_url", k_anthropic_base_url));
  read_server(reader, settings, folder);
  return settings;
}

Json openai_document(const std::string& argument) {
  return short_form(argument, "openai", k_openai_base_url, k_openai_key_env);
}

Json anthropic_document(const std::string& argument) {
  return short_form(argument, "anthropic", k_anthropic_base_url, k_anthropic_key_env);
}

}  // namespace kernelites
