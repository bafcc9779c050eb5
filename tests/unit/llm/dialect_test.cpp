// SPDX-License-Identifier: Apache-2.0
// The tables of outcomes: what each kind of response is called and whether it is tried again.
#include "engine/llm/dialect.h"

#include "engine/llm/chat_dialect.h"
#include "engine/llm/failure_policy.h"
#include "engine/llm/foreign_json.h"
#include "engine/llm/messages_dialect.h"
#include "engine/llm/price_list.h"
#include "engine/llm/responses_dialect.h"
#include "tests/support/catch.h"

using namespace kernelites;

namespace {

struct Case {
  int status;
  const char* body;
  const char* failure;
  bool is_retryable;
};

const Case k_cases[] = {
    {301, "", "redirected", false},
    {400, R"({"error": {"message": "no"}})", "bad_request", false},
    {400, R"({"error": {"code": "context_length_exceeded"}})", "prompt_too_long", false},
    {400, R"({"error": {"code": "content_filter"}})", "content_filter", false},
    {401, "", "unauthorised", false},
    {402, "", "quota_exhausted", false},
    {403, "", "forbidden", false},
    {404, R"({"error": "model not found"})", "not_found", false},
    {408, "", "first_byte_timeout", true},
    {413, "", "prompt_too_long", false},
    {422, R"({"detail": []})", "bad_request", false},
    {429, "", "rate_limited", true},
    {429, R"({"error": {"type": "insufficient_quota"}})", "quota_exhausted", false},
    {500, "<html>oops</html>", "server_error", true},
    {502, "", "server_error", true},
    {503, "", "overloaded", true},
    {529, "", "overloaded", true},
    {200, R"({"error": {"code": 429, "message": "upstream"}})", "rate_limited", true},
    {200, R"({"error": {"code": 502, "message": "upstream"}})", "server_error", true},
    {200, "<html>welcome</html>", "malformed_reply", false},
    {200, "", "malformed_reply", false},
    {200, "[1, 2", "malformed_reply", false},
    {200, "7", "malformed_reply", false},
    {200, R"({"choices": []})", "malformed_reply", false},
    {200, R"({"choices": {"a": 1}})", "malformed_reply", false},
    {200, R"({"choices": [7]})", "empty_reply", false},
    {200, R"({"choices": [{"message": {"content": null}}]})", "empty_reply", false},
    {200, R"({"choices": [{"message": {"content": "part"}, "finish_reason": "length"}]})", "length", false},
    {200, R"({"choices": [{"message": {"content": ""}, "finish_reason": "content_filter"}]})",
     "content_filter", false},
    {200, R"({"choices": [{"message": {"refusal": "I will not"}, "finish_reason": "stop"}]})", "refused",
     false},
    {200, R"({"choices": [{"message": {"content": "yes"}, "finish_reason": "stop"}]})", "", false},
    {200, R"({"choices": [{"message": {"content": [{"type": "text", "text": "yes"}]}}]})", "", false},
};

ModelOutcome read(int status, std::string body) {
  return read_response({.status = status, .body = std::move(body)}, k_chat_dialect);
}

}  // namespace

TEST_CASE("every response has a named outcome with its own retry policy") {
  for (const Case& c : k_cases) {
    CAPTURE(c.status, c.body);
    const ModelOutcome outcome = read(c.status, c.body);
    CHECK(outcome.failure == c.failure);
    CHECK(failure_policy(outcome.failure).is_retryable == c.is_retryable);
    CHECK(outcome.message.empty() == outcome.failure.empty());
  }
}

TEST_CASE("every failure of the transport has a named outcome") {
  for (int i = 1; i <= static_cast<int>(HttpFailure::not_sendable); ++i) {
    const ModelOutcome outcome =
        read_response({.failure = static_cast<HttpFailure>(i), .message = "words"}, k_chat_dialect);
    CAPTURE(i);
    CHECK_FALSE(outcome.failure.empty());
    CHECK(outcome.message == "words");
  }
}

TEST_CASE("a cut-off answer keeps its text") {
  CHECK(read(200, R"({"choices": [{"message": {"content": "part"}, "finish_reason": "length"}]})").text ==
        "part");
}

