// SPDX-License-Identifier: Apache-2.0
// A batch on a device that becomes unfit: no such reply is written, and the same batch goes on later.
#include "evaluators/worker/pipeline/serve_batch.h"

#include <atomic>
#include <fstream>
#include <thread>

#include "engine/core/error.h"
#include "evaluators/protocol/device_unfit.h"
#include "tests/support/catch.h"
#include "tests/support/temporary_folder.h"

using namespace kernelites;
using namespace kernelites::worker;
using Catch::Contains;
namespace fs = std::filesystem;

namespace {

constexpr int k_requests = 20;

fs::path write_batch(const fs::path& folder) {
  std::ofstream file(folder / "1.in.jsonl");
  for (int i = 0; i < k_requests; ++i) {
    Request request;
    request.id = "r" + std::to_string(i);
    request.device = "gpu";
    request.task_document = Json::object();
    request.examine = ExamineRequest{};
    file << encode(request) << '\n';
  }
  return folder / "1.in.jsonl";
}

/// Ids of all replies, in their order.
std::vector<std::string> answered(const fs::path& out) {
  std::vector<std::string> ids;
  std::ifstream file(out);
  for (std::string line; std::getline(file, line);) {
    const Reply reply = decode_reply(line);
    CHECK_FALSE(is_device_unfit(reply));
    ids.push_back(reply.id);
  }
  return ids;
}

/// Serves with one job whose device fails after `good` evaluations; `asked` gets the ids that were evaluated.
int serve(const fs::path& in, const fs::path& out, int good, std::vector<std::string>& asked) {
  return serve_batch(in, out, [&asked, good] {
    return BatchWorker{.handle = [&asked, good](const std::string& line) {
      asked.push_back(request_id_of(line));
      Reply reply{.id = asked.back()};
      if (static_cast<int>(asked.size()) > good)
        reply.error = "device unfit: Xid 63: memory row remapping";
      else
        reply.examination = Examination{};
      return reply;
    }};
  });
}

}  // namespace

TEST_CASE("a batch stops where its device becomes unfit and goes on there when it is served again") {
  const TemporaryFolder folder;
  const fs::path in = write_batch(folder.path()), out = folder.path() / "1.out.jsonl";
  std::vector<std::string> asked;
  CHECK_THROWS_WITH(serve(in, out, 3, asked), Contains("device unfit: Xid 63") && Contains("served again"));
  CHECK(asked == std::vector<std::string>{"r0", "r1", "r2", "r3"});
  CHECK(answered(out) == std::vector<std::string>{"r0", "r1", "r2"});

  asked.clear();
  CHECK(serve(in, out, k_requests, asked) == 0);
  CHECK(asked.size() == k_requests - 3);
  CHECK(asked.front() == "r3");
  CHECK(answered(out).size() == k_requests);
}

TEST_CASE(
    "a batch waits for a device that is disturbed, but not for a request that is disturbed whenever it "
    "runs") {
  const TemporaryFolder folder;
  const fs::path in = write_batch(folder.path()), out = folder.path() / "1.out.jsonl";
  int asked = 0, pauses = 0;
  double device_s = 0;
  const auto batch = [&](int disturbed) {
    return [&, disturbed] {
      return BatchWorker{.handle =
                             [&, disturbed](const std::string& line) {
                               Reply reply{.id = request_id_of(line), .device_s = device_s};
                               if (++asked <= disturbed)
                                 reply.error = "device unfit: for now: process 4711 uses 93 % of it";
                               else
                                 reply.examination = Examination{};
                               return reply;
                             },
                         .pause = [&] { ++pauses; }};
    };
  };
  CHECK(serve_batch(in, out, batch(100)) == 0);
  CHECK(pauses == 100);
  CHECK(answered(out).size() == k_requests);

  fs::remove(out);
  asked = pauses = 0;
  device_s = 2;
  CHECK_THROWS_WITH(serve_batch(in, out, batch(1000)), Contains("for now: process 4711"));
  CHECK(pauses == 20);
}

TEST_CASE("a reply of an older worker that its device was unfit is no answer") {
  const TemporaryFolder folder;
  const fs::path in = write_batch(folder.path()), out = folder.path() / "1.out.jsonl";
  std::ofstream(out) << encode(Reply{.id = "r4", .error = "device unfit: it is too hot"}) << '\n';
  std::vector<std::string> asked;
  CHECK(serve(in, out, k_requests, asked) == 0);
  CHECK(asked.size() == k_requests);
}

TEST_CASE("what several jobs had under way when the device failed is still written") {
  const TemporaryFolder folder;
  const fs::path in = write_batch(folder.path()), out = folder.path() / "1.out.jsonl";
  std::atomic<int> begun = 0;
  std::atomic<bool> is_failed = false;
  const auto handle = [&](const std::string& line) {
    Reply reply{.id = request_id_of(line)};
    if (begun.fetch_add(1) == 0) {
      while (begun < 2) std::this_thread::yield();
      is_failed = true;
      reply.error = "device unfit: it is too hot";
      return reply;
    }
    while (!is_failed) std::this_thread::yield();
    reply.examination = Examination{};
    return reply;
  };
  CHECK_THROWS_AS(serve_batch(in, out, [&] { return BatchWorker{.jobs = 2, .handle = handle}; }), Error);
  CHECK_FALSE(answered(out).empty());
}
