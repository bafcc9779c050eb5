// SPDX-License-Identifier: Apache-2.0
// Bodies, answers and streams of the three protocols.
#include "engine/llm/messages_dialect.h"

#include "engine/llm/chat_dialect.h"
#include "engine/llm/foreign_json.h"
#include "engine/llm/responses_dialect.h"
#include "tests/support/catch.h"

using namespace kernelites;

namespace {

constexpr const char* k_schema = R"({"type":"object","additionalProperties":false})";

/// A conversation with a tool call and its result.
ModelRequest conversation() {
  ModelRequest request{.messages = {{"system", "be brief"}, {"user", "hi"}}, .output_tokens_max = 8000};
  request.messages.push_back(
      {.role = "assistant", .text = "I look", .tool_calls = {{"c1", "look", R"({"a":1})"}}});
  request.messages.push_back({.role = "tool", .text = "seen", .tool_call_id = "c1"});
  request.tools = {{.name = "look", .description = "looks", .parameters = k_schema}};
  request.stable_messages = 2;
  return request;
}

ModelShape shape() { return {.model = "m", .streams = false}; }

Json body_of(const Dialect& dialect, const ModelRequest& request) {
  return Json::parse(dialect.body(request, shape()));
}

ModelOutcome read(const Dialect& dialect, std::string body, const char* type = "application/json") {
  return read_response({.status = 200, .headers = {{"content-type", type}}, .body = std::move(body)},
                       dialect);
}

ModelOutcome read_stream(const Dialect& dialect, const std::vector<std::string>& events) {
  std::string body;
  for (const std::string& event : events) body += "data: " + event + "\n\n";
  return read(dialect, body, "text/event-stream; charset=utf-8");
}

const std::vector<std::string> k_messages_stream = {
    R"({"type":"message_start","message":{"model":"m","content":[],"usage":{"input_tokens":5,"cache_read_input_tokens":3,"cache_creation_input_tokens":2,"output_tokens":1}}})",
    R"({"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}})",
    R"({"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"fas"}})",
    R"({"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"ter"}})",
    R"({"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"t1","name":"look","input":{}}})",
    R"({"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"{\"a\""}})",
    R"({"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":":1}"}})",
    R"({"type":"message_delta","delta":{"stop_reason":"tool_use"},"usage":{"output_tokens":9}})",
    R"({"type":"message_stop"})"};

const std::vector<std::string> k_chat_stream = {
    R"({"model":"m","choices":[{"delta":{"role":"assistant","content":"fas"}}]})",
    R"({"choices":[{"delta":{"content":"ter","tool_calls":[{"index":0,"id":"t1","function":{"name":"look","arguments":"{\"a\""}}]}}]})",
    R"({"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":":1}"}}]}}]})",
    R"({"choices":[{"delta":{},"finish_reason":"tool_calls"}]})",
    R"({"choices":[],"usage":{"prompt_tokens":10,"completion_tokens":9}})",
    "[DONE]"};

const std::vector<std::string> k_responses_stream = {
    R"({"type":"response.created","response":{"status":"in_progress"}})",
    R"({"type":"response.output_text.delta","delta":"faster"})",
    R"({"type":"response.completed","response":{"model":"m","status":"completed","error":null,"output":[{"type":"reasoning"},{"type":"message","content":[{"type":"output_text","text":"faster"}]},{"type":"function_call","call_id":"t1","name":"look","arguments":"{\"a\":1}"}],"usage":{"input_tokens":10,"output_tokens":9,"output_tokens_details":{"reasoning_tokens":4}}}})"};

struct StreamCase {
  const Dialect& dialect;
  const std::vector<std::string>& events;
};
const StreamCase k_streams[] = {{k_chat_dialect, k_chat_stream},
                                {k_responses_dialect, k_responses_stream},
                                {k_messages_dialect, k_messages_stream}};

}  // namespace

