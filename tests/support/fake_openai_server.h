// SPDX-License-Identifier: Apache-2.0
// A chat-completions server on loopback that answers by a script.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace kernelites {

struct ScriptedAnswer {
  int status = 200;
  std::string body;
  std::map<std::string, std::string> headers;
};

/// What the server saw of a request.
struct SeenRequest {
  std::string target;
  std::string authorization;
  std::string body;
};

/// The body of a usual success: 1000 input tokens of which 400 cached, 200 output tokens, model "fake-1".
std::string chat_answer(const std::string& text);

/// Takes answers from the front of `script`; the last one is repeated. `gather` > 1 holds requests back, at
/// most 20 s, until so many are there together.
class FakeOpenAiServer {
 public:
  explicit FakeOpenAiServer(std::vector<ScriptedAnswer> script, std::size_t gather = 1);
  ~FakeOpenAiServer();

  std::string base_url() const;
  std::size_t request_count() const;
  SeenRequest request(std::size_t index) const;
  /// The most requests that were inside together.
  std::size_t together_max() const;

 private:
  struct Body;  // keeps httplib.h, which is slow to compile, in one source
  std::unique_ptr<Body> body_;
};

}  // namespace kernelites
