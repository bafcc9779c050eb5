// SPDX-License-Identifier: Apache-2.0
// One maker per kind of settings; keys are read here and go nowhere but into the endpoint.
#include "engine/llm/make_endpoint.h"

#include <fmt/format.h>
#include <poll.h>

#include <cstdlib>

#include "engine/core/error.h"
#include "engine/llm/fallback_endpoint.h"

namespace kernelites {
namespace {

struct Maker {
  const std::string& where;
  EndpointContext& context;

  std::unique_ptr<Endpoint> operator()(const HttpEndpointSettings& settings) const {
    return std::make_unique<HttpEndpoint>(settings, read_key(settings, where, context), context.http,
                                          context.clock, Rng::keyed(context.seed, 0, "endpoint_jitter"));
  }
  std::unique_ptr<Endpoint> operator()(CommandSettings settings) const {
    settings.folder = context.run_folder / "agents";
    std::error_code unknown;  // where it cannot be known, agents have no tools
    settings.tool_program = std::filesystem::read_symlink("/proc/self/exe", unknown);
    std::map<std::string, std::string> secrets;
    for (const std::string& name : settings.environment) {
      const std::optional<std::string> value = context.secret(name);
      if (!value || value->empty())
        throw ConfigError(where, "environment", fmt::format("the environment variable {} is not set", name));
      secrets[name] = *value;
    }
    if (const std::string problem = command_problem(settings); !problem.empty())
      throw ConfigError(where, "command", problem);
    return std::make_unique<CommandEndpoint>(std::move(settings), std::move(secrets), context.clock);
  }
  std::unique_ptr<Endpoint> operator()(FallbackSettings settings) const {
    std::vector<std::unique_ptr<Endpoint>> order;
    for (EndpointConfig& config : settings.order) {
      // A server that is left alone must not hold calls that the next endpoint could answer.
      if (auto* server = std::get_if<HttpEndpointSettings>(&config.settings))
        server->fails_when_open = order.size() + 1 < settings.order.size();
      order.push_back(make_endpoint(config, context));
    }
    return std::make_unique<FallbackEndpoint>(std::move(order));
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

}  // namespace

std::string read_key(const HttpEndpointSettings& settings, const std::string& where,
                     const EndpointContext& context) {
  if (!settings.api_key_file.empty()) return key_from_file(settings.api_key_file, where);
  if (settings.api_key_env.empty()) return "";
  return key_from_environment(settings.api_key_env, context.secret, where);
}

HttpResponse wait_for(HttpLoop& http, HttpId id) {
  std::vector<pollfd> nothing;
  while (true) {  // ends: the request has a total deadline
    http.pump();
    if (auto response = http.take(id)) return std::move(*response);
    http.wait(nothing, std::chrono::milliseconds(1000));
  }
}

std::optional<std::string> EndpointContext::environment_secret(const std::string& name) {
  const char* value = std::getenv(name.c_str());
  return value == nullptr ? std::nullopt : std::optional<std::string>(value);
}

std::unique_ptr<Endpoint> make_endpoint(const EndpointConfig& config, EndpointContext context) {
  return std::visit(Maker{config.where, context}, config.settings);
}

void probe_endpoint(const EndpointConfig& config, EndpointContext context,
                    std::chrono::milliseconds timeout) {
  if (const auto* fallback = std::get_if<FallbackSettings>(&config.settings)) {
    for (std::size_t i = 0; i < fallback->order.size(); ++i) {
      try {
        return probe_endpoint(fallback->order[i], context, timeout);
      } catch (const ConfigError&) {  // the next one may do
        if (i + 1 == fallback->order.size()) throw;
      }
    }
  }
  const auto* settings = std::get_if<HttpEndpointSettings>(&config.settings);
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
    const std::string& source =
        settings->api_key_file.empty() ? settings->api_key_env : settings->api_key_file;
    const std::string remedy = source.empty()
                                   ? std::string("wants a key; name its environment variable in api_key_env")
                                   : fmt::format("does not accept the key in {}", source);
    throw ConfigError(config.where, "api_key_env", fmt::format("{} {}", settings->base_url, remedy));
  }
  if (response.status >= 300 && response.status < 400) {
    throw ConfigError(config.where, "base_url",
                      fmt::format("{} redirects elsewhere, which is not followed", settings->base_url));
  }
}

}  // namespace kernelites