TEST_CASE("every protocol's stream is read as its document would be") {
  for (const StreamCase& c : k_streams) {
    CAPTURE(c.dialect.name);
    const ModelOutcome outcome = read_stream(c.dialect, c.events);
    CHECK(outcome.failure == "");
    CHECK(outcome.text == "faster");
    CHECK(outcome.tool_calls == std::vector<ToolCall>{{"t1", "look", R"({"a":1})"}});
    CHECK(outcome.finish == "tool_calls");
    CHECK(outcome.model == "m");
    REQUIRE(outcome.usage);
    CHECK(outcome.usage->input_tokens == 10);
    CHECK(outcome.usage->output_tokens == 9);
  }
}

TEST_CASE("a stream that ends before the answer does is broken and keeps what came") {
  for (const StreamCase& c : k_streams) {
    CAPTURE(c.dialect.name);
    auto events = c.events;
    events.resize(c.dialect.name == std::string("chat")       ? 1
                  : c.dialect.name == std::string("messages") ? 3
                                                              : 2);
    const ModelOutcome outcome = read_stream(c.dialect, events);
    CHECK(outcome.failure == "stream_broken");
    CHECK(outcome.text.substr(0, 3) == "fas");
    CHECK(outcome.tool_calls.empty());
    CHECK_FALSE(outcome.usage);
  }
}

TEST_CASE("an error in the middle of a stream has the name that the server gives it") {
  CHECK(read_stream(
            k_messages_dialect,
            {k_messages_stream[0], R"({"type":"error","error":{"type":"overloaded_error","message":"x"}})"})
            .failure == "overloaded");
  CHECK(read_stream(k_chat_dialect, {k_chat_stream[0], R"({"error":{"code":"context_length_exceeded"}})"})
            .failure == "prompt_too_long");
  CHECK(read_stream(k_responses_dialect,
                    {R"({"type":"response.failed","response":{"error":{"code":"server_error"}}})"})
            .failure == "server_error");
  CHECK(read_stream(k_responses_dialect, {R"({"type":"error","code":"rate_limit_exceeded","message":"x"})"})
            .failure == "rate_limited");
}

TEST_CASE("events are read over all line ends, comments and several data lines") {
  const auto events =
      parse_server_sent_events(": hello\r\nevent: a\r\ndata: 1\r\ndata:2\r\n\r\nid: 3\n\ndata\n\ndata: cut");
  REQUIRE(events.size() == 2);
  CHECK(events[0].name == "a");
  CHECK(events[0].data == "1\n2");
  CHECK(events[1].data == "");
}

TEST_CASE("messages: system apart, tool results as the user's, the stable prefix marked for the cache") {
  const Json body = body_of(k_messages_dialect, conversation());
  CHECK(body.at("system") == Json::parse(R"([{"type":"text","text":"be brief"}])"));
  CHECK(body.at("messages") == Json::parse(R"([
    {"role":"user","content":[{"type":"text","text":"hi","cache_control":{"type":"ephemeral"}}]},
    {"role":"assistant","content":[{"type":"text","text":"I look"},{"type":"tool_use","id":"c1","name":"look","input":{"a":1}}]},
    {"role":"user","content":[{"type":"tool_result","tool_use_id":"c1","content":"seen"}]}])"));
  CHECK(body.at("tools")[0].at("input_schema") == Json::parse(k_schema));
  CHECK(body.at("max_tokens") == 8000);
}

TEST_CASE("messages: a form is asked for as a forced tool, and its arguments are the text") {
  ModelRequest request{.messages = {{"user", "hi"}}, .answer_schema = {"edit", k_schema}};
  const Json body = body_of(k_messages_dialect, request);
  CHECK(body.at("tool_choice") == Json::parse(R"({"type":"tool","name":"answer_edit"})"));
  const ModelOutcome outcome =
      read(k_messages_dialect,
           R"({"content":[{"type":"tool_use","id":"t","name":"answer_edit","input":{"x":1}}],
                                        "stop_reason":"tool_use"})");
  CHECK(outcome.text == R"({"x":1})");
  CHECK(outcome.tool_calls.empty());
  CHECK(outcome.finish == "stop");
}

TEST_CASE("messages: thinking is asked for by effort, but not where it would be refused") {
  ModelRequest request{.messages = {{"user", "hi"}}, .reasoning_effort = "low"};
  CHECK(body_of(k_messages_dialect, request).at("thinking").at("budget_tokens") == 2048);
  request.output_tokens_max = 1000;
  CHECK_FALSE(body_of(k_messages_dialect, request).contains("thinking"));
  ModelRequest after_tools = conversation();
  after_tools.reasoning_effort = "high";
  CHECK_FALSE(body_of(k_messages_dialect, after_tools).contains("thinking"));
}