TEST_CASE("a server's own words are shown on one line, shortened and as valid UTF-8") {
  const ModelOutcome outcome = read(500, "a\nb\xff" + std::string(1000, 'x'));
  CHECK(outcome.message.find("a b\xEF\xBF\xBDx") != std::string::npos);
  CHECK(outcome.message.size() < 450);
  CHECK_NOTHROW(Json(outcome.message).dump());
}

TEST_CASE("usage is read with cached tokens, and is absent where the server reports none") {
  const char* body = R"({"choices": [{"message": {"content": "x"}}],
                         "usage": {"prompt_tokens": 10, "completion_tokens": 5,
                                   "prompt_tokens_details": {"cached_tokens": 4}}})";
  const auto usage = read(200, body).usage;
  REQUIRE(usage);
  CHECK(usage->input_tokens == 10);
  CHECK(usage->cached_input_tokens == 4);
  CHECK(usage->output_tokens == 5);
  CHECK_FALSE(read(200, R"({"choices": [{"message": {"content": "x"}}], "usage": null})").usage);
}

TEST_CASE("usage that makes no sense cannot make a call cheaper than free") {
  const auto usage = read(200, R"({"usage": {"prompt_tokens": 10, "completion_tokens": -5,
                                  "prompt_tokens_details": {"cached_tokens": 99}}})")
                         .usage;
  REQUIRE(usage);
  CHECK(usage->cached_input_tokens == 10);
  CHECK(usage->output_tokens == 0);
}

TEST_CASE("JSON of others is read within limits of depth and members, in time that grows with its length") {
  CHECK(parse_foreign_json(R"({"a": [{"b": "}]{[:"}]})").at("a").at(0).at("b") == "}]{[:");
  CHECK(parse_foreign_json("{\"a\"").is_discarded());
  CHECK(parse_foreign_json(std::string(64, '[') + std::string(64, ']')).is_array());
  CHECK(parse_foreign_json(std::string(65, '[') + std::string(65, ']')).is_discarded());
  CHECK(parse_foreign_json(std::string(20'000'000, '[')).is_discarded());
  std::string wide = "{";
  for (int i = 0; i < 400'000; ++i) wide += "\"" + std::to_string(i) + "\":1,";
  CHECK(parse_foreign_json(wide + "\"x\":1}").is_discarded());
  const std::string deep =
      R"({"choices": [{"message": {"tool_calls": [{"id": "1", "function": {"name": "f", "arguments": )" +
      std::string(100'000, '[') + std::string(100'000, ']') + "}}]}}]}";
  CHECK(read(200, deep).failure == "malformed_reply");
}

TEST_CASE("cached input is charged at its own price and not twice") {
  const PriceList prices{
      .input_usd_per_million = 10, .cached_input_usd_per_million = 1, .output_usd_per_million = 100};
  const CallCost usage{.input_tokens = 1000, .cached_input_tokens = 400, .output_tokens = 200};
  CHECK(price_usd(usage, prices) == Approx((600 * 10 + 400 * 1 + 200 * 100) / 1e6));
}

TEST_CASE(
    "a body holds the model, the conversation, the limit under its configured name and further parameters") {
  const ModelRequest request{.messages = {{"system", "be brief"}, {"user", "hi"}}, .output_tokens_max = 7};
  const ModelShape shape{.model = "m",
                         .output_limit_key = "max_completion_tokens",
                         .streams = false,
                         .parameters = {{"seed", 3}}};
  CHECK(Json::parse(chat_body(request, shape)) ==
        Json::parse(R"({"model": "m", "messages": [{"role": "system", "content": "be brief"},
                        {"role": "user", "content": "hi"}], "max_completion_tokens": 7, "seed": 3})"));
}

TEST_CASE("a temperature is sent only where one was asked for") {
  CHECK_FALSE(Json::parse(chat_body({.temperature = -1}, {})).contains("temperature"));
  CHECK(Json::parse(chat_body({.temperature = 0}, {})).at("temperature") == 0);
}

TEST_CASE("a prompt with broken UTF-8 still makes a JSON body") {
  const std::string body = chat_body({.messages = {{"user", "a\xff"}}}, {});
  CHECK(Json::parse(body).at("messages")[0].at("content") == "a\xEF\xBF\xBD");
}
