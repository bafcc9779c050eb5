// SPDX-License-Identifier: Apache-2.0
// What a request carries besides text: its digest, and its way into JSON and back.
#include "engine/llm/conversation_json.h"

#include <set>

#include "engine/core/digest.h"
#include "engine/core/error.h"
#include "tests/support/catch.h"

using namespace kernelites;

namespace {

ModelRequest plain_request() {
  return {.id = "1-0", .messages = {{"system", "be brief"}, {"user", "hello"}}};
}

ModelRequest rich_request() {
  ModelRequest request = plain_request();
  request.messages.push_back({.role = "assistant", .tool_calls = {{"c1", "check", R"({"a": 1})"}}});
  request.messages.push_back({.role = "tool", .text = "passed", .tool_call_id = "c1"});
  request.tools = {{.name = "check", .description = "runs it", .parameters = R"({"type": "object"})"}};
  request.tool_choice = "required";
  request.answer_schema = {.name = "edit", .schema = R"({"type": "object", "properties": {}})"};
  request.reasoning_effort = "high";
  request.stable_messages = 1;
  return request;
}

}  // namespace

TEST_CASE("a request of messages alone keeps the digest of recordings made before there were tools") {
  CHECK(prompt_digest(plain_request()) == digest("6:8:systembe brief4:5:userhello"));
}

TEST_CASE("everything that decides an answer changes the digest") {
  std::set<std::string> digests = {prompt_digest(rich_request())};
  const auto add = [&](auto change) {
    ModelRequest request = rich_request();
    change(request);
    digests.insert(prompt_digest(request));
  };
  add([](ModelRequest& r) { r.messages[2].tool_calls[0].arguments = "{}"; });
  add([](ModelRequest& r) { r.messages[2].tool_calls[0].name = "time"; });
  add([](ModelRequest& r) { r.messages[3].tool_call_id = "c2"; });
  add([](ModelRequest& r) { r.tools[0].description = "runs"; });
  add([](ModelRequest& r) { r.tools[0].parameters = "{}"; });
  add([](ModelRequest& r) { r.tools.clear(); });
  add([](ModelRequest& r) { r.tool_choice = "auto"; });
  add([](ModelRequest& r) { r.answer_schema.schema = "{}"; });
  add([](ModelRequest& r) { r.reasoning_effort = "low"; });
  CHECK(digests.size() == 10);
}

TEST_CASE("what only decides cost leaves the digest alone") {
  ModelRequest request = rich_request();
  request.stable_messages = 0;
  request.limit.usd = 1;
  request.answer_schema.schema = R"({"type":"object","properties":{}})";
  CHECK(prompt_digest(request) == prompt_digest(rich_request()));
}

TEST_CASE("messages and extras come back from JSON as they were") {
  const ModelRequest request = rich_request();
  ModelRequest again = plain_request();
  again.messages = parse_messages(Json(request.messages), "db", "messages");
  apply_request_extras(again, request_extras(request), "db");
  CHECK(again.messages == request.messages);
  CHECK(prompt_digest(again) == prompt_digest(request));
  CHECK(again.stable_messages == 1);
}

TEST_CASE("a plain request has no extras") { CHECK(request_extras(plain_request()).empty()); }

TEST_CASE("tool calls may have an object for arguments and no id") {
  const auto calls = parse_tool_calls(
      parse_json(R"([{"name": "a"}, {"name": "b", "arguments": {"x": 1}}])", "t"), "t", "tool_calls");
  CHECK(calls == std::vector<ToolCall>{{"call_0", "a", "{}"}, {"call_1", "b", R"({"x":1})"}});
}

TEST_CASE("messages that are no list, or have unknown members, are refused by name") {
  CHECK_THROWS_AS(parse_messages(Json::object(), "t", "messages"), ConfigError);
  CHECK_THROWS_WITH(
      parse_messages(parse_json(R"([{"role": "user", "text": "", "txt": ""}])", "t"), "t", "messages"),
      Catch::Contains("txt"));
}
