// SPDX-License-Identifier: Apache-2.0
// One maker per kind of settings; keys are read here and go nowhere but into the endpoint.
#include "engine/llm/make_endpoint.h"

#include <fmt/format.h>
#include <poll.h>

#include <cctype>
#include <cstdlib>

#include "engine/core/error.h"

namespace kernelites {
namespace {

/// The key, or "" where none is wanted. Throws ConfigError naming the variable, never its value.
std::string read_key(const OpenAiSettings& settings, const std::string& where,
                     const EndpointContext& context) {
  if (settings.api_key_env.empty()) return "";
  std::string key = context.secret(settings.api_key_env).value_or("");
  while (!key.empty() && std::isspace(static_cast<unsigned char>(key.back()))) key.pop_back();
  if (key.empty()) {
    throw ConfigError(where, "api_key_env",
                      fmt::format("the environment variable {} is not set", settings.api_key_env));
  }
  for (unsigned char c : key) {
    if (c > 0x20 && c < 0x7f) continue;
    throw ConfigError(
        where, "api_key_env",
        fmt::format("the environment variable {} does not hold a key: it has spaces or control characters",
                    settings.api_key_env));
  }
  return key;
}

struct Maker {
  const std::string& where;
  EndpointContext& context;

  std::unique_ptr<Endpoint> operator()(const OpenAiSettings& settings) const {
    return std::make_unique<OpenAiEndpoint>(settings, read_key(settings, where, context), context.http,
                                            context.clock, Rng::keyed(context.seed, 0, "endpoint_jitter"));
  }
  std::unique_ptr<Endpoint> operator()(SpoolSettings settings) const {
    if (settings.folder.empty()) settings.folder = context.run_folder / "spool";
    return std::make_unique<SpoolEndpoint>(std::move(settings), context.clock);
  }
  std::unique_ptr<Endpoint> operator()(const ReplaySettings& settings) const {
    if (!settings.recording.empty()) {
      return std::make_unique<ReplayEndpoint>(read_recording(settings.recording), settings.match);
    }
    if (context.recordings.empty()) {
      throw ConfigError(where, "recording", "expected a recording: this program carries none");
    }
    std::vector<RecordedCall> calls;
    for (const EmbeddedFile& file : context.recordings) {
      for (RecordedCall& call : parse_recording(file.text, std::string(file.name)))
        calls.push_back(std::move(call));
    }
    return std::make_unique<ReplayEndpoint>(std::move(calls), settings.match);
  }
};

HttpResponse wait_for(HttpLoop& http, HttpId id) {
  std::vector<pollfd> nothing;
  while (true) {  // ends: the request has a total deadline
    http.pump();
    if (auto response = http.take(id)) return std::move(*response);
    http.wait(nothing, std::chrono::milliseconds(1000));
  }
}

}  // namespace

std::optional<std::string> EndpointContext::environment_secret(const std::string& name) {
  const char* value = std::getenv(name.c_str());
  return value == nullptr ? std::nullopt : std::optional<std::string>(value);
}

std::unique_ptr<Endpoint> make_endpoint(const EndpointConfig& config, EndpointContext context) {
  return std::visit(Maker{config.where, context}, config.settings);
}

void probe_endpoint(const EndpointConfig& config, EndpointContext context,
                    std::chrono::milliseconds timeout) {
  const auto* settings = std::get_if<OpenAiSettings>(&config.settings);
  if (settings == nullptr) return;
  const std::string key = read_key(*settings, config.where, context);
  HttpDeadlines deadlines = settings->deadlines;
  deadlines.total = timeout;
  const HttpResponse response =
      wait_for(context.http, context.http.add({.url = join_url(settings->base_url, "/models"),
                                               .headers = request_headers(*settings, key),
                                               .body = std::nullopt,
                                               .route = settings->route,
                                               .deadlines = deadlines}));
  if (response.failure != HttpFailure::none) {
    const std::string problem = fmt::format("{} does not answer: {}", settings->base_url, response.message);
    throw ConfigError(config.where, "base_url", without_secrets(problem, *settings, key));
  }
  if (response.status == 401 || response.status == 403) {
    const std::string remedy = settings->api_key_env.empty()
                                   ? std::string("wants a key; name its environment variable in api_key_env")
                                   : fmt::format("does not accept the key in {}", settings->api_key_env);
    throw ConfigError(config.where, "api_key_env", fmt::format("{} {}", settings->base_url, remedy));
  }
  if (response.status >= 300 && response.status < 400) {
    throw ConfigError(config.where, "base_url",
                      fmt::format("{} redirects elsewhere, which is not followed", settings->base_url));
  }
}

}  // namespace kernelites
