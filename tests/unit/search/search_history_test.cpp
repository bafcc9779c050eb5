// SPDX-License-Identifier: Apache-2.0
// The loop with arms, the ladder and steer.json: who is asked, what is noted, what a resumed run knows.
#include "engine/search/search_history.h"

#include <numeric>

#include "tests/support/catch.h"
#include "tests/unit/search/search_rig.h"

using namespace kernelites;

namespace {

/// A new kernel of one cell at each call, as fast as it says.
ModelReply kernel(const ModelRequest& request, int us, double usd = 0.01) {
  ModelReply reply;
  reply.text = fmt::format(
      "SUMMARY: s\n```cuda\n// cell: direct fma tile\n// us: {}\n// id: {}\n__global__ void k() {{}}\n```\n",
      us, request.id);
  reply.cost = {.input_tokens = 10, .output_tokens = 10, .usd = usd};
  return reply;
}

void steer(const SearchRig& rig, const std::string& text) {
  write_text_atomically(rig.folder.path() / "steer.json", text);
}

std::string prompt_of(const Archive& archive, std::uint64_t ordinal) {
  std::string text;
  for (const ModelCallRecord& call : archive.model_calls(ordinal)) text += call.prompt.dump();
  return text;
}

/// The variations of the run that are no seeds.
std::vector<VariationRecord> asked(const Archive& archive) {
  std::vector<VariationRecord> all;
  for (std::uint64_t ordinal = 1; ordinal < archive.next_ordinal(); ++ordinal)
    if (const auto record = archive.variation(ordinal); record && record->operator_name != "seed")
      all.push_back(*record);
  return all;
}

}  // namespace

TEST_CASE("several endpoints are arms, and each call goes to the one that its variation names") {
  SearchRig rig;
  rig.config.budget.candidates = 40;
  FakeEvaluator evaluator;
  FakeModel small, large;
  small.called = "small";
  large.called = "large";
  rig.run(evaluator, EndpointSet({&small, &large}));
  CHECK(small.calls > 3);
  CHECK(large.calls > 3);
  Archive archive = rig.open();
  for (const VariationRecord& record : asked(archive))
    for (const ModelCallRecord& call : archive.model_calls(record.ordinal))
      CHECK(call.endpoint == record.endpoint);
}

TEST_CASE("the endpoint that brings faster kernels for less money is asked more") {
  SearchRig rig;
  rig.config.budget.candidates = 150;
  rig.config.operators = {{"refine", 1}};
  rig.config.stagnation.is_on = false;
  FakeEvaluator evaluator;
  FakeModel good, bad;
  good.called = "good";
  bad.called = "bad";
  int us = 80;
  good.script = [&](const ModelRequest& request) { return kernel(request, --us > 20 ? us : 20); };
  bad.script = [&](const ModelRequest& request) { return kernel(request, 500, 0.05); };
  rig.run(evaluator, EndpointSet({&bad, &good}));
  CHECK(good.calls > 2 * bad.calls);
  CHECK(bad.calls > 5);
}

TEST_CASE("a golden run with several endpoints is the same after kills") {
  const auto prepare = [](SearchRig& rig) {
    rig.config.is_deterministic = true;
    rig.config.budget.candidates = 30;
    rig.config.stagnation.is_on = false;
    rig.config.operators = {{"refine", 0.5}, {"edit", 0.3}, {"tune", 0.2}};
  };
  const auto session = [](SearchRig& rig, std::uint64_t order) {
    FakeEvaluator evaluator(true, order);
    FakeModel small(order), large(order + 1);
    small.called = "small";
    large.called = "large";
    large.usd_per_call = 0.03;
    rig.run(evaluator, EndpointSet({&small, &large}));
  };
  SearchRig first;
  prepare(first);
  session(first, 0);
  SearchRig killed;
  prepare(killed);
  for (const int at : {12, 40, 33, 51}) {
    killed.sink.events.clear();
    killed.sink.throw_at = at;
    try {
      session(killed, static_cast<std::uint64_t>(at));
    } catch (const RecordingSink::Kill&) {
    }
  }
  killed.sink.throw_at = 0;
  session(killed, 3);
  CHECK(first.dump_text() == killed.dump_text());
}

