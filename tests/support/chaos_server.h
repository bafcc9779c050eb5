// SPDX-License-Identifier: Apache-2.0
// A model server on loopback that behaves badly by a drawn script, and remembers what it did to whom.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>

namespace kernelites {

enum class Mischief {
  answer,        ///< one JSON document
  stream,        ///< server-sent events
  drip,          ///< the same, piece by piece
  rate_limit,    ///< 429 with Retry-After: 0
  server_error,  ///< 500
  overload,      ///< 529
  stall,         ///< reads the request and says nothing
  stall_middle,  ///< half a stream, then nothing
  cut,           ///< half a stream, then closes
  hang_up,       ///< closes without a word
  noise,         ///< what is not HTTP
  broken_json,   ///< 200 with half a document
  redirect,      ///< 302 to another server
  filter,        ///< finish reason content_filter
  length,        ///< finish reason length
  count_         ///< not a mischief
};

/// What a client calls it: "" for an answer.
const char* failure_of(Mischief mischief);

/// What happened to the requests of one call, told by the text "call <number>" in their bodies.
struct ChaosRecord {
  int requests = 0;
  Mischief last = Mischief::answer;
  int answered = 0;           ///< requests whose usage was reported: 10 tokens in, 5 out
  bool has_lost_one = false;  ///< a request may have cost what the client cannot know
};

class ChaosServer {
 public:
  /// `per_mille[m]` of a thousand requests get that mischief, the rest an answer. One thread serves all.
  ChaosServer(std::map<Mischief, int> per_mille, std::uint64_t seed);
  ~ChaosServer();

  std::string base_url() const;
  /// By call. Only when no request is in flight.
  const std::map<int, ChaosRecord>& records() const;
  /// Requests that followed a redirect: must be none.
  int followed_redirects() const;

 private:
  struct Body;
  std::unique_ptr<Body> body_;
};

}  // namespace kernelites
