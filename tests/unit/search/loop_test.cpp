// SPDX-License-Identifier: Apache-2.0
// The loop with a fake evaluator and a fake model: budgets, determinism, resumption, trouble.
#include "engine/search/loop.h"

#include <fcntl.h>
#include <unistd.h>

#include <fstream>
#include <set>

#include "engine/core/error.h"
#include "evaluators/batch_evaluator.h"
#include "tests/support/catch.h"
#include "tests/unit/search/search_rig.h"

using namespace kernelites;

TEST_CASE("a run spends its budget of candidates exactly") {
  SearchRig rig;
  FakeEvaluator evaluator;
  FakeModel model;
  const LoopEnd end = rig.run(evaluator, &model);
  CHECK(end.reason == StopReason::budget);
  CHECK(end.detail == "candidates");
  Archive archive = rig.open();
  CHECK(archive.spent().candidates == 12 + 2);
  CHECK(archive.counters().told == 12 + 2);
  CHECK(archive.unfinished_candidates().empty());
  CHECK(archive.open_variations().empty());
  CHECK(archive.grid().elite_count() > 3);
  CHECK(archive.run().state == "stopped");
}

TEST_CASE("the fastest seed is the baseline and has speed-up 1") {
  SearchRig rig;
  rig.config.budget.candidates = 1;
  FakeEvaluator evaluator;
  FakeModel model;
  rig.run(evaluator, &model);
  Archive archive = rig.open();
  CHECK(rig.sink.count("baseline") == 1);
  for (const Json& event : rig.sink.events)
    if (event.at("event") == "baseline") CHECK(event.at("id") == archive.candidate(1)->id);
  CHECK(archive.elite_history().at(0).elite.speedup == Approx(1));
  const Grid grid = archive.grid();
  const Elite* naive = grid.find("direct/fma/tile");
  REQUIRE(naive != nullptr);
  CHECK(naive->speedup < 0.7);
}

TEST_CASE("the tuner alone improves a seed and then says that nothing is left") {
  SearchRig rig;
  rig.config.budget.candidates = 100;
  FakeEvaluator evaluator;
  const LoopEnd end = rig.run(evaluator, nullptr);
  CHECK(end.reason == StopReason::exhausted);
  Archive archive = rig.open();
  CHECK(archive.spent().candidates == 2 + 3);
  CHECK(archive.grid().best()->speedup == Approx(1.2).margin(0.001));
}

TEST_CASE("no model reply and no evaluation is asked for twice in an undisturbed run") {
  SearchRig rig;
  FakeEvaluator evaluator(false);
  FakeModel model;
  rig.run(evaluator, &model);
  std::set<std::string> ids;
  for (const Request& request : evaluator.requests) CHECK(ids.insert(request.id).second);
}

TEST_CASE("measured gains are confirmed in a second duel, modelled ones are exact") {
  const auto confirmations = [](bool is_virtual) {
    SearchRig rig;
    FakeEvaluator evaluator(is_virtual);
    rig.run(evaluator, nullptr);
    Archive archive = rig.open();
    int count = 0;
    for (const CandidateRecord& record : archive.candidates())
      for (const EvaluationRecord& evaluation : archive.evaluations(record.ordinal))
        count += evaluation.request.value("is_confirmation", false) ? 1 : 0;
    return count;
  };
  CHECK(confirmations(true) == 0);
  CHECK(confirmations(false) > 0);
}

TEST_CASE(
    "what enters the archive from a real device was examined with the costly stages, from the virtual one "
    "not") {
  const auto check_thorough = [](bool is_virtual) {
    SearchRig rig;
    FakeEvaluator evaluator(is_virtual);
    FakeModel model;
    rig.run(evaluator, &model);
    std::set<std::string> thorough;
    for (const Request& request : evaluator.requests)
      if (request.examine && request.examine->is_thorough) thorough.insert(request.id);
    Archive archive = rig.open();
    CHECK(!archive.elite_history().empty());
    CHECK(thorough.empty() == is_virtual);
    for (const EliteStep& step : archive.elite_history())
      CHECK((is_virtual || thorough.contains(std::to_string(step.elite.ordinal) + "-thorough")));
    for (const Champion& champion : archive.champions())
      CHECK((is_virtual || thorough.contains(std::to_string(champion.ordinal) + "-thorough")));
  };
  check_thorough(false);
  check_thorough(true);
}

