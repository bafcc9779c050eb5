// SPDX-License-Identifier: Apache-2.0
// The checks of each kind of endpoint, in the order in which one depends on the other.
#include "engine/llm/endpoint_check.h"

#include <fmt/format.h>
#include <poll.h>

#include <algorithm>

#include "engine/core/error.h"
#include "engine/llm/failure_policy.h"
#include "engine/llm/foreign_json.h"
#include "engine/llm/server_check.h"
#include "engine/llm/utf8_text.h"

namespace kernelites {
namespace {

using Checks = std::vector<EndpointCheck>;

EndpointCheck from_error(const std::string& subject, const std::string& words) {
  return {
      .subject = subject, .state = CheckState::bad, .found = words, .remedy = "correct the configuration"};
}

/// One call through the endpoint itself, for those that are no servers.
EndpointCheck call_once(Endpoint& endpoint, std::chrono::milliseconds timeout) {
  endpoint.submit(tiny_request());
  const auto end = std::chrono::steady_clock::now() + timeout;
  std::optional<ModelReply> reply;
  while (!(reply = endpoint.take()) && std::chrono::steady_clock::now() < end) {
    std::vector<pollfd> nothing;
    endpoint.wait(nothing, std::chrono::milliseconds(100));
    endpoint.pump();
  }
  if (!reply) {
    endpoint.cancel(tiny_request().id);
    return {.subject = "call",
            .state = CheckState::bad,
            .found = fmt::format("no answer within {} s", timeout.count() / 1000),
            .remedy = "run the command by hand"};
  }
  if (!reply->failure.empty())
    return {.subject = "call",
            .state = CheckState::bad,
            .found = reply->failure + ": " + reply->message,
            .remedy = failure_policy(reply->failure).remedy};
  return {.subject = "call",
          .found = fmt::format("\"{}\" in {:.1f} s, {:.4f} USD", one_line(reply->text, 60), reply->latency_s,
                               reply->cost.usd)};
}

struct Checker {
  const EndpointConfig& config;
  const EndpointContext& context;
  std::chrono::milliseconds timeout;

  Checks operator()(const HttpEndpointSettings& settings) const {
    return check_server(settings, config.where, context, timeout);
  }
  Checks operator()(const CommandSettings& settings) const {
    Checks checks;
    try {
      const auto endpoint = make_endpoint(config, context);
      checks.push_back({.subject = "jail", .found = "reads and writes outside its folder are refused"});
      checks.push_back(call_once(*endpoint, std::min(timeout, settings.total)));
    } catch (const ConfigError& error) {
      checks.push_back(from_error("command", error.what()));
    }
    if (settings.usd_max == 0)
      checks.push_back({.subject = "prices",
                        .state = CheckState::warning,
                        .found = "none: a budget in USD cannot be kept",
                        .remedy = "say in usd_max what a call can cost at most"});
    return checks;
  }
  Checks operator()(const SpoolSettings&) const {
    return made("folder", "can be written; answers come from outside");
  }
  Checks operator()(const ReplaySettings&) const { return made("recording", "can be read"); }
  Checks operator()(const FallbackSettings& settings) const {
    Checks checks;
    for (std::size_t i = 0; i < settings.order.size(); ++i)
      for (EndpointCheck& check : check_endpoint(settings.order[i], context, timeout)) {
        check.subject = fmt::format("{}. {}", i + 1, check.subject);
        checks.push_back(std::move(check));
      }
    return checks;
  }

  Checks made(const char* subject, const char* words) const {
    try {
      make_endpoint(config, context);
      return {{.subject = subject, .found = words}};
    } catch (const std::exception& error) {
      return {from_error(subject, error.what())};
    }
  }
};

}  // namespace

std::vector<EndpointCheck> check_endpoint(const EndpointConfig& config, EndpointContext context,
                                          std::chrono::milliseconds timeout) {
  return std::visit(Checker{config, context, timeout}, config.settings);
}

}  // namespace kernelites
