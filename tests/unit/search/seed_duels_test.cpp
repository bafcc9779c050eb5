// SPDX-License-Identifier: Apache-2.0
// Seeds that pass every check and have no time on the device: left out of the seeds' duel, by name.
#include "engine/core/error.h"
#include "engine/core/time_verdict.h"
#include "engine/search/baseline.h"
#include "tests/support/catch.h"
#include "tests/unit/search/search_rig.h"

using namespace kernelites;

namespace {

Seed untimed_seed(const std::string& name, const std::string& body = "untimed") {
  return {name, {"// untimed: not_modelled\n// us: 1\n__global__ void " + body + "() {}\n", {}}};
}

/// Of two without a time the second shows its fault only where the first is no arm: at a later workload.
Reply one_fault_after_the_other(const Request& request, const Provenance& provenance) {
  Reply reply = fake_reply(request, provenance);
  if (!request.duel) return reply;
  const std::vector<DuelArm>& arms = request.duel->arms;
  for (const char* fault : {"early", "late"}) {
    const auto is_faulty = [&](const DuelArm& arm) {
      return arm.candidate.source.find(fault) != std::string::npos;
    };
    if (std::none_of(arms.begin(), arms.end(), is_faulty)) continue;
    reply.duel->verdict =
        Verdict::failed("time", is_faulty(arms[0]) ? "not_modelled" : "arm_unusable", fault);
    return reply;
  }
  return reply;
}

std::vector<Seed> seeds_with_two_faults() {
  std::vector<Seed> seeds = two_seeds();
  seeds.insert(seeds.begin(), {"late.cu", {"// late\n__global__ void k() {}\n", {}}});
  seeds.push_back({"early.cu", {"// early\n__global__ void k() {}\n", {}}});
  return seeds;
}

}  // namespace

TEST_CASE("a seed that passes and has no time is left out of the duel and named, and the run goes on") {
  SearchRig rig;
  rig.seeds.insert(rig.seeds.begin(), untimed_seed("slow.cu"));
  FakeEvaluator evaluator;
  FakeModel model;
  CHECK(rig.run(evaluator, &model).reason == StopReason::budget);
  Archive archive = rig.open();
  CHECK(archive.candidate(1)->outcome == "failed");
  CHECK(archive.candidate(2)->outcome == "added");
  CHECK(archive.candidate(3)->outcome == "added");
  const Baseline baseline = baseline_of(archive, workload_weights(rig.task));
  CHECK(baseline.ordinal == 2);
  REQUIRE(baseline.untimed.size() == 1);
  CHECK(baseline.untimed[0].name == "slow.cu");
  CHECK(baseline.untimed[0].verdict.reason == "not_modelled");
  REQUIRE(rig.sink.count("seed_untimed") == 1);
  for (const Json& event : rig.sink.events) {
    if (event.at("event") != "seed_untimed") continue;
    CHECK(event.at("seed") == "slow.cu");
    CHECK(event.at("reason") == "not_modelled");
  }
  // Never an arm again, neither of a seed's second duel nor of a child's.
  const std::string slow = archive.candidate(1)->id;
  int duels_with_it = 0;
  for (const Request& request : evaluator.requests)
    if (request.duel)
      for (const DuelArm& arm : request.duel->arms) duels_with_it += arm.label == slow ? 1 : 0;
  CHECK(duels_with_it == 3);  // the first one of each seed
}

TEST_CASE("seeds whose faults hide each other are left out one after the other") {
  std::string first;
  for (std::uint64_t order : {0, 1, 2, 3, 4}) {
    SearchRig rig;
    rig.config.is_deterministic = true;
    rig.config.budget.candidates = 3;
    rig.seeds = seeds_with_two_faults();
    FakeEvaluator evaluator(true, order, 1 + order % 3);
    evaluator.answer = one_fault_after_the_other;
    FakeModel model(order);
    CHECK(rig.run(evaluator, &model).reason == StopReason::budget);
    const Baseline baseline = baseline_of(rig.open(), workload_weights(rig.task));
    CHECK(baseline.ordinal == 2);
    REQUIRE(baseline.untimed.size() == 2);
    CHECK(baseline.untimed[0].verdict.reason == "not_modelled");
    CHECK(baseline.untimed[1].verdict.reason == "not_modelled");
    if (first.empty()) first = rig.dump_text();
    INFO("order " << order);
    CHECK((rig.dump_text() == first));
  }
}

TEST_CASE("a run that is killed while it leaves seeds out resumes to the same dump") {
  SearchRig whole;
  whole.config.is_deterministic = true;
  whole.config.budget.candidates = 1;
  whole.seeds = seeds_with_two_faults();
  const auto run = [](SearchRig& rig, std::uint64_t order) {
    FakeEvaluator evaluator(true, order, 1);
    evaluator.answer = one_fault_after_the_other;
    FakeModel model(order);
    rig.run(evaluator, &model);
  };
  run(whole, 1);
  const std::string expected = whole.dump_text();
  for (int kill = 1; kill <= static_cast<int>(whole.sink.events.size()); ++kill) {
    SearchRig rig;
    rig.config = whole.config;
    rig.seeds = whole.seeds;
    rig.sink.throw_at = kill;
    CHECK_THROWS_AS(run(rig, 1), RecordingSink::Kill);
    run(rig, 7);
    INFO("killed at event " << kill);
    REQUIRE((rig.dump_text() == expected));
  }
}

