// SPDX-License-Identifier: Apache-2.0
// The scripted server over cpp-httplib, one thread per request inside.
#include "tests/support/fake_openai_server.h"

#include <httplib.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <nlohmann/json.hpp>
#include <thread>

namespace kernelites {

std::string chat_answer(const std::string& text) {
  const nlohmann::json choice = {
      {"index", 0}, {"message", {{"role", "assistant"}, {"content", text}}}, {"finish_reason", "stop"}};
  const nlohmann::json usage = {{"prompt_tokens", 1000},
                                {"completion_tokens", 200},
                                {"prompt_tokens_details", {{"cached_tokens", 400}}}};
  nlohmann::json answer = {{"model", "fake-1"}, {"choices", nlohmann::json::array()}, {"usage", usage}};
  answer["choices"].push_back(choice);
  return answer.dump();
}

struct FakeOpenAiServer::Body {
  std::mutex mutex;
  std::condition_variable gathered;
  std::vector<ScriptedAnswer> script;
  std::size_t gather = 1;
  std::size_t answered = 0;
  std::size_t together = 0;
  std::size_t together_max = 0;
  std::vector<SeenRequest> requests;
  httplib::Server server;
  std::atomic<bool> has_threads{false};
  int port = 0;
  std::thread thread;

  void answer(const httplib::Request& request, httplib::Response& response) {
    std::unique_lock lock(mutex);
    requests.push_back({request.target, request.get_header_value("Authorization"), request.body});
    together_max = std::max(together_max, ++together);
    gathered.notify_all();
    gathered.wait_for(lock, std::chrono::seconds(20), [this] { return together_max >= gather; });
    --together;
    const ScriptedAnswer& scripted = script[std::min(answered++, script.size() - 1)];
    response.status = scripted.status;
    for (const auto& [name, value] : scripted.headers) response.set_header(name, value);
    response.set_content(scripted.body, "application/json");
  }
};

FakeOpenAiServer::FakeOpenAiServer(std::vector<ScriptedAnswer> script, std::size_t gather)
    : body_(std::make_unique<Body>()) {
  Body& body = *body_;
  body.script = std::move(script);
  body.gather = gather;
  body.server.new_task_queue = [&body] {
    auto* pool = new httplib::ThreadPool(80);
    body.has_threads = true;
    return pool;
  };
  int listener = -1;
  body.server.set_socket_options([&listener](socket_t socket) { listener = socket; });
  body.server.set_keep_alive_max_count(1000);
  const auto handler = [&body](const httplib::Request& request, httplib::Response& response) {
    body.answer(request, response);
  };
  body.server.Post("/v1/chat/completions", handler);
  body.server.Get("/v1/models", handler);
  body.port = body.server.bind_to_any_port("127.0.0.1");
  ::listen(listener,
           128);  // the library's backlog of five turns a burst of connections into seconds of waiting
  body.thread = std::thread([&body] { body.server.listen_after_bind(); });
  while (!body.server.is_running() || !body.has_threads) std::this_thread::yield();
}

FakeOpenAiServer::~FakeOpenAiServer() {
  {
    const std::lock_guard lock(body_->mutex);
    body_->gather = 0;
  }
  body_->gathered.notify_all();
  body_->server.stop();
  body_->thread.join();
}

std::string FakeOpenAiServer::base_url() const {
  return "http://127.0.0.1:" + std::to_string(body_->port) + "/v1";
}

std::size_t FakeOpenAiServer::request_count() const {
  const std::lock_guard lock(body_->mutex);
  return body_->requests.size();
}

SeenRequest FakeOpenAiServer::request(std::size_t index) const {
  const std::lock_guard lock(body_->mutex);
  return body_->requests.at(index);
}

std::size_t FakeOpenAiServer::together_max() const {
  const std::lock_guard lock(body_->mutex);
  return body_->together_max;
}

}  // namespace kernelites