TEST_CASE("keys differ between requests and repeat between golden runs") {
  const auto keys = [] {
    SearchRig rig;
    rig.config.budget.candidates = 3;
    FakeEvaluator evaluator;
    FakeModel model;
    rig.run(evaluator, &model);
    std::map<std::string, std::string> key_of;
    for (const Request& request : evaluator.requests)
      key_of[request.id] = (request.examine ? request.examine->key : request.duel->key).hex();
    return key_of;
  };
  const auto first = keys();
  std::set<std::string> distinct;
  for (const auto& [id, key] : first) distinct.insert(key);
  CHECK(distinct.size() == first.size());
  CHECK(first.at("1-examine") == keys().at("1-examine"));
}

TEST_CASE("a deterministic run gives one dump whatever the order of arrival") {
  std::string first;
  for (std::uint64_t order : {0, 1, 2, 3, 4, 5}) {
    SearchRig rig;
    rig.config.is_deterministic = true;
    FakeEvaluator evaluator(true, order, 1 + order % 3);
    FakeModel model(order);
    rig.run(evaluator, &model);
    if (first.empty()) first = rig.dump_text();
    INFO("order " << order);
    CHECK((rig.dump_text() == first));
  }
  CHECK(first.size() > 1000);
}

TEST_CASE("a run that is killed at any event resumes to the same dump") {
  SearchRig whole;
  whole.config.is_deterministic = true;
  whole.config.budget.candidates = 5;
  FakeEvaluator evaluator(true, 1);
  FakeModel model(1);
  whole.run(evaluator, &model);
  const std::string expected = whole.dump_text();
  const int events = static_cast<int>(whole.sink.events.size());
  REQUIRE(events > 30);
  for (int kill = 1; kill <= events; ++kill) {
    SearchRig rig;
    rig.config = whole.config;
    rig.sink.throw_at = kill;
    {
      FakeEvaluator first(true, 1);
      FakeModel first_model(1);
      CHECK_THROWS_AS(rig.run(first, &first_model), RecordingSink::Kill);
    }
    FakeEvaluator second(true, 7, 1);
    FakeModel second_model(7);
    rig.run(second, &second_model);
    INFO("killed at event " << kill << " of " << events);
    REQUIRE((rig.dump_text() == expected));
  }
}

TEST_CASE("a run that is killed over and over ends all the same and counts nothing twice") {
  SearchRig rig;
  int sessions = 0;
  for (;; ++sessions) {
    REQUIRE(sessions < 200);
    rig.sink.events.clear();
    rig.sink.throw_at = 9;  // some events of progress in every session
    FakeEvaluator evaluator(false, 3);
    FakeModel model(3);
    try {
      if (rig.run(evaluator, &model).reason == StopReason::budget) break;
    } catch (const RecordingSink::Kill&) {
    }
  }
  CHECK(sessions > 5);
  Archive archive = rig.open();
  CHECK(archive.spent().candidates == 12 + 2);
  CHECK(archive.counters().told == 12 + 2);
}

TEST_CASE("an elite's speed never falls in a cell") {
  SearchRig rig;
  rig.config.budget.candidates = 40;
  FakeEvaluator evaluator(false, 5);
  FakeModel model(5);
  rig.run(evaluator, &model);
  Archive archive = rig.open();
  std::map<std::string, double> fitness;
  for (const EliteStep& step : archive.elite_history()) {
    CHECK(step.elite.fitness >= fitness[step.elite.cell]);
    fitness[step.elite.cell] = step.elite.fitness;
  }
  CHECK(archive.champions().size() == 1);
}