TEST_CASE("where no seed has a time the run fails, and says that they pass and what to do") {
  SearchRig rig;
  rig.seeds = {untimed_seed("slow.cu", "a"),
               untimed_seed("slower.cu", "b"),
               {"bad.cu", {"// fails: compile\n__global__ void k() {}\n", {}}}};
  FakeEvaluator evaluator;
  CHECK_THROWS_WITH(
      rig.run(evaluator, nullptr),
      Catch::Contains("can be timed on this device, though 2 pass every check") &&
          Catch::Contains("seed slow.cu: stage time, not_modelled: it was told to have no time") &&
          Catch::Contains("--device gpu") && Catch::Contains("--seeds"));
  const Baseline baseline = baseline_of(rig.open(), workload_weights(rig.task));
  CHECK(baseline.failed == 1);
  CHECK_FALSE(baseline.is_pending);
}

TEST_CASE("where all seeds are refused while timed the run fails without advice to time them elsewhere") {
  SearchRig rig;
  rig.seeds = {{"wrong.cu", {"// untimed: timed_output_wrong\n__global__ void k() {}\n", {}}}};
  FakeEvaluator evaluator;
  CHECK_THROWS_WITH(rig.run(evaluator, nullptr),
                    Catch::Contains("is left: one passed the examination and was refused in stage time") &&
                        Catch::Contains("timed_output_wrong") && !Catch::Contains("--device gpu"));
}

TEST_CASE("a duel that is useless and names nobody is not made again for ever") {
  SearchRig rig;
  FakeEvaluator evaluator;
  evaluator.answer = [](const Request& request, const Provenance& provenance) {
    Reply reply = fake_reply(request, provenance);
    if (request.duel && request.duel->arms[0].candidate.source.find("us: 80") != std::string::npos)
      reply.duel->verdict = Verdict::failed("time", "arm_unusable", "the other one");
    return reply;
  };
  rig.config.operators = {{"refine", 1}};
  rig.config.budget.candidates = 1;
  FakeModel model;
  CHECK(rig.run(evaluator, &model).reason == StopReason::budget);
  CHECK(baseline_of(rig.open(), workload_weights(rig.task)).ordinal == 2);
  CHECK(rig.open().candidate(1)->outcome == "failed");
}

TEST_CASE("a seed that another's duel names is left out, though its own duel passes") {
  std::string first;
  for (std::uint64_t order : {0, 1, 2, 3}) {
    SearchRig rig;
    rig.config.is_deterministic = true;
    rig.config.operators = {{"refine", 1}};
    rig.config.budget.candidates = 1;
    rig.seeds.push_back({"flaky.cu", {"// us: 10\n__global__ void flaky() {}\n", {}}});
    FakeEvaluator evaluator(true, order, 1);
    evaluator.answer = [](const Request& request, const Provenance& provenance) {
      Reply reply = fake_reply(request, provenance);
      if (!request.duel || request.duel->arms[0].candidate.source.find("us: 80") == std::string::npos)
        return reply;
      for (const DuelArm& arm : request.duel->arms)
        if (arm.candidate.source.find("flaky") != std::string::npos)
          reply.duel->verdict =
              Verdict::failed("time", "arm_unusable", arm_fault_words(arm.label, "gave a wrong output"));
      return reply;
    };
    FakeModel model(order);
    CHECK(rig.run(evaluator, &model).reason == StopReason::budget);
    Archive archive = rig.open();
    const Baseline baseline = baseline_of(archive, workload_weights(rig.task));
    CHECK(baseline.ordinal == 1);  // the accuser, and not the fastest of all, which it accused
    REQUIRE(baseline.untimed.size() == 1);
    CHECK(baseline.untimed[0].name == "flaky.cu");
    CHECK(baseline.untimed[0].verdict.reason == "arm_unusable");
    CHECK_THAT(baseline.untimed[0].verdict.message,
               Catch::Contains("its own duel passed, and that of #1 fast.cu says: arm '") &&
                   Catch::Contains("gave a wrong output"));
    CHECK(archive.candidate(1)->outcome == "added");
    CHECK(archive.candidate(3)->outcome == "failed");
    if (first.empty()) first = rig.dump_text();
    INFO("order " << order);
    CHECK((rig.dump_text() == first));
  }
}

TEST_CASE("a seed that is wrong as the other arm of its own duel is at fault itself") {
  SearchRig rig;
  FakeEvaluator evaluator;
  evaluator.answer = [](const Request& request, const Provenance& provenance) {
    Reply reply = fake_reply(request, provenance);
    if (!request.duel || request.duel->arms[0].candidate.source.find("us: 80") == std::string::npos)
      return reply;
    for (const DuelArm& arm : request.duel->arms)
      if (arm.label != "candidate" && arm.candidate == request.duel->arms[0].candidate)
        reply.duel->verdict =
            Verdict::failed("time", "arm_unusable", arm_fault_words(arm.label, "gave a wrong output"));
    return reply;
  };
  rig.config.operators = {{"refine", 1}};
  rig.config.budget.candidates = 1;
  FakeModel model;
  CHECK(rig.run(evaluator, &model).reason == StopReason::budget);
  const Baseline baseline = baseline_of(rig.open(), workload_weights(rig.task));
  CHECK(baseline.ordinal == 2);
  REQUIRE(baseline.untimed.size() == 1);
  CHECK(baseline.untimed[0].ordinal == 1);
}