TEST_CASE("messages: usage counts cached and written tokens as input") {
  const auto usage = read_stream(k_messages_dialect, k_messages_stream).usage;
  REQUIRE(usage);
  CHECK(usage->cached_input_tokens == 3);
  CHECK(usage->cache_write_tokens == 2);
}

TEST_CASE("responses: calls and results are items of their own and nothing is stored") {
  const Json body = body_of(k_responses_dialect, conversation());
  CHECK(body.at("store") == false);
  CHECK(body.at("input")[3] ==
        Json::parse(R"({"type":"function_call","call_id":"c1","name":"look","arguments":"{\"a\":1}"})"));
  CHECK(body.at("input")[4] ==
        Json::parse(R"({"type":"function_call_output","call_id":"c1","output":"seen"})"));
  ModelRequest request{
      .messages = {{"user", "hi"}}, .answer_schema = {"edit", k_schema}, .reasoning_effort = "high"};
  CHECK(body_of(k_responses_dialect, request).at("text").at("format").at("strict") == true);
  CHECK(body_of(k_responses_dialect, request).at("reasoning").at("effort") == "high");
}

TEST_CASE("responses: an incomplete answer is cut off or filtered, a refusal is a refusal") {
  CHECK(read(k_responses_dialect,
             R"({"status":"incomplete","output":[],"incomplete_details":{"reason":"max_output_tokens"}})")
            .failure == "length");
  CHECK(read(k_responses_dialect,
             R"({"status":"incomplete","output":[],"incomplete_details":{"reason":"content_filter"}})")
            .failure == "content_filter");
  CHECK(
      read(
          k_responses_dialect,
          R"({"status":"completed","output":[{"type":"message","content":[{"type":"refusal","refusal":"no"}]}]})")
          .failure == "refused");
  CHECK(read(k_responses_dialect, R"({"id": 1})").failure == "malformed_reply");
}

TEST_CASE("chat: tools, choice, form and effort are in the body") {
  ModelRequest request = conversation();
  request.tool_choice = "look";
  request.answer_schema = {"edit", R"({"type":"object"})"};
  request.reasoning_effort = "low";
  const Json body = body_of(k_chat_dialect, request);
  CHECK(body.at("tools")[0].at("function").at("name") == "look");
  CHECK(body.at("tool_choice") == Json::parse(R"({"type":"function","function":{"name":"look"}})"));
  CHECK(body.at("response_format").at("json_schema").at("strict") == false);
  CHECK(body.at("reasoning_effort") == "low");
  CHECK(body.at("messages")[2].at("tool_calls")[0].at("function").at("arguments") == R"({"a":1})");
  CHECK(body.at("messages")[3].at("tool_call_id") == "c1");
}

TEST_CASE("chat: a streamed request asks for its usage") {
  const Json body = Json::parse(chat_body({.messages = {{"user", "hi"}}}, {.model = "m"}));
  CHECK(body.at("stream") == true);
  CHECK(body.at("stream_options").at("include_usage") == true);
}

TEST_CASE("an effort's configured parameters replace the protocol's own") {
  ModelShape own = shape();
  own.effort_parameters = {{"low", {{"thinking_budget", 7}}}};
  const Json body = Json::parse(chat_body({.reasoning_effort = "low"}, own));
  CHECK(body.at("thinking_budget") == 7);
  CHECK_FALSE(body.contains("reasoning_effort"));
}

TEST_CASE("a tool call without text is an answer") {
  const ModelOutcome outcome =
      read(k_chat_dialect,
           R"({"choices":[{"message":{"content":null,"tool_calls":[{"id":"a","function":{"name":"look",
                               "arguments":{"a":1}}}]},"finish_reason":"tool_calls"}]})");
  CHECK(outcome.failure == "");
  CHECK(outcome.tool_calls == std::vector<ToolCall>{{"a", "look", R"({"a":1})"}});
}
