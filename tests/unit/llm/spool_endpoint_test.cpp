// SPDX-License-Identifier: Apache-2.0
// The spool in a folder of its own: what is written, what counts as an answer, what a second run finds.
#include "engine/llm/spool_endpoint.h"

#include <poll.h>

#include <fstream>

#include "engine/core/error.h"
#include "engine/core/json.h"
#include "tests/support/catch.h"
#include "tests/support/hand_clock.h"
#include "tests/support/temporary_folder.h"

using namespace kernelites;
using namespace std::chrono_literals;
namespace fs = std::filesystem;

namespace {

const ModelRequest k_request{
    .id = "12-0", .ordinal = 12, .messages = {{"system", "be brief"}, {"user", "make it *faster*"}}};

/// Looks for replies once, whatever the polling interval.
std::optional<ModelReply> look(SpoolEndpoint& endpoint, HandClock& hand) {
  hand.advance(1s);
  endpoint.pump();
  return endpoint.take();
}

void write(const fs::path& file, const std::string& text) { std::ofstream(file, std::ios::binary) << text; }

/// A spool with the request submitted.
struct Asked {
  TemporaryFolder folder;
  HandClock hand;
  SpoolEndpoint endpoint{{.folder = folder.path()}, hand.clock()};
  Asked() { endpoint.submit(k_request); }
  fs::path requests(const char* name) const { return folder.path() / "requests" / name; }
  fs::path replies(const char* name) const { return folder.path() / "replies" / name; }
};

}  // namespace

TEST_CASE("a request is written as JSON with its digest and as a text to read") {
  Asked asked;
  const Json json = read_json(asked.requests("12-0.json"));
  CHECK(json.at("id") == "12-0");
  CHECK(json.at("digest") == prompt_digest(k_request));
  CHECK(json.at("messages")[1].at("text") == "make it *faster*");
  const std::string text = read_text(asked.requests("12-0.md"));
  CHECK(text.find("be brief") < text.find("make it *faster*"));
  CHECK(text.find("replies/12-0.md") != std::string::npos);
}

TEST_CASE("nothing is left under a temporary name") {
  Asked asked;
  for (const auto& entry : fs::recursive_directory_iterator(asked.folder.path())) {
    CHECK(entry.path().extension() != ".tmp");
  }
}

TEST_CASE("while no reply is there the endpoint waits for the outside") {
  Asked asked;
  CHECK_FALSE(look(asked.endpoint, asked.hand));
  CHECK(asked.endpoint.is_waiting_outside());
}

TEST_CASE("a text reply is the answer, byte for byte, with estimated usage") {
  Asked asked;
  write(asked.replies("12-0.md"), "line one\n\n```cu\nx\n```\n");
  const auto reply = look(asked.endpoint, asked.hand);
  REQUIRE(reply);
  CHECK(reply->text == "line one\n\n```cu\nx\n```\n");
  CHECK(reply->failure == "");
  CHECK(reply->cost.is_estimated);
  CHECK(reply->cost.input_tokens == 20);
  CHECK_FALSE(asked.endpoint.is_waiting_outside());
  CHECK_FALSE(look(asked.endpoint, asked.hand));
}

TEST_CASE("a JSON reply brings its model and usage") {
  Asked asked;
  write(asked.replies("12-0.json"),
        R"({"text": "x", "model": "m", "usage": {"input_tokens": 7, "usd": 0.5}})");
  const auto reply = look(asked.endpoint, asked.hand);
  REQUIRE(reply);
  CHECK(reply->text == "x");
  CHECK(reply->model == "m");
  CHECK(reply->cost.input_tokens == 7);
  CHECK(reply->cost.usd == 0.5);
  CHECK_FALSE(reply->cost.is_estimated);
}

TEST_CASE("a reply that is being written is not an answer until it is renamed") {
  Asked asked;
  write(asked.replies("12-0.md.tmp"), "half");
  write(asked.replies(".12-0.md.swp"), "half");
  CHECK_FALSE(look(asked.endpoint, asked.hand));
  write(asked.replies("12-0.md.tmp"), "half and half");
  fs::rename(asked.replies("12-0.md.tmp"), asked.replies("12-0.md"));
  const auto reply = look(asked.endpoint, asked.hand);
  REQUIRE(reply);
  CHECK(reply->text == "half and half");
}