TEST_CASE("every variation is one pull of its arm, with what its calls and its device cost") {
  SearchRig rig;
  rig.config.budget.candidates = 30;
  FakeEvaluator evaluator;
  FakeModel model;
  rig.run(evaluator, &model);
  Archive archive = rig.open();
  SearchHistory history(archive, history_settings(rig.config));
  history.read_rejections();
  history.catch_up();
  const auto totals = history.bandit().totals();
  double gain = 0;
  for (const ArmLedger& ledger : archive.arms()) {
    if (ledger.operator_name == "seed") continue;
    INFO(ledger.operator_name);
    const ArmSums sums = totals.at({ledger.operator_name, ledger.endpoint, ledger.prompt_version});
    CHECK(sums.variations == ledger.variations);
    CHECK(sums.elites == ledger.elites);
    CHECK(static_cast<double>(sums.device_ms) / 1e3 == Approx(ledger.device_s));
    CHECK(static_cast<double>(sums.cost_uusd) / 1e6 ==
          Approx(ledger.calls.usd + ledger.device_s * rig.config.bandit.usd_per_device_hour / 3600)
              .margin(1e-4));
    gain += static_cast<double>(sums.gain_ubits);
  }
  CHECK(gain > 0);
}

TEST_CASE("a run in which nothing comes out stops with a forecast") {
  SearchRig rig;
  rig.config.operators = {{"refine", 1}};
  rig.config.in_flight = 1;
  rig.config.budget.candidates = 100;
  rig.config.stagnation.patience = 15;
  FakeEvaluator evaluator;
  FakeModel model;
  model.script = [](const ModelRequest& request) { return kernel(request, 500); };
  const LoopEnd end = rig.run(evaluator, &model);
  CHECK(end.reason == StopReason::stagnated);
  CHECK(end.detail.find("next improvement costs about $") != std::string::npos);
  Archive archive = rig.open();
  CHECK(asked(archive).size() == 15);
}

TEST_CASE("a run that stagnated goes on when it is told to have more patience") {
  SearchRig rig;
  rig.config.operators = {{"refine", 1}};
  rig.config.budget.candidates = 20;
  rig.config.stagnation.patience = 10;
  FakeEvaluator evaluator;
  FakeModel model;
  model.script = [](const ModelRequest& request) { return kernel(request, 500); };
  CHECK(rig.run(evaluator, &model).reason == StopReason::stagnated);
  CHECK(rig.run(evaluator, &model).reason == StopReason::stagnated);
  rig.config.stagnation.patience = 100;
  CHECK(rig.run(evaluator, &model).reason == StopReason::budget);
}

TEST_CASE("hints are in every prompt, and each variation notes what steered it") {
  SearchRig rig;
  rig.config.operators = {{"refine", 1}};
  steer(rig, R"({"hints": ["the keys fit into registers"], "operators": {"refine": 0, "edit": 1}})");
  FakeEvaluator evaluator;
  FakeModel model;
  rig.run(evaluator, &model);
  CHECK(rig.sink.count("steered") == 1);
  Archive archive = rig.open();
  for (const VariationRecord& record : asked(archive)) {
    CHECK(record.operator_name == "edit");
    CHECK(record.decision.at("steering").at("operators").at("edit") == 1);
    CHECK(prompt_of(archive, record.ordinal).find("- the keys fit into registers") != std::string::npos);
  }
}

TEST_CASE("without steer.json nothing is noted and nothing added to a prompt") {
  SearchRig rig;
  FakeEvaluator evaluator;
  FakeModel model;
  rig.run(evaluator, &model);
  Archive archive = rig.open();
  for (const VariationRecord& record : asked(archive)) {
    for (const char* key : {"steering", "hints"}) CHECK_FALSE(record.decision.contains(key));
    CHECK(prompt_of(archive, record.ordinal).find("Hints of the person") == std::string::npos);
  }
}

TEST_CASE("a malformed steer.json is named in an event, and the run goes on") {
  SearchRig rig;
  steer(rig, "{\"pause\": tru");
  FakeEvaluator evaluator;
  FakeModel model;
  CHECK(rig.run(evaluator, &model).reason == StopReason::budget);
  CHECK(rig.sink.count("steering_refused") == 1);
}

