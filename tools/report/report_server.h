// SPDX-License-Identifier: Apache-2.0
// The report page of a run that is under way, served on loopback: it follows the run, and steers it if allowed to.
//
//   GET  /         the page, with what the run holds now
//   GET  /events   an event stream: `facts` with new data whenever the run has written something, `problem` in words
//   GET  /data.json   the data alone
//   POST /steer    steer.json is replaced by the body; needs the token in X-Kernelites-Token
//
// Only 127.0.0.1 is listened on. A request that names another host (DNS rebinding) or comes from another origin is
// refused. The database is read beside the run and never held: a reader does not keep the run waiting.
#pragma once

#include <chrono>
#include <filesystem>
#include <memory>
#include <string>

#include "engine/core/json.h"

namespace kernelites {

/// Event streams at a time; each holds a thread.
inline constexpr int k_streams_max = 12;

struct ServerSettings {
  std::string folder;
  int port = 0;                         ///< 0: any free one
  std::string token;                    ///< what steering takes; empty: nobody may steer
  Json libraries = {};                  ///< as PageOptions has them
  std::chrono::milliseconds poll{500};  ///< how often it is looked whether the run has written
};

class ReportServer {
 public:
  /// Reads the run once and binds. Throws ConfigError if there is no run or the port is taken.
  explicit ReportServer(const ServerSettings& settings);
  ~ReportServer();
  ReportServer(const ReportServer&) = delete;

  int port() const;
  /// "http://127.0.0.1:8123/"
  std::string url() const;
  /// Serves until `stop` is called from another thread.
  void serve();
  void stop();

 private:
  struct Body;  // keeps httplib.h, which is slow to compile, in one source
  std::unique_ptr<Body> body_;
};

/// A fresh token: 128 bits from the operating system, in hex.
std::string fresh_token();

}  // namespace kernelites
