// SPDX-License-Identifier: Apache-2.0
// Where waiting requests go: the least busy first, suspects alone, those that came back elsewhere.
#include "evaluators/request_placing.h"

#include "tests/support/catch.h"

using namespace kernelites;

namespace {

constexpr WorkerLoad k_idle{.is_ready = true}, k_busy{.is_ready = true, .load = 1},
    k_full{.is_ready = true, .load = 2}, k_away{};
constexpr WaitingRequest k_fresh{}, k_back{.losses = 0, .back_from = 0},
    k_suspect{.losses = 1, .back_from = 0};

/// "request>worker" words, with two requests a worker.
std::string placing(const std::vector<WaitingRequest>& queue, std::vector<WorkerLoad> workers) {
  std::string words;
  for (const PlacedRequest& placed : place_requests(queue, std::move(workers), 2))
    words += std::to_string(placed.request) + ">" + std::to_string(placed.worker) + " ";
  return words;
}

}  // namespace

TEST_CASE("fresh requests go to the least busy worker, in their order") {
  CHECK(placing({k_fresh, k_fresh, k_fresh, k_fresh}, {k_busy, k_idle, k_away}) == "0>1 1>0 2>1 ");
  CHECK(placing({k_fresh}, {k_away, k_full}).empty());
}

TEST_CASE("a request that came back goes elsewhere if there is an elsewhere as idle") {
  CHECK(placing({k_back}, {k_idle, k_idle}) == "0>1 ");
  CHECK(placing({k_back}, {k_idle, k_busy}) == "0>0 ");
}

TEST_CASE("a request that lost a worker gets one for itself") {
  CHECK(placing({k_suspect, k_fresh, k_fresh}, {k_idle, k_idle}) == "0>1 1>0 2>0 ");
  CHECK(placing({k_suspect, k_fresh, k_fresh}, {k_busy, k_busy}) == "1>0 ");  // worker 1 is kept free for it
}

TEST_CASE(
    "requests that came back from unfit devices do not keep those behind them from a worker of their own") {
  // No worker has room for the first; the suspect behind it must have one kept free all the same.
  CHECK(placing({k_back, k_suspect, k_fresh}, {k_full, k_full}).empty());
  CHECK(placing({k_back, k_back, k_back, k_suspect, k_fresh}, {k_busy, k_busy}) == "0>1 1>0 ");
  CHECK(placing({k_suspect, k_back, k_fresh}, {k_busy, k_full}) == "");
  CHECK(placing({k_suspect, k_back, k_suspect, k_fresh}, {k_busy, k_full, k_idle}) == "0>2 1>0 ");
}

TEST_CASE("nothing is put beside a request that has a worker for itself") {
  CHECK(placing({k_fresh}, {{.is_ready = true, .load = 1, .is_alone_with_one = true}}).empty());
}
