// SPDX-License-Identifier: Apache-2.0
// Batches: requests written once, replies read once, torn tails ignored.
#include "evaluators/batch_evaluator.h"

#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "engine/core/error.h"
#include "tests/support/catch.h"

using namespace kernelites;
using Catch::Contains;
namespace fs = std::filesystem;

namespace {

fs::path fresh_folder() {
  static int count = 0;
  const fs::path folder = fs::temp_directory_path() /
                          ("kernelites_batch_" + std::to_string(getpid()) + "_" + std::to_string(++count));
  fs::remove_all(folder);
  return folder;
}

Request request(const std::string& id) {
  Request request;
  request.id = id;
  request.device = "vgpu";
  request.task_document = Json::object();
  request.examine = ExamineRequest{};
  return request;
}

std::string reply_line(const std::string& id, double worker_s = 1) {
  Reply reply;
  reply.id = id;
  reply.worker_s = worker_s;
  reply.examination = Examination{};
  return encode(reply) + "\n";
}

std::string greeting_line(int version = k_protocol_version) {
  Greeting greeting;
  greeting.version = version;
  greeting.provenance.device.kind = "far GPU";
  return encode(greeting) + "\n";
}

void append(const fs::path& file, const std::string& text) { std::ofstream(file, std::ios::app) << text; }

std::size_t line_count(const fs::path& file) {
  std::ifstream in(file);
  std::size_t lines = 0;
  for (std::string line; std::getline(in, line);) ++lines;
  return lines;
}

/// A folder whose first batch holds the requests a and b.
fs::path with_batch_written() {
  const fs::path folder = fresh_folder();
  BatchEvaluator batch(folder, {});
  batch.submit(request("a"));
  batch.submit(request("b"));
  REQUIRE(batch.write());
  return folder;
}

}  // namespace

TEST_CASE("requests are collected and written as one batch") {
  const fs::path folder = fresh_folder();
  BatchEvaluator batch(folder, {});
  CHECK_FALSE(batch.is_waiting_for_batch());
  batch.submit(request("a"));
  batch.submit(request("b"));
  CHECK(batch.is_waiting_for_batch());
  CHECK(batch.write());
  CHECK_FALSE(batch.write());
  CHECK(line_count(folder / "1.in.jsonl") == 2);
  REQUIRE(batch.unanswered().size() == 1);
  CHECK(batch.unanswered()[0].second == folder / "1.out.jsonl");
}

TEST_CASE("a second start does not write the same requests again") {
  const fs::path folder = with_batch_written();
  BatchEvaluator batch(folder, {});
  batch.submit(request("a"));
  batch.submit(request("b"));
  CHECK(batch.is_waiting_for_batch());
  CHECK_FALSE(batch.write());
  CHECK_FALSE(fs::exists(folder / "2.in.jsonl"));
  batch.submit(request("c"));
  CHECK(batch.write());
  CHECK(line_count(folder / "2.in.jsonl") == 1);
}

TEST_CASE("replies are delivered and the device becomes known") {
  const fs::path folder = with_batch_written();
  append(folder / "1.out.jsonl", greeting_line() + reply_line("b") + reply_line("a"));
  BatchEvaluator batch(folder, {});
  CHECK(batch.provenance().device.kind == "far GPU");
  batch.submit(request("a"));
  CHECK_FALSE(batch.is_waiting_for_batch());
  CHECK(batch.take()->id == "a");
  CHECK_FALSE(batch.take());
  batch.submit(request("b"));
  CHECK(batch.take()->id == "b");
}

TEST_CASE("a torn last reply is ignored and read once it is whole") {
  const fs::path folder = with_batch_written();
  const std::string whole = reply_line("b");
  append(folder / "1.out.jsonl", greeting_line() + reply_line("a") + whole.substr(0, whole.size() / 2));
  {
    BatchEvaluator batch(folder, {});
    batch.submit(request("b"));
    CHECK(batch.is_waiting_for_batch());
    CHECK(batch.unanswered().size() == 1);
  }
  append(folder / "1.out.jsonl", whole.substr(whole.size() / 2));
  BatchEvaluator batch(folder, {});
  batch.submit(request("b"));
  CHECK(batch.take()->id == "b");
}

TEST_CASE("of two replies to one request the first counts") {
  const fs::path folder = with_batch_written();
  append(folder / "1.out.jsonl", reply_line("a", 1) + reply_line("a", 2));
  BatchEvaluator batch(folder, {});
  batch.submit(request("a"));
  CHECK(batch.take()->worker_s == 1);
  CHECK_FALSE(batch.take());
}

TEST_CASE("a file that is no batch is an error") {
  for (const std::string& text : {std::string("not json\n"), greeting_line(99)}) {
    const fs::path folder = with_batch_written();
    append(folder / "1.out.jsonl", text);
    CHECK_THROWS_AS(BatchEvaluator(folder, {}), Error);
  }
}

TEST_CASE("a reply of an older worker that its device was unfit leaves the request unanswered") {
  const fs::path folder = with_batch_written();
  append(folder / "1.out.jsonl", encode(Reply{.id = "a", .error = "device unfit: it is too hot"}) + "\n");
  BatchEvaluator batch(folder, {});
  batch.submit(request("a"));
  CHECK_FALSE(batch.take());
  CHECK(batch.unanswered().size() == 1);
  append(folder / "1.out.jsonl", reply_line("a"));
  BatchEvaluator later(folder, {});
  later.submit(request("a"));
  const std::optional<Reply> reply = later.take();
  REQUIRE(reply);
  CHECK(reply->examination);
}
