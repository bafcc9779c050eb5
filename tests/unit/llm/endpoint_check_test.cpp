// SPDX-License-Identifier: Apache-2.0
// What the doctor finds: each state has a line, each line that is not good says what to do.
#include "engine/llm/endpoint_check.h"

#include <algorithm>

#include "tests/support/catch.h"
#include "tests/support/fake_openai_server.h"
#include "tests/support/temporary_folder.h"

using namespace kernelites;
using namespace std::chrono_literals;

namespace {

constexpr const char* k_key = "sk-test-0123456789";
constexpr const char* k_list = R"({"data": [{"id": "fake"}, {"id": "other"}]})";
constexpr const char* k_tool_answer =
    R"({"choices": [{"message": {"tool_calls": [{"id": "1", "function": {"name": "report", "arguments": "{\"number\": 7}"}}]},
                     "finish_reason": "tool_calls"}]})";

struct Examined {
  explicit Examined(const std::string& base_url, bool has_key = true) {
    HttpEndpointSettings settings;
    settings.base_url = base_url;
    settings.api_key_env = "KEY";
    settings.shape.model = "fake";
    checks = check_endpoint({.where = "run.json", .settings = settings},
                            {.http = http,
                             .run_folder = folder.path(),
                             .secret =
                                 [has_key](const std::string&) {
                                   return has_key ? std::optional<std::string>(k_key) : std::nullopt;
                                 }},
                            20s);
  }
  const EndpointCheck& of(const std::string& subject) const {
    const auto found = std::find_if(checks.begin(), checks.end(),
                                    [&](const auto& check) { return check.subject == subject; });
    REQUIRE(found != checks.end());
    return *found;
  }
  HttpLoop http;
  TemporaryFolder folder;
  std::vector<EndpointCheck> checks;
};

}  // namespace

TEST_CASE("of a server that works every line is good, and what is missing is a warning with a remedy") {
  FakeOpenAiServer server({{.body = k_list},
                           {.body = chat_answer("ready")},
                           {.body = k_tool_answer},
                           {.body = chat_answer(R"({"number": 7})")}});
  const Examined examined(server.base_url());
  for (const char* subject : {"key", "server", "model", "call", "tools", "schema"}) {
    CAPTURE(subject, examined.of(subject).found);
    CHECK(examined.of(subject).state == CheckState::good);
  }
  CHECK(examined.of("call").found.find("1000 tokens in, 200 out") != std::string::npos);
  CHECK(examined.of("stream").state == CheckState::warning);
  CHECK(examined.of("prices").state == CheckState::warning);
  for (const EndpointCheck& check : examined.checks)
    CHECK((check.state == CheckState::warning) == !check.remedy.empty());
}

TEST_CASE("a missing key is named by its variable, and nothing is asked") {
  FakeOpenAiServer server(std::vector<ScriptedAnswer>{{.body = k_list}});
  const Examined examined(server.base_url(), /*has_key=*/false);
  REQUIRE(examined.checks.size() == 1);
  CHECK(examined.of("key").state == CheckState::bad);
  CHECK(examined.of("key").found.find("KEY is not set") != std::string::npos);
  CHECK(server.request_count() == 0);
}

TEST_CASE("a server that is not there is said to be so") {
  const Examined examined("http://127.0.0.1:1/v1");
  CHECK(examined.of("server").state == CheckState::bad);
  CHECK(examined.of("server").found.find("unreachable") == 0);
  CHECK_FALSE(examined.of("server").remedy.empty());
}

TEST_CASE("a key that is not accepted is told without showing it") {
  FakeOpenAiServer server(std::vector<ScriptedAnswer>{
      {.status = 401, .body = std::string(R"({"error": {"message": "bad key )") + k_key + "\"}}"}});
  const Examined examined(server.base_url());
  CHECK(examined.of("call").state == CheckState::bad);
  CHECK(examined.of("call").found.find("unauthorised") == 0);
  for (const EndpointCheck& check : examined.checks) CHECK(check.found.find(k_key) == std::string::npos);
}

TEST_CASE("a model without tools or form, and a wrong name, are warnings") {
  FakeOpenAiServer server({{.body = R"({"data": [{"id": "other"}]})"}, {.body = chat_answer("ready")}});
  const Examined examined(server.base_url());
  CHECK(examined.of("model").remedy.find("other") != std::string::npos);
  CHECK(examined.of("tools").state == CheckState::warning);
  CHECK(examined.of("schema").state == CheckState::warning);
}

TEST_CASE("of a fallback order each endpoint is examined, and a spool only for its folder") {
  HttpLoop http;
  TemporaryFolder folder;
  FallbackSettings order;
  order.order.push_back({.where = "run.json", .settings = SpoolSettings{}});
  order.order.push_back({.where = "run.json", .settings = ReplaySettings{}});
  const auto checks =
      check_endpoint({.where = "run.json", .settings = order}, {.http = http, .run_folder = folder.path()});
  REQUIRE(checks.size() == 2);
  CHECK(checks[0].subject == "1. folder");
  CHECK(checks[0].state == CheckState::good);
  CHECK(checks[1].state == CheckState::bad);  // this program carries no recording
}
