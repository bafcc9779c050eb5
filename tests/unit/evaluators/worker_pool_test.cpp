// SPDX-License-Identifier: Apache-2.0
// The pool against workers that die, hang, talk nonsense or come from another build.
#include "evaluators/worker_pool.h"

#include <filesystem>
#include <fstream>
#include <set>

#include "engine/core/error.h"
#include "tests/support/catch.h"

using namespace kernelites;
using Catch::Contains;
namespace fs = std::filesystem;

namespace {

/// A fresh folder for one case; the fake worker counts its starts there.
fs::path fresh_folder() {
  static int count = 0;
  const fs::path folder = fs::temp_directory_path() /
                          ("kernelites_pool_" + std::to_string(getpid()) + "_" + std::to_string(++count));
  fs::remove_all(folder);
  fs::create_directories(folder);
  return folder;
}

WorkerPoolOptions options_for(const std::string& mode, const fs::path& folder) {
  WorkerPoolOptions options;
  options.command = {"python3", KERNELITES_SOURCE_DIR "/tests/support/fake_worker.py", mode, folder.string()};
  options.error_log = folder / "worker.log";
  options.greeting_deadline_s = 20;
  options.backoff_s = 0.01;
  options.grace_s = 0.2;
  options.failures_max = 4;
  return options;
}

Request request(const std::string& id, double deadline_s = 30) {
  Request request;
  request.id = id;
  request.device = "vgpu";
  request.task_document = Json::object();
  request.deadline_s = deadline_s;
  request.examine = ExamineRequest{};
  return request;
}

/// The next `count` replies, in the order of arrival; fails the case after half a minute.
std::vector<Reply> take_replies(WorkerPool& pool, std::size_t count) {
  std::vector<Reply> replies;
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (replies.size() < count) {
    REQUIRE(std::chrono::steady_clock::now() < end);
    std::vector<pollfd> descriptors = pool.poll_descriptors();
    poll(descriptors.data(), descriptors.size(), 20);
    pool.pump(std::chrono::steady_clock::now());
    while (auto reply = pool.take()) replies.push_back(*reply);
  }
  return replies;
}

std::vector<Reply> replies_to(WorkerPool& pool, const std::vector<std::string>& ids, double deadline_s = 30) {
  for (const std::string& id : ids) pool.submit(request(id, deadline_s));
  return take_replies(pool, ids.size());
}

std::size_t starts(const fs::path& folder) { return fs::file_size(folder / "starts"); }

std::string refusal(const std::string& mode) {
  const fs::path folder = fresh_folder();
  WorkerPoolOptions options = options_for(mode, folder);
  if (mode == "silent") options.greeting_deadline_s = 0.2;
  try {
    WorkerPool pool(options);
    return "";
  } catch (const Error& error) {
    return error.what();
  }
}

}  // namespace

TEST_CASE("a pool answers every request once and knows its device") {
  const fs::path folder = fresh_folder();
  WorkerPool pool(options_for("good", folder));
  CHECK(pool.provenance().device.kind == "fake device");
  std::vector<std::string> ids;
  for (int i = 0; i < 20; ++i) ids.push_back(std::to_string(i));
  std::set<std::string> answered;
  for (const Reply& reply : replies_to(pool, ids)) {
    CHECK(reply.error == "fake");
    CHECK(reply.device_s == 0.25);
    answered.insert(reply.id);
  }
  CHECK(answered.size() == 20);
  CHECK(starts(folder) == 1);
}

TEST_CASE("replies may come in another order than requests") {
  WorkerPool pool(options_for("reverse", fresh_folder()));
  const std::vector<Reply> replies = replies_to(pool, {"a", "b"});
  CHECK(replies[0].id == "b");
  CHECK(replies[1].id == "a");
}