TEST_CASE("a token budget is never exceeded, calls in flight included") {
  SearchRig rig;
  rig.config.operators = {{"refine", 1}};
  rig.config.budget.candidates = 0;
  rig.config.budget.tokens = 60000;
  FakeEvaluator evaluator;
  FakeModel model;
  const LoopEnd end = rig.run(evaluator, &model);
  CHECK(end.reason == StopReason::budget);
  const Spent spent = rig.open().spent();
  CHECK(spent.input_tokens + spent.output_tokens <= 60000);
  CHECK(model.calls > 10);
}

TEST_CASE("a budget in dollars is never exceeded") {
  SearchRig rig;
  rig.config.operators = {{"refine", 1}};
  rig.config.budget.candidates = 0;
  rig.config.budget.usd = 0.095;
  FakeEvaluator evaluator;
  FakeModel model;
  CHECK(rig.run(evaluator, &model).reason == StopReason::budget);
  CHECK(rig.open().spent().usd <= 0.095);
  CHECK(model.calls == 9);
}

TEST_CASE("a budget of device seconds stops the sending of requests and a larger one goes on") {
  SearchRig rig;
  rig.config.budget.device_s = 3;
  FakeEvaluator evaluator;
  FakeModel model;
  CHECK(rig.run(evaluator, &model).detail == "device_s");
  CHECK(rig.open().spent().device_s < 3 + 8 * 0.25);
  rig.config.budget.device_s = 1000;
  CHECK(rig.run(evaluator, &model).detail == "candidates");
  CHECK(rig.open().counters().told == 12 + 2);
}

TEST_CASE("a budget of minutes counts earlier sessions") {
  SearchRig rig;
  rig.config.budget.minutes = 10;
  rig.open().set_wall_s(601);
  FakeEvaluator evaluator;
  FakeModel model;
  CHECK(rig.run(evaluator, &model).detail == "minutes");
  CHECK(evaluator.requests.empty());
}

TEST_CASE("a wish to stop ends the run in a state that goes on later") {
  SearchRig rig;
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  REQUIRE(write(ends[1], "x", 1) == 1);
  FakeEvaluator evaluator;
  FakeModel model;
  CHECK(rig.run(evaluator, &model, ends[0]).reason == StopReason::interrupted);
  CHECK(rig.open().run().state == "stopped");
  CHECK(rig.run(evaluator, &model).reason == StopReason::budget);
  CHECK(rig.open().counters().told == 12 + 2);
  close(ends[0]);
  close(ends[1]);
}

TEST_CASE("a model that never gives a candidate ends the run") {
  SearchRig rig;
  rig.config.operators = {{"refine", 1}};
  rig.config.barren_max = 5;
  FakeEvaluator evaluator;
  FakeModel model;
  model.always = "no";
  const LoopEnd end = rig.run(evaluator, &model);
  CHECK(end.reason == StopReason::barren);
  CHECK_THAT(end.detail, Catch::Contains("no_code_block"));
}

TEST_CASE("a duplicate is a rejection and costs no evaluation") {
  SearchRig rig;
  rig.config.operators = {{"refine", 1}};
  rig.config.barren_max = 3;
  FakeEvaluator evaluator;
  FakeModel model;
  model.always = "```cuda\n// us: 50\n__global__ void k() {}\n```\n";
  CHECK(rig.run(evaluator, &model).reason == StopReason::barren);
  CHECK(rig.open().spent().candidates == 2 + 1);
  CHECK(rig.open().rejections().front().reason == "duplicate");
}

TEST_CASE("seeds that all fail are trouble of the run, with the verdict's words") {
  SearchRig rig;
  rig.seeds = {{"bad.cu", {"// fails: compile\n__global__ void k() {}\n", {}}}};
  FakeEvaluator evaluator;
  CHECK_THROWS_WITH(rig.run(evaluator, nullptr), Catch::Contains("told to fail"));
}

