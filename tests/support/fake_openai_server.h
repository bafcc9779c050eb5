// SPDX-License-Identifier: Apache-2.0
// A chat-completions server on loopback that answers by a script.
#pragma once

#include <httplib.h>

#include <condition_variable>
#include <deque>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

namespace kernelites {

struct ScriptedAnswer {
  int status = 200;
  std::string body;
  std::vector<std::pair<std::string, std::string>> headers;
};

/// The body of a usual success.
inline std::string chat_answer(const std::string& text, const std::string& finish_reason = "stop") {
  return nlohmann::json{{"model", "fake-1"},
                        {"choices",
                         {{{"index", 0},
                           {"message", {{"role", "assistant"}, {"content", text}}},
                           {"finish_reason", finish_reason}}}},
                        {"usage",
                         {{"prompt_tokens", 1000},
                          {"completion_tokens", 200},
                          {"prompt_tokens_details", {{"cached_tokens", 400}}}}}}
      .dump();
}

/// Takes answers from the front of `script`; the last one is repeated. `gather` > 1 holds requests back until
/// so many are there together.
class FakeOpenAiServer {
 public:
  explicit FakeOpenAiServer(std::deque<ScriptedAnswer> script, std::size_t gather = 1)
      : script_(std::move(script)), gather_(gather) {
    server_.new_task_queue = [] { return new httplib::ThreadPool(80); };
    server_.set_keep_alive_max_count(1000);
    server_.set_tcp_nodelay(true);
    server_.Post("/v1/chat/completions",
                 [this](const auto& request, auto& response) { answer(request, response); });
    server_.Get("/v1/models", [this](const auto& request, auto& response) { answer(request, response); });
    port_ = server_.bind_to_any_port("127.0.0.1");
    thread_ = std::thread([this] { server_.listen_after_bind(); });
    while (!server_.is_running()) std::this_thread::yield();
  }
  ~FakeOpenAiServer() {
    {
      const std::lock_guard lock(mutex_);
      gather_ = 0;
    }
    gathered_.notify_all();
    server_.stop();
    thread_.join();
  }

  std::string base_url() const { return "http://127.0.0.1:" + std::to_string(port_) + "/v1"; }
  std::size_t request_count() const {
    const std::lock_guard lock(mutex_);
    return requests_.size();
  }
  httplib::Request request(std::size_t index) const {
    const std::lock_guard lock(mutex_);
    return requests_.at(index);
  }
  /// The most requests that were inside together.
  std::size_t together_max() const {
    const std::lock_guard lock(mutex_);
    return together_max_;
  }

 private:
  void answer(const httplib::Request& request, httplib::Response& response) {
    std::unique_lock lock(mutex_);
    requests_.push_back(request);
    together_max_ = std::max(together_max_, ++together_);
    gathered_.notify_all();
    gathered_.wait_for(lock, std::chrono::seconds(20), [this] { return together_max_ >= gather_; });
    --together_;
    const ScriptedAnswer scripted = script_.front();
    if (script_.size() > 1) script_.pop_front();
    response.status = scripted.status;
    for (const auto& [name, value] : scripted.headers) response.set_header(name, value);
    response.set_content(scripted.body, "application/json");
  }

  mutable std::mutex mutex_;
  std::condition_variable gathered_;
  std::deque<ScriptedAnswer> script_;
  std::size_t gather_;
  std::size_t together_ = 0;
  std::size_t together_max_ = 0;
  std::vector<httplib::Request> requests_;
  httplib::Server server_;
  int port_ = 0;
  std::thread thread_;
};

}  // namespace kernelites
