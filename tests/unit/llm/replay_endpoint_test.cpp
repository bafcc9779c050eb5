// SPDX-License-Identifier: Apache-2.0
// Recordings written, read and replayed by each of the three matches.
#include "engine/llm/replay_endpoint.h"

#include <fstream>

#include "engine/core/error.h"
#include "tests/support/catch.h"
#include "tests/support/temporary_folder.h"

using namespace kernelites;

namespace {

ModelRequest request(std::uint64_t ordinal, const std::string& prompt, int attempt = 0) {
  return {.id = std::to_string(ordinal) + "-" + std::to_string(attempt),
          .ordinal = ordinal,
          .messages = {{"user", prompt}}};
}

RecordedCall call(const ModelRequest& asked, const std::string& text) {
  return recorded_call(asked, {.text = text, .model = "m", .cost = {.input_tokens = 3, .usd = 0.25}});
}

ModelReply ask(ReplayMatch match, std::vector<RecordedCall> calls, const ModelRequest& asked) {
  ReplayEndpoint endpoint(std::move(calls), match);
  endpoint.submit(asked);
  const auto reply = endpoint.take();
  REQUIRE(reply);
  CHECK_FALSE(endpoint.take());
  return *reply;
}

}  // namespace

TEST_CASE("a digest depends on roles, texts and where one ends") {
  const auto digest_of = [](std::vector<ChatMessage> messages) {
    return prompt_digest({.messages = std::move(messages)});
  };
  const std::string base = digest_of({{"user", "ab"}, {"user", "c"}});
  CHECK(base == digest_of({{"user", "ab"}, {"user", "c"}}));
  CHECK(base != digest_of({{"user", "a"}, {"user", "bc"}}));
  CHECK(base != digest_of({{"system", "ab"}, {"user", "c"}}));
  CHECK(base != digest_of({{"user", "ab"}}));
}

TEST_CASE("by digest a prompt finds its answer whatever the ordinal") {
  const auto calls = std::vector{call(request(1, "a"), "A"), call(request(2, "b"), "B")};
  const ModelReply reply = ask(ReplayMatch::digest, calls, request(77, "b"));
  CHECK(reply.text == "B");
  CHECK(reply.id == "77-0");
  CHECK(reply.cost.usd == 0.25);
}

TEST_CASE("of several answers to one prompt the one of the same call is taken") {
  const auto calls =
      std::vector{call(request(9, "a"), "A9"), call(request(1, "a"), "A1"), call(request(4, "a"), "A4")};
  CHECK(ask(ReplayMatch::digest, calls, request(9, "a")).text == "A9");
  CHECK(ask(ReplayMatch::digest, calls, request(1, "a")).text == "A1");
  CHECK(ask(ReplayMatch::digest, calls, request(7, "a")).text == "A4");  // 7 mod 3 in order of ordinals
}

TEST_CASE("by ordinal a call finds its answer whatever the prompt, and its own attempt first") {
  const auto calls = std::vector{call(request(5, "a"), "first"), call(request(5, "a", 1), "second")};
  CHECK(ask(ReplayMatch::ordinal, calls, request(5, "other")).text == "first");
  CHECK(ask(ReplayMatch::ordinal, calls, request(5, "other", 1)).text == "second");
  CHECK(ask(ReplayMatch::ordinal, calls, request(5, "other", 2)).text == "first");
}

TEST_CASE("a cycle answers every call") {
  const auto calls = std::vector{call(request(2, "a"), "A"), call(request(8, "b"), "B")};
  CHECK(ask(ReplayMatch::cycle, calls, request(100, "x")).text == "A");
  CHECK(ask(ReplayMatch::cycle, calls, request(101, "x")).text == "B");
}

TEST_CASE("a call that was not recorded fails by name") {
  CHECK(ask(ReplayMatch::digest, {call(request(1, "a"), "A")}, request(1, "b")).failure ==
        "no_recorded_reply");
  CHECK(ask(ReplayMatch::ordinal, {call(request(1, "a"), "A")}, request(2, "a")).failure ==
        "no_recorded_reply");
  CHECK(ask(ReplayMatch::cycle, {}, request(1, "a")).failure == "no_recorded_reply");
}

TEST_CASE("a recorded failure is replayed as a failure") {
  const auto recorded = recorded_call(request(1, "a"), {.failure = "length", .message = "cut off"});
  CHECK(ask(ReplayMatch::digest, {recorded}, request(1, "a")).failure == "length");
}

TEST_CASE("a recording says the same after writing and reading, in order of ordinals") {
  TemporaryFolder folder;
  const auto file = folder.path() / "calls.json";
  write_recording(file, {call(request(10, "ten"), "X"), call(request(2, "two"), "Y")});
  const auto calls = read_recording(file);
  REQUIRE(calls.size() == 2);
  CHECK(calls[0].ordinal == 2);
  CHECK(calls[0].reply.text == "Y");
  CHECK(calls[0].reply.cost.usd == 0.25);
  CHECK(calls[0].digest == prompt_digest(request(2, "two")));
  CHECK(calls[0].messages == request(2, "two").messages);
  CHECK(recording_text(calls) == read_text(file));
}

TEST_CASE("a recording says which kernels its run began with") {
  TemporaryFolder folder;
  const auto file = folder.path() / "replies.json";
  const std::vector<RecordedCall> calls{call(request(2, "two"), "Y")};
  std::ofstream(file) << recording_text(calls, {"naive.cu", "split_kv.cu"});
  CHECK(seeds_of_recording(file) == std::vector<std::string>{"naive.cu", "split_kv.cu"});
  CHECK(read_recording(file).size() == 1);
  write_recording(file, calls);
  CHECK(seeds_of_recording(file).empty());
}

TEST_CASE("a folder of recordings is read in the order of names") {
  TemporaryFolder folder;
  write_recording(folder.path() / "b.json", {call(request(2, "b"), "B")});
  write_recording(folder.path() / "a.json", {call(request(1, "a"), "A")});
  std::ofstream(folder.path() / "readme.md") << "not a recording";
  const auto calls = read_recording(folder.path());
  REQUIRE(calls.size() == 2);
  CHECK(calls[0].reply.text == "A");
}

TEST_CASE("a recording that cannot be used is refused with its place") {
  const struct {
    const char* text;
    const char* place;
  } cases[] = {
      {"{", "line 1"},
      {R"({"calls": []})", "version"},
      {R"({"version": 2, "calls": []})", "version"},
      {R"({"version": 1, "calls": {}})", "calls"},
      {R"({"version": 1, "calls": [{"id": "1-0"}]})", "calls[0].ordinal"},
      {R"({"version": 1, "calls": [{"id": "1-0", "ordinal": 1, "digest": "d", "text": "t", "cost": 1}]})",
       "calls[0].cost"},
  };
  for (const auto& c : cases) {
    CAPTURE(c.text);
    try {
      parse_recording(c.text, "calls.json");
      FAIL("accepted");
    } catch (const ConfigError& error) {
      CHECK(std::string(error.what()).find(std::string("calls.json: ") + c.place) == 0);
    }
  }
}

TEST_CASE("an empty folder is no recording") {
  TemporaryFolder folder;
  CHECK_THROWS_AS(read_recording(folder.path()), ConfigError);
}