TEST_CASE("a dead worker's requests are retried on a fresh one") {
  const fs::path folder = fresh_folder();
  WorkerPool pool(options_for("die_once", folder));
  for (const Reply& reply : replies_to(pool, {"a", "b"})) CHECK(reply.error == "fake");
  CHECK(starts(folder) == 2);
  const auto incidents = pool.take_incidents();
  REQUIRE(incidents.size() == 1);
  CHECK_THAT(incidents[0], Contains("exit code 3"));
}

TEST_CASE("a line that is no reply ends the worker, not the run") {
  const fs::path folder = fresh_folder();
  WorkerPool pool(options_for("garbage_once", folder));
  CHECK(replies_to(pool, {"a"})[0].error == "fake");
  CHECK(starts(folder) == 2);
}

TEST_CASE("a worker that hangs is killed at the request's deadline and replaced") {
  const fs::path folder = fresh_folder();
  WorkerPool pool(options_for("hang_once", folder));
  CHECK(replies_to(pool, {"a"}, 0.2)[0].error == "fake");
  CHECK(starts(folder) == 2);
}

TEST_CASE("a request that loses two workers is answered with an error, the others survive") {
  const fs::path folder = fresh_folder();
  WorkerPoolOptions options = options_for("die_on:poison", folder);
  options.requests_per_worker = 1;
  WorkerPool pool(options);
  for (const Reply& reply : replies_to(pool, {"a", "poison", "b"})) {
    if (reply.id == "poison")
      CHECK_THAT(reply.error, Contains("two workers were lost"));
    else
      CHECK(reply.error == "fake");
  }
  CHECK(starts(folder) == 3);
}

TEST_CASE("a pool whose workers all keep dying says so instead of waiting") {
  WorkerPool pool(options_for("die_always", fresh_folder()));
  CHECK_THROWS_WITH(replies_to(pool, {"a", "b", "c", "d", "e", "f", "g", "h"}),
                    Contains("no worker can work"));
}

TEST_CASE("an answer to a request that was not sent ends the worker") {
  const fs::path folder = fresh_folder();
  WorkerPool pool(options_for("stranger", folder));
  const std::vector<Reply> replies = replies_to(pool, {"a"});
  CHECK(replies[0].id == "a");
  CHECK_THAT(replies[0].error, Contains("nobody"));
}

TEST_CASE("a worker that cannot work is refused with its own words") {
  CHECK_THAT(refusal("version"), Contains("protocol 2"));
  CHECK_THAT(refusal("problem"), Contains("no CUDA driver"));
  CHECK_THAT(refusal("chatter"), Contains("no greeting") && Contains("hello"));
  CHECK_THAT(refusal("silent"), Contains("did not greet"));
}

TEST_CASE("a program that does not exist is named") {
  WorkerPoolOptions options = options_for("good", fresh_folder());
  options.command = {"/no/such/kernelites-worker"};
  CHECK_THROWS_WITH(WorkerPool(options), Contains("/no/such/kernelites-worker"));
}

TEST_CASE("a worker's stderr goes to the log file") {
  const fs::path folder = fresh_folder();
  WorkerPool pool(options_for("stderr", folder));
  replies_to(pool, {"a"});
  std::ifstream log(folder / "worker.log");
  std::string line;
  std::getline(log, line);
  CHECK(line == "noise of a worker");
}

TEST_CASE("a request larger than a pipe's buffer arrives whole") {
  WorkerPool pool(options_for("good", fresh_folder()));
  Request big = request("big");
  big.reference_source = std::string(3 << 20, 'x');
  pool.submit(big);
  CHECK(take_replies(pool, 1)[0].error == "fake");
}

TEST_CASE("two workers share the requests") {
  const fs::path folder = fresh_folder();
  WorkerPoolOptions options = options_for("good", folder);
  options.workers = 2;
  WorkerPool pool(options);
  CHECK(pool.capacity() == 4);
  CHECK(replies_to(pool, {"a", "b", "c", "d", "e"}).size() == 5);
  CHECK(pool.poll_descriptors().size() == 2);
}