TEST_CASE("a run that is told to stop ends what is under way, and goes on when it is told no more") {
  SearchRig rig;
  steer(rig, R"({"stop": true})");
  FakeEvaluator evaluator;
  FakeModel model;
  CHECK(rig.run(evaluator, &model).reason == StopReason::steered);
  CHECK(model.calls == 0);
  CHECK(rig.open().counters().told == 2);  // the seeds
  std::filesystem::remove(rig.folder.path() / "steer.json");
  CHECK(rig.run(evaluator, &model).reason == StopReason::budget);
}

TEST_CASE("a paused run asks for nothing until it is told to go on") {
  SearchRig rig;
  steer(rig, R"({"pause": true})");
  FakeEvaluator evaluator;
  FakeModel model;
  /// Lets go at the first event after the pause was noticed and the seeds are told.
  struct LettingGo : EventSink {
    explicit LettingGo(const SearchRig& rig) : rig(rig) {}
    void on_event(const Json& event) override {
      if (event.at("event") == "asked") ++asked;
      if (event.at("event") == "told" && ++told == 2) {
        asked_before = asked;
        steer(rig, "{}");
      }
    }
    const SearchRig& rig;
    int asked = 0, told = 0, asked_before = -1;
  } sink(rig);
  Archive archive = rig.open();
  RunParts parts{.task = rig.task,
                 .config = rig.config,
                 .prompts = rig.prompts,
                 .seeds = rig.seeds,
                 .archive = archive,
                 .evaluator = evaluator,
                 .endpoints = &model,
                 .device = rig.device,
                 .run_key = Key::fixed("test"),
                 .clock = rig.clock.clock(),
                 .sinks = {&sink},
                 .steering = rig.folder.path() / "steer.json"};
  CHECK(Loop(parts).run().reason == StopReason::budget);
  CHECK(sink.asked_before == 0);
  CHECK(sink.asked >= 12);
}

TEST_CASE("half of the variations aim at the cells in focus, from the nearest elite") {
  SearchRig rig;
  rig.config.operators = {{"refine", 1}};
  rig.config.budget.candidates = 60;
  rig.config.stagnation.is_on = false;
  steer(rig, R"({"focus_cells": ["shared/fma/persistent"]})");
  FakeEvaluator evaluator;
  FakeModel model;
  rig.run(evaluator, &model);
  Archive archive = rig.open();
  int aimed = 0;
  const auto variations = asked(archive);
  for (const VariationRecord& record : variations)
    aimed += record.decision.value("target_cell", std::string()) == "shared/fma/persistent" ? 1 : 0;
  CHECK(static_cast<double>(aimed) / static_cast<double>(variations.size()) == Approx(0.5).margin(0.2));
}

TEST_CASE("a past that is read in one go is the same as one that is read candidate by candidate") {
  SearchRig rig;
  rig.config.budget.candidates = 40;
  FakeEvaluator evaluator;
  FakeModel first, second;
  first.called = "first";
  second.called = "second";
  rig.run(evaluator, EndpointSet({&first, &second}));
  const Archive archive = Archive::open_read_only(rig.folder.path());
  SearchHistory slow(archive, history_settings(rig.config)), fast(archive, history_settings(rig.config));
  slow.read_rejections();
  slow.catch_up();
  const auto rows = read_history_rows(rig.folder.path() / "run.db");
  REQUIRE(rows);
  fast.take(*rows);
  const auto expected = slow.bandit().totals(), got = fast.bandit().totals();
  REQUIRE(expected.size() > 2);
  REQUIRE(got.size() == expected.size());
  for (const auto& [arm, sums] : expected) {
    REQUIRE(got.contains(arm));
    CHECK(got.at(arm).gain_ubits == sums.gain_ubits);
    CHECK(got.at(arm).variations == sums.variations);
    CHECK(got.at(arm).cost_uusd == sums.cost_uusd);
  }
  CHECK(fast.stagnation().barren() == slow.stagnation().barren());
}
