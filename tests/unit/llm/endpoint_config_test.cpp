// SPDX-License-Identifier: Apache-2.0
// Configurations: what is read, and for everything wrong a sentence that names file, field and expectation.
#include "engine/llm/endpoint_config.h"

#include <fstream>

#include "engine/core/error.h"
#include "engine/llm/make_endpoint.h"
#include "tests/support/catch.h"
#include "tests/support/fake_openai_server.h"
#include "tests/support/temporary_folder.h"

using namespace kernelites;
using namespace std::chrono_literals;

namespace {

EndpointConfig parse(const std::string& text) {
  return parse_endpoint_config(parse_json(text, "run.json"), "run.json", "endpoint", "");
}

HttpEndpointSettings openai(const EndpointConfig& config) {
  return std::get<HttpEndpointSettings>(config.settings);
}

/// The sentence of the ConfigError that `act` throws.
template <typename Act>
std::string problem_of(Act act) {
  try {
    act();
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "nothing thrown";
}

/// A context whose environment holds KEY only.
struct Surroundings {
  HttpLoop http;
  TemporaryFolder folder;
  EndpointContext context() {
    return {.http = http, .run_folder = folder.path(), .secret = [](const std::string& name) {
              return name == "KEY" ? std::optional<std::string>("sk-0123456789\n") : std::nullopt;
            }};
  }
};

}  // namespace

TEST_CASE("every wrong configuration is named by file, field and expectation") {
  const struct {
    const char* text;
    const char* problem;
  } cases[] = {
      {R"([])", "run.json: endpoint: expected an object"},
      {R"({})", "endpoint.kind: is missing"},
      {R"({"kind": "gpt"})",
       "endpoint.kind: \"gpt\" is not an endpoint; known: openai, anthropic, command, spool, replay, "
       "fallback"},
      {R"({"kind": "openai", "model": "m"})", "endpoint.base_url: is missing"},
      {R"({"kind": "openai", "base_url": "http://h"})", "endpoint.model: is missing"},
      {R"({"kind": "openai", "modle": "m"})", "endpoint.modle: is not a known key; expected \"model\""},
      {R"({"kind": "openai", "base_url": "http://h", "model": ""})", "endpoint.model: expected the name"},
      {R"({"kind": "openai", "base_url": "h:80", "model": "m"})",
       "endpoint.base_url: expected a URL that starts"},
      {R"({"kind": "openai", "base_url": "ftp://h", "model": "m"})",
       "endpoint.base_url: expected a URL that starts"},
      {R"({"kind": "openai", "base_url": "http://u:p@h", "model": "m"})",
       "endpoint.base_url: expected a URL without a user"},
      {R"({"kind": "openai", "base_url": "http://h", "model": "m", "modle": 1})",
       "endpoint.modle: is not a known key"},
      {R"({"kind": "openai", "base_url": "http://h", "model": "m", "api_key": "sk-1"})",
       "endpoint.api_key: is not accepted"},
      {R"({"kind": "openai", "base_url": "http://h", "model": "m", "api_key_env": "sk-1"})",
       "endpoint.api_key_env: expected the name of an environment variable"},
      {R"({"kind": "openai", "base_url": "http://h", "model": "m", "headers": {"Authorization": "x"}})",
       "endpoint.headers.Authorization: is not accepted"},
      {R"({"kind": "openai", "base_url": "http://h", "model": "m", "headers": {"X": "a\r\nB: c"}})",
       "endpoint.headers.X: expected a value on one line"},
      {R"({"kind": "openai", "base_url": "http://h", "model": "m", "headers": {"X: y": "a"}})",
       "endpoint.headers.X: y: expected a header name"},
      {R"({"kind": "openai", "base_url": "http://h", "model": "m", "parameters": {"stream": true}})",
       "endpoint.parameters: may not set \"stream\""},
      {R"({"kind": "openai", "base_url": "http://h", "model": "m", "prices": {"output_usd_per_million": -1}})",
       "endpoint.prices.output_usd_per_million: expected US dollars"},
      {R"({"kind": "openai", "base_url": "http://h", "model": "m", "deadlines": {"idle_s": 0}})",
       "endpoint.deadlines.idle_s: expected seconds above 0"},
      {R"({"kind": "openai", "base_url": "http://h", "model": "m", "retry": {"attempts_max": 0}})",
       "endpoint.retry.attempts_max: expected 1 to 100"},
      {R"({"kind": "openai", "base_url": "http://h", "model": "m", "in_flight_max": 1000})",
       "endpoint.in_flight_max: expected 1 to 256"},
      {R"({"kind": "openai", "base_url": "http://h", "model": "m", "in_flight_max": 1.5})",
       "endpoint.in_flight_max: expected a whole number"},
      {R"({"kind": "openai", "base_url": "http://h", "model": "m", "ca_file": "no.pem"})",
       "endpoint.ca_file: expected a file"},
      {R"({"kind": "spool", "dir": "x"})",
       "endpoint.dir: is not a known key; known here: folder, in_flight_max, kind, poll_interval_s"},
      {R"({"kind": "replay", "match": "fuzzy"})",
       "endpoint.match: expected \"digest\", \"ordinal\" or \"cycle\""},
  };
  for (const auto& c : cases) {
    CAPTURE(c.text);
    const std::string problem = problem_of([&] { parse(c.text); });
    CHECK(problem.find("run.json: ") == 0);
    CHECK(problem.find(c.problem) != std::string::npos);
    CHECK(problem.find("sk-1") == std::string::npos);
  }
}

TEST_CASE("a full configuration is read into the settings") {
  const HttpEndpointSettings settings = openai(parse(R"({
    "kind": "openai", "base_url": "https://h/v1", "model": "m", "api_key_env": "KEY", "headers": {"X-Title": "t"},
    "parameters": {"top_p": 0.9}, "proxy": "http://p:3128", "in_flight_max": 5,
    "prices": {"input_usd_per_million": 2, "output_usd_per_million": 8, "date": "2026-01-31"},
    "deadlines": {"total_s": 1.5}, "retry": {"attempts_max": 2, "backoff_max_s": 5}})"));
  CHECK(settings.base_url == "https://h/v1");
  CHECK(settings.shape.output_limit_key == "max_tokens");
  CHECK(settings.shape.parameters.at("top_p") == 0.9);
  CHECK(settings.headers.at("X-Title") == "t");
  CHECK(settings.route.proxy == "http://p:3128");
  CHECK(settings.in_flight_max == 5);
  CHECK(settings.prices.cached_input_usd_per_million == 2);
  CHECK(settings.deadlines.total == 1500ms);
  CHECK(settings.deadlines.idle == HttpDeadlines{}.idle);
  CHECK(settings.retry.attempts_max == 2);
}

TEST_CASE("the short forms of the command line stand for configurations") {
  const HttpEndpointSettings hosted = openai(endpoint_config_from_option("openai:gpt-x"));
  CHECK(hosted.base_url == "https://api.openai.com/v1");
  CHECK(hosted.api_key_env == "OPENAI_API_KEY");
  CHECK(hosted.shape.output_limit_key == "max_completion_tokens");
  const HttpEndpointSettings local =
      openai(endpoint_config_from_option("openai:org/m@v2@http://localhost:8080/v1"));
  CHECK(local.shape.model == "org/m@v2");
  CHECK(local.base_url == "http://localhost:8080/v1");
  CHECK(local.api_key_env.empty());
  CHECK(std::get<SpoolSettings>(endpoint_config_from_option("spool:/x").settings).folder == "/x");
  CHECK(std::get<SpoolSettings>(endpoint_config_from_option("spool").settings).folder.empty());
  CHECK(std::get<ReplaySettings>(endpoint_config_from_option("replay").settings).match ==
        ReplayMatch::ordinal);
  CHECK(std::get<ReplaySettings>(endpoint_config_from_option("replay:r.json").settings).match ==
        ReplayMatch::digest);
}

TEST_CASE("an option of no known form is refused with the list of forms") {
  for (const char* value : {"", "gpt", "openai", "openai:", "file.yaml"}) {
    CAPTURE(value);
    CHECK(problem_of([&] { endpoint_config_from_option(value); }).find("expected openai:MODEL") !=
          std::string::npos);
  }
}

TEST_CASE("paths in a configuration file are relative to it") {
  TemporaryFolder folder;
  std::ofstream(folder.path() / "e.json") << R"({"kind": "spool", "folder": "talk"} // comments are fine)";
  const auto config = endpoint_config_from_option((folder.path() / "e.json").string());
  CHECK(std::get<SpoolSettings>(config.settings).folder == folder.path() / "talk");
}

TEST_CASE("a configuration file that is not there is named") {
  CHECK(problem_of([] { endpoint_config_from_option("no/such.json"); }).find("no/such.json") == 0);
}

TEST_CASE("a key that is not in the environment is named by its variable") {
  Surroundings surroundings;
  const auto config =
      parse(R"({"kind": "openai", "base_url": "http://h", "model": "m", "api_key_env": "OTHER"})");
  const std::string problem = problem_of([&] { make_endpoint(config, surroundings.context()); });
  CHECK(problem == "run.json: api_key_env: the environment variable OTHER is not set");
}

TEST_CASE("each kind of configuration makes its endpoint") {
  Surroundings surroundings;
  const auto name = [&](const std::string& text) {
    return make_endpoint(parse(text), surroundings.context())->name();
  };
  CHECK(name(R"({"kind": "openai", "base_url": "http://h", "model": "m", "api_key_env": "KEY"})") ==
        "openai:m");
  CHECK(name(R"({"kind": "spool"})") == "spool");
  CHECK(std::filesystem::is_directory(surroundings.folder.path() / "spool" / "requests"));
  EndpointContext context = surroundings.context();
  context.recordings = {{.name = "r.json", .text = R"({"version": 1, "calls": []})"}};
  CHECK(make_endpoint(parse(R"({"kind": "replay"})"), context)->name() == "replay");
  CHECK_THROWS_AS(make_endpoint(parse(R"({"kind": "replay"})"), surroundings.context()), ConfigError);
  CHECK_THROWS_AS(
      make_endpoint(parse(R"({"kind": "replay", "recording": "no.json"})"), surroundings.context()),
      ConfigError);
}

TEST_CASE("a probe of a server that answers passes, with or without a list of models") {
  FakeOpenAiServer server({{.body = "{}"}, {.status = 404}});
  Surroundings surroundings;
  const auto config = endpoint_config_from_option("openai:m@" + server.base_url());
  CHECK_NOTHROW(probe_endpoint(config, surroundings.context()));
  CHECK_NOTHROW(probe_endpoint(config, surroundings.context()));
}

TEST_CASE("a probe of an unreachable endpoint is one sentence with the URL") {
  Surroundings surroundings;
  const auto config = endpoint_config_from_option("openai:m@http://127.0.0.1:1/v1");
  const std::string problem = problem_of([&] { probe_endpoint(config, surroundings.context()); });
  CHECK(problem.find("base_url: http://127.0.0.1:1/v1 does not answer: ") != std::string::npos);
}

TEST_CASE("a probe with a wrong key names the variable and not the key") {
  FakeOpenAiServer server({{.status = 401, .body = "sk-0123456789"}});
  Surroundings surroundings;
  const auto config = parse(R"({"kind": "openai", "model": "m", "api_key_env": "KEY", "base_url": ")" +
                            server.base_url() + "\"}");
  const std::string problem = problem_of([&] { probe_endpoint(config, surroundings.context()); });
  CHECK(problem.find("does not accept the key in KEY") != std::string::npos);
  CHECK(problem.find("sk-0123456789") == std::string::npos);
  CHECK(server.request(0).authorization == "Bearer sk-0123456789");
}
