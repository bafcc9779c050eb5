// SPDX-License-Identifier: Apache-2.0
// Key, list of models, a tiny call, streaming, tools, schema, prices.
#include "engine/llm/server_check.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/core/error.h"
#include "engine/llm/failure_policy.h"
#include "engine/llm/foreign_json.h"
#include "engine/llm/utf8_text.h"

namespace kernelites {
namespace {

constexpr const char* k_number_schema =
    R"({"type":"object","properties":{"number":{"type":"integer"}},"required":["number"],"additionalProperties":false})";

/// What one request came to.
struct Tried {
  ModelOutcome outcome;
  HttpResponse response;
  bool is_stream() const {
    const auto type = response.headers.find("content-type");
    return type != response.headers.end() && type->second.rfind("text/event-stream", 0) == 0;
  }
};

struct Server {
  const HttpEndpointSettings& settings;
  const std::string& key;
  HttpLoop& http;
  std::chrono::milliseconds timeout;

  HttpResponse send(const char* path, std::optional<std::string> body) const {
    HttpDeadlines deadlines = settings.deadlines;
    deadlines.total = timeout;
    return wait_for(http, http.add({.url = join_url(settings.base_url, path),
                                    .headers = request_headers(settings, key),
                                    .body = std::move(body),
                                    .route = settings.route,
                                    .deadlines = deadlines}));
  }
  Tried call(const ModelRequest& request, bool streams) const {
    const Dialect& dialect = *find_dialect(settings.dialect);
    ModelShape shape = settings.shape;
    shape.streams = streams;
    Tried tried;
    tried.response = send(dialect.path, dialect.body(request, shape));
    tried.outcome = read_response(tried.response, dialect);
    return tried;
  }
  EndpointCheck failed(const char* subject, const ModelOutcome& outcome,
                       CheckState state = CheckState::bad) const {
    return {.subject = subject,
            .state = state,
            .found = without_secrets(outcome.failure + ": " + outcome.message, settings, key),
            .remedy = failure_policy(outcome.failure).remedy};
  }
};

/// Whether the model is in the server's list. A server without a list is no worse for it.
EndpointCheck check_model(const Server& server, const HttpResponse& response) {
  const std::string& model = server.settings.shape.model;
  const Json document = parse_foreign_json(response.body);
  const Json& list = child_at(document, "data");
  if (response.status / 100 != 2 || !list.is_array())
    return {.subject = "model",
            .state = CheckState::skipped,
            .found = fmt::format("the server has no list of models (HTTP status {})", response.status)};
  std::string others;
  for (std::size_t i = 0; i < list.size(); ++i) {
    const std::string id = text_at(list[i], "id");
    if (id == model) return {.subject = "model", .found = fmt::format("{} is one of {}", model, list.size())};
    constexpr std::size_t k_shown = 5;
    if (i < k_shown) others += (others.empty() ? "" : ", ") + one_line(id, 60);
  }
  return {.subject = "model",
          .state = CheckState::warning,
          .found = fmt::format("{} is not in the list", model),
          .remedy = "check the name; there are, among others: " + others};
}

EndpointCheck check_call(const Tried& tried) {
  const CallCost usage = tried.outcome.usage.value_or(CallCost{});
  const double talking_s = std::max(1e-3, tried.response.seconds - tried.response.first_byte_s);
  std::string found = fmt::format("\"{}\" by {} in {:.2f} s", one_line(tried.outcome.text, 40),
                                  tried.outcome.model.empty() ? "an unnamed model" : tried.outcome.model,
                                  tried.response.seconds);
  if (!tried.outcome.usage)
    return {.subject = "call",
            .state = CheckState::warning,
            .found = found + "; the server reports no usage",
            .remedy = "cost is estimated from the text"};
  // In one piece, the whole answer comes with its first byte: there is no speed to be seen.
  const double speed =
      static_cast<double>(usage.output_tokens) / (tried.is_stream() ? talking_s : tried.response.seconds);
  return {.subject = "call",
          .found = found + fmt::format(", first byte after {:.2f} s, {} tokens in, {} out, {:.1f} tokens/s",
                                       tried.response.first_byte_s, usage.input_tokens, usage.output_tokens,
                                       speed)};
}

EndpointCheck check_stream(const Server& server, const Tried& tried) {
  if (!server.settings.shape.streams)
    return {.subject = "stream", .state = CheckState::skipped, .found = "switched off by the configuration"};
  if (tried.is_stream()) return {.subject = "stream", .found = "works: a stopped answer is noticed"};
  return {.subject = "stream",
          .state = CheckState::warning,
          .found = "the server answers in one piece",
          .remedy = "set stream to false"};
}

EndpointCheck check_tools(const Server& server) {
  ModelRequest request = tiny_request();
  request.messages.back().text = "Report the number 7 with the tool.";
  request.tools = {{.name = "report", .description = "Reports a number.", .parameters = k_number_schema}};
  request.tool_choice = "required";
  const Tried tried = server.call(request, server.settings.shape.streams);
  if (!tried.outcome.failure.empty()) return server.failed("tools", tried.outcome, CheckState::warning);
  const auto& calls = tried.outcome.tool_calls;
  const bool is_called = !calls.empty() && calls.front().name == "report" &&
                         schema_at(calls.front().arguments).contains("number");
  if (is_called)
    return {.subject = "tools", .found = "work: report(" + one_line(calls.front().arguments, 60) + ")"};
  return {.subject = "tools",
          .state = CheckState::warning,
          .found = "the model did not call the tool",
          .remedy = "the agent operator needs them: take another model, or start the server with tools"};
}

EndpointCheck check_schema(const Server& server) {
  ModelRequest request = tiny_request();
  request.messages.back().text = "Give the number 7.";
  request.answer_schema = {.name = "number", .schema = k_number_schema};
  const Tried tried = server.call(request, server.settings.shape.streams);
  if (!tried.outcome.failure.empty()) return server.failed("schema", tried.outcome, CheckState::warning);
  if (schema_at(tried.outcome.text).contains("number"))
    return {.subject = "schema", .found = "works: " + one_line(tried.outcome.text, 60)};
  return {.subject = "schema",
          .state = CheckState::warning,
          .found = "the answer does not follow the schema: " + one_line(tried.outcome.text, 60),
          .remedy = "answers are read as text instead; nothing is lost but tries"};
}

EndpointCheck check_prices(const PriceList& prices) {
  if (prices == PriceList{})
    return {.subject = "prices",
            .state = CheckState::warning,
            .found = "none: a budget in USD cannot be kept",
            .remedy = "set prices with the date on which you looked them up"};
  return {.subject = "prices",
          .found = fmt::format("{} USD in, {} USD out per million tokens, as of {}",
                               prices.input_usd_per_million, prices.output_usd_per_million, prices.date)};
}

std::string key_words(const HttpEndpointSettings& settings) {
  if (!settings.api_key_file.empty()) return "in " + settings.api_key_file;
  return settings.api_key_env.empty() ? "none is sent" : "in " + settings.api_key_env;
}

}  // namespace

ModelRequest tiny_request() {
  return {.id = "doctor-0",
          .messages = {{.role = "user", .text = "Answer with one word: ready"}},
          .output_tokens_max = 2048};  // a thinking model needs room before its word
}

std::vector<EndpointCheck> check_server(const HttpEndpointSettings& settings, const std::string& where,
                                        const EndpointContext& context, std::chrono::milliseconds timeout) {
  std::vector<EndpointCheck> checks;
  std::string key;
  try {
    key = read_key(settings, where, context);
  } catch (const ConfigError& error) {
    return {{.subject = "key",
             .state = CheckState::bad,
             .found = error.what(),
             .remedy =
                 "export the variable, or write the key to a file of mode 0600 and name it in api_key_file"}};
  }
  checks.push_back({.subject = "key", .found = key_words(settings)});
  const Server server{settings, key, context.http, timeout};
  const HttpResponse models = server.send("/models", std::nullopt);
  if (models.failure != HttpFailure::none) {
    checks.push_back(server.failed("server", read_response(models, *find_dialect(settings.dialect))));
    return checks;
  }
  checks.push_back({.subject = "server",
                    .found = fmt::format("{} answers after {:.2f} s", settings.base_url, models.seconds)});
  checks.push_back(check_model(server, models));
  const Tried tried = server.call(tiny_request(), settings.shape.streams);
  if (!tried.outcome.failure.empty() &&
      tried.outcome.failure != "length") {  // one that talks on answers, too
    checks.push_back(server.failed("call", tried.outcome));
    return checks;
  }
  checks.push_back(check_call(tried));
  checks.push_back(check_stream(server, tried));
  checks.push_back(check_tools(server));
  checks.push_back(check_schema(server));
  checks.push_back(check_prices(settings.prices));
  for (EndpointCheck& check : checks) check.found = without_secrets(std::move(check.found), settings, key);
  return checks;
}

}  // namespace kernelites