TEST_CASE("an empty file is not an answer yet") {
  Asked asked;
  write(asked.replies("12-0.md"), "");
  CHECK_FALSE(look(asked.endpoint, asked.hand));
}

TEST_CASE("a reply that cannot be read as JSON is a failed call that names file and field") {
  for (const char* text : {"{\"text\": ", "{}", "{\"text\": 7}", "{\"text\": \"x\", \"txt\": 1}", "[]",
                           "{\"text\": \"x\", \"digest\": \"of another prompt\"}"}) {
    Asked asked;
    write(asked.replies("12-0.json"), text);
    const auto reply = look(asked.endpoint, asked.hand);
    CAPTURE(text);
    REQUIRE(reply);
    CHECK(reply->failure == "malformed_reply");
    CHECK(reply->message.find("12-0.json") != std::string::npos);
  }
}

TEST_CASE("a reply over 8 MiB is refused") {
  Asked asked;
  write(asked.replies("12-0.md"), std::string(8 * 1024 * 1024 + 1, 'x'));
  const auto reply = look(asked.endpoint, asked.hand);
  REQUIRE(reply);
  CHECK(reply->failure == "reply_too_big");
}

TEST_CASE("a resumed run finds the reply at once and does not write the request again") {
  TemporaryFolder folder;
  HandClock hand;
  const fs::path request = folder.path() / "requests" / "12-0.json";
  SpoolEndpoint({.folder = folder.path()}, hand.clock()).submit(k_request);
  const auto written = fs::file_time_type::clock::now() - 1h;
  fs::last_write_time(request, written);
  write(folder.path() / "replies" / "12-0.md", "kept");

  SpoolEndpoint resumed({.folder = folder.path()}, hand.clock());
  resumed.submit(k_request);
  resumed.pump();
  const auto reply = resumed.take();
  REQUIRE(reply);
  CHECK(reply->text == "kept");
  CHECK(fs::last_write_time(request) == written);
}

TEST_CASE("the reply to another prompt of the same id is moved aside, not used") {
  Asked first;
  write(first.replies("12-0.md"), "to the first prompt");
  ModelRequest other = k_request;
  other.messages[1].text = "make it smaller";
  SpoolEndpoint second({.folder = first.folder.path()}, first.hand.clock());
  second.submit(other);
  CHECK_FALSE(look(second, first.hand));
  CHECK(read_json(first.requests("12-0.json")).at("digest") == prompt_digest(other));
  const std::string stale = "12-0.stale-" + prompt_digest(k_request).substr(0, 8) + ".md";
  CHECK(read_text(first.folder.path() / "replies" / stale) == "to the first prompt");
}

TEST_CASE("a digest in a foreign request file cannot lead out of the folder") {
  TemporaryFolder folder;
  HandClock hand;
  SpoolEndpoint endpoint({.folder = folder.path() / "spool"}, hand.clock());
  write(folder.path() / "spool" / "requests" / "12-0.json", R"({"digest": "/../../x"})");
  endpoint.submit(k_request);
  CHECK(fs::exists(folder.path() / "spool" / "requests" / "12-0.stale-unreadab.json"));
}

TEST_CASE("a cancelled request is withdrawn") {
  Asked asked;
  asked.endpoint.cancel("12-0");
  const auto reply = asked.endpoint.take();
  REQUIRE(reply);
  CHECK(reply->failure == "cancelled");
  CHECK_FALSE(fs::exists(asked.requests("12-0.json")));
  CHECK_FALSE(fs::exists(asked.requests("12-0.md")));
}

TEST_CASE("replies are looked for once per interval and the wait ends with it") {
  TemporaryFolder folder;
  SpoolEndpoint endpoint({.folder = folder.path(), .poll_interval = 20ms}, {});
  endpoint.submit(k_request);
  endpoint.pump();
  write(folder.path() / "replies" / "12-0.md", "x");
  std::vector<pollfd> nothing;
  const auto start = std::chrono::steady_clock::now();
  endpoint.wait(nothing, 20s);
  CHECK(std::chrono::steady_clock::now() - start < 10s);
  endpoint.pump();
  CHECK(endpoint.take());
}

TEST_CASE("a folder that cannot be made is run trouble") {
  TemporaryFolder folder;
  write(folder.path() / "file", "x");
  CHECK_THROWS_AS(SpoolEndpoint({.folder = folder.path() / "file"}, {}), Error);
}