TEST_CASE("one failed seed does not end the run") {
  SearchRig rig;
  rig.seeds.push_back({"bad.cu", {"// fails: compile\n__global__ void bad() {}\n", {}}});
  FakeEvaluator evaluator;
  FakeModel model;
  CHECK(rig.run(evaluator, &model).reason == StopReason::budget);
  CHECK(rig.open().candidate(3)->outcome == "failed");
}

TEST_CASE("an evaluator that gives no results ends the run") {
  SearchRig rig;
  rig.config.budget.candidates = 30;
  FakeEvaluator evaluator;
  FakeModel model;
  rig.config.budget.candidates = 2;
  rig.run(evaluator, &model);
  rig.config.budget.candidates = 30;
  evaluator.is_broken = true;
  CHECK_THROWS_WITH(rig.run(evaluator, &model), Catch::Contains("the device is gone"));
}

namespace {

/// Plays the far worker: answers every request of the batches that lack replies.
int answer_batches(const BatchEvaluator& batch) {
  int answered = 0;
  for (const auto& [in, out] : batch.unanswered()) {
    std::ifstream requests(in);
    std::ofstream replies(out, std::ios::app);
    Greeting greeting;
    greeting.provenance = fake_provenance(false);
    replies << encode(greeting) << "\n";
    for (std::string line; std::getline(requests, line); ++answered)
      replies << encode(fake_reply(decode_request(line), greeting.provenance)) << "\n";
  }
  return answered;
}

}  // namespace

TEST_CASE("with batches a generation is one batch of examinations and one of duels") {
  SearchRig rig;
  rig.config.is_batch = true;
  rig.config.in_flight = 6;
  rig.config.budget.candidates = 12;
  rig.config.operators = {{"refine", 1}};
  FakeModel model;
  std::vector<int> sizes;
  for (;;) {
    REQUIRE(sizes.size() < 30);
    BatchEvaluator batch(rig.folder.path() / "batches", fake_provenance(false));
    const LoopEnd end = rig.run(batch, &model);
    if (end.reason == StopReason::budget) break;
    REQUIRE(end.reason == StopReason::waiting);
    CHECK(rig.open().run().state == "waiting");
    batch.write();
    sizes.push_back(answer_batches(batch));
  }
  REQUIRE(sizes.size() >= 4);
  CHECK(sizes[0] == 2);  // the seeds' examinations
  CHECK(sizes[1] == 2);  // and duels
  CHECK(sizes[2] == 6);  // the first generation
  CHECK(sizes.size() <= 9);
  CHECK(rig.open().counters().told == 12 + 2);
}

TEST_CASE(
    "an agent's episode goes through batches: what one reply times is one round trip, and its duels "
    "another") {
  SearchRig rig;
  rig.config.is_batch = true;
  rig.config.budget.candidates = 4;
  rig.config.in_flight = 1;
  rig.config.operators = {{"agent", 1}};
  FakeModel model;
  model.script = [](const ModelRequest& request) {
    ModelReply reply;
    const bool is_first = request.messages.size() < 4;
    for (int us = 50; us < 54; ++us)
      reply.tool_calls.push_back(
          {std::to_string(us), is_first ? "time" : "submit",
           is_first ? R"({"source":"// us: )" + std::to_string(us) + R"(\n__global__ void k() {}"})"
                    : R"({"candidate":"c1"})"});
    return reply;
  };
  std::vector<int> sizes;
  for (LoopEnd end{.reason = StopReason::waiting}; end.reason == StopReason::waiting;) {
    REQUIRE(sizes.size() < 10);
    BatchEvaluator batch(rig.folder.path() / "batches", fake_provenance(false));
    end = rig.run(batch, &model);
    batch.write();
    sizes.push_back(answer_batches(batch));
  }
  REQUIRE(sizes.size() >= 4);
  CHECK(sizes[2] == 3);  // the fourth of the budget is kept for what it submits
  CHECK(sizes[3] >= 3);
  CHECK(rig.open().variation(3)->state == "submitted");
}
