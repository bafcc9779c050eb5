// SPDX-License-Identifier: Apache-2.0
// A real model server: llama.cpp with a small model, started and stopped here. Where it cannot be had, cases say so.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <iostream>

#include "engine/core/json.h"
#include "engine/llm/endpoint_check.h"
#include "engine/llm/http_endpoint.h"
#include "tests/support/catch.h"

using namespace kernelites;
using namespace std::chrono_literals;

namespace {

constexpr const char* k_number_schema =
    R"({"type":"object","properties":{"number":{"type":"integer"}},"required":["number"],"additionalProperties":false})";

/// The server's process; it ends when its standard input does.
class LlamaServer {
 public:
  LlamaServer() {
    int to_server[2], from_server[2];
    if (::pipe2(to_server, O_CLOEXEC) != 0 || ::pipe2(from_server, O_CLOEXEC) != 0) std::abort();
    pid_ = ::fork();
    if (pid_ == 0) {
      ::dup2(to_server[0], 0);
      ::dup2(from_server[1], 1);
      ::dup2(::open("/dev/null", O_WRONLY), 2);
      ::execlp("python3", "python3", KERNELITES_SOURCE_DIR "/tests/llm/llama_server.py",
               KERNELITES_SOURCE_DIR "/.deps/llm", nullptr);
      ::_exit(127);
    }
    ::close(to_server[0]);
    ::close(from_server[1]);
    input_ = to_server[1];
    said_ = read_line(from_server[0]);
    ::close(from_server[0]);
  }
  ~LlamaServer() {
    ::close(input_);
    for (int i = 0; i < 100 && ::waitpid(pid_, nullptr, WNOHANG) == 0; ++i) ::usleep(50'000);
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }

  bool is_ready() const { return said_.rfind("ready ", 0) == 0; }
  std::string said() const { return said_; }
  std::string base_url() const { return said_.substr(6) + "/v1"; }

 private:
  static std::string read_line(int descriptor) {
    std::string line;
    const auto end = std::chrono::steady_clock::now() + 600s;
    for (char c = 0; std::chrono::steady_clock::now() < end;) {
      pollfd entry{descriptor, POLLIN, 0};
      if (::poll(&entry, 1, 1000) == 0) continue;
      if (::read(descriptor, &c, 1) != 1 || c == '\n') break;
      line += c;
    }
    return line;
  }

  pid_t pid_ = -1;
  int input_ = -1;
  std::string said_;
};

/// One for all cases.
const LlamaServer& server() {
  static const LlamaServer k_server;
  return k_server;
}

#define SKIP_WITHOUT_SERVER()                                       \
  if (!server().is_ready()) {                                       \
    WARN("skipped: no llama.cpp server here: " << server().said()); \
    return;                                                         \
  }

HttpEndpointSettings settings(bool streams = true) {
  HttpEndpointSettings settings;
  settings.base_url = server().base_url();
  settings.shape.model = "gemma";
  settings.shape.streams = streams;
  settings.shape.parameters = {{"seed", 1}};
  settings.deadlines.total = 240s;
  return settings;
}

ModelRequest request(const std::string& text, int output_tokens_max = 24) {
  return {
      .id = "1-0", .messages = {{"user", text}}, .output_tokens_max = output_tokens_max, .temperature = 0};
}

std::optional<ModelReply> turn(HttpEndpoint& endpoint, std::chrono::seconds time) {
  std::vector<pollfd> nothing;
  const auto end = std::chrono::steady_clock::now() + time;
  while (std::chrono::steady_clock::now() < end) {
    if (auto reply = endpoint.take()) return reply;
    endpoint.wait(nothing, 100ms);
    endpoint.pump();
  }
  return std::nullopt;
}

ModelReply answer(const ModelRequest& request, bool streams = true) {
  HttpLoop http;
  HttpEndpoint endpoint(settings(streams), "", http, {}, Rng(1));
  endpoint.submit(request);
  const auto reply = turn(endpoint, 300s);
  REQUIRE(reply);
  CAPTURE(reply->message);
  CHECK((reply->failure == "" || reply->failure == "length"));
  return *reply;
}

}  // namespace

TEST_CASE("a real server's stream gives the text of its document, with usage") {
  SKIP_WITHOUT_SERVER();
  const ModelReply streamed = answer(request("Count: one, two, three,"));
  const ModelReply whole = answer(request("Count: one, two, three,"), /*streams=*/false);
  CHECK(streamed.text == whole.text);
  CHECK_FALSE(streamed.cost.is_estimated);
  CHECK(streamed.cost.output_tokens == whole.cost.output_tokens);
  CHECK(streamed.first_byte_s > 0);
  CHECK(streamed.first_byte_s < streamed.latency_s);
  std::cout << "latency " << streamed.latency_s << " s, first byte " << streamed.first_byte_s << " s, "
            << streamed.cost.output_tokens << " tokens\n";
}

TEST_CASE("a real server keeps to an answer's schema") {
  SKIP_WITHOUT_SERVER();
  ModelRequest wanted = request("Give a number.", 64);
  wanted.answer_schema = {.name = "number", .schema = k_number_schema};
  const ModelReply reply = answer(wanted);
  CAPTURE(reply.text);
  CHECK(Json::parse(reply.text).at("number").is_number_integer());
}

// The model is a base model without a template for tools: whether it calls one is its own affair.
TEST_CASE("a real server takes tools, a forced choice and a tool's result") {
  SKIP_WITHOUT_SERVER();
  ModelRequest wanted = request("Report the number 7.", 32);
  wanted.tools = {{.name = "report", .description = "Reports a number.", .parameters = k_number_schema}};
  wanted.tool_choice = "required";
  const ModelReply reply = answer(wanted);
  for (const ToolCall& call : reply.tool_calls) CHECK(call.name == "report");
  CHECK(reply.cost.output_tokens > 0);
  const ToolCall call =
      reply.tool_calls.empty() ? ToolCall{"c1", "report", R"({"number": 7})"} : reply.tool_calls[0];
  wanted.messages.push_back({.role = "assistant", .tool_calls = {call}});
  wanted.messages.push_back({.role = "tool", .text = "reported", .tool_call_id = call.id});
  wanted.tool_choice = "none";
  wanted.output_tokens_max = 8;
  CHECK(answer(wanted).cost.input_tokens > reply.cost.input_tokens);
}

TEST_CASE("a cancelled call leaves a real server free for the next") {
  SKIP_WITHOUT_SERVER();
  HttpLoop http;
  HttpEndpoint endpoint(settings(), "", http, {}, Rng(1));
  endpoint.submit(request("Tell a very long story.", 1500));
  CHECK_FALSE(turn(endpoint, 2s));
  endpoint.cancel("1-0");
  const auto cancelled = turn(endpoint, 1s);
  REQUIRE(cancelled);
  CHECK(cancelled->failure == "cancelled");
  CHECK(http.running() == 0);
  CHECK(answer(request("Say yes.", 4)).cost.output_tokens <= 4);
}

TEST_CASE("the doctor finds a real server usable") {
  SKIP_WITHOUT_SERVER();
  HttpLoop http;
  HttpEndpointSettings short_of_words = settings();
  short_of_words.shape.parameters["max_tokens"] =
      48;  // a base model would talk on for all that the doctor allows
  const EndpointConfig config{.where = "test", .settings = short_of_words};
  for (const EndpointCheck& check : check_endpoint(config, {.http = http, .run_folder = "/nowhere"}, 240s)) {
    std::cout << check.subject << ": " << check.found << "\n";
    CAPTURE(check.subject, check.found);
    CHECK(check.state != CheckState::bad);
  }
}
