// SPDX-License-Identifier: Apache-2.0
// What the event of a told candidate carries: figures of the grid, claims that the code does not keep, known code.
#include "engine/core/claims.h"

#include "tests/support/catch.h"
#include "tests/unit/search/search_rig.h"

using namespace kernelites;

namespace {

std::vector<Json> told(const RecordingSink& sink) {
  std::vector<Json> events;
  for (const Json& event : sink.events)
    if (event.at("event") == "told") events.push_back(event);
  return events;
}

}  // namespace

TEST_CASE("a told candidate carries the grid's figures and a flag for what its summary claims in vain") {
  SearchRig rig;
  rig.config.operators = {{"refine", 1}};
  rig.config.budget.candidates = 2;
  FakeEvaluator evaluator;
  FakeModel model;
  int calls = 0;
  model.script = [&](const ModelRequest& request) {
    ModelReply reply{.id = request.id, .model = "fake-1"};
    reply.text = "SUMMARY: " + std::string(calls == 0 ? "TMA loads and wgmma" : "cp.async ring") +
                 "\n```cuda\n// cell: cp_async fma tile\n// us: " + std::to_string(90 - calls) +
                 "\n__global__ void k() {}\n```\n";
    ++calls;
    return reply;
  };
  rig.run(evaluator, &model);
  const std::vector<Json> events = told(rig.sink);
  REQUIRE(events.size() == 4);  // two seeds
  for (const char* figure : {"num_elites", "coverage", "qd_score", "norm_qd_score", "obj_max", "obj_mean"})
    CHECK(events.back().contains(figure));
  CHECK(events.back().at("qd_score").get<double>() == Approx(rig.open().grid().qd_score()));
  int flagged = 0;
  for (const Json& event : events) {
    if (!event.contains(k_claims_flag)) continue;
    CHECK(event.at(k_claims_flag) == Json{"tma", "wgmma"});
    ++flagged;
  }
  CHECK(flagged == 1);
}

TEST_CASE("of two candidates with one machine code the second is not timed, and its event names the first") {
  SearchRig rig;
  rig.config.operators = {{"refine", 1}};
  rig.config.budget.candidates = 2;
  FakeEvaluator evaluator;
  evaluator.answer = [](const Request& request, const Provenance& provenance) {
    Reply reply = fake_reply(request, provenance);
    const bool is_child =
        request.examine && request.examine->candidate.source.find("child") != std::string::npos;
    if (is_child) reply.examination->code_digest = "one";
    return reply;
  };
  FakeModel model;
  int calls = 0;
  model.script = [&](const ModelRequest& request) {
    ModelReply reply{.id = request.id, .model = "fake-1"};
    reply.text = "SUMMARY: a child\n```cuda\n// us: 70\n// child " + std::to_string(calls++) +
                 "\n__global__ void k() {}\n```\n";
    return reply;
  };
  rig.run(evaluator, &model);
  int duplicates = 0;
  for (const Json& event : told(rig.sink)) {
    if (event.at("outcome") != "duplicate_code") continue;
    ++duplicates;
    const auto other = event.at("same_code_as").get<std::uint64_t>();
    CHECK(other != event.at("ordinal").get<std::uint64_t>());
    CHECK(other > 2);
  }
  CHECK(duplicates == 1);
  const Counters counters = rig.open().counters();
  CHECK(counters.duplicate_codes == 1);
  CHECK(counters.distinct_codes == 3);  // the seeds' and that one
}

TEST_CASE("an open variation of an operator that has left is rejected when its run is resumed") {
  SearchRig rig;
  rig.config.budget.candidates = 3;
  FakeEvaluator evaluator;
  FakeModel model;
  rig.run(evaluator, &model);
  std::uint64_t ordinal = 0;
  {
    Archive archive = rig.open();
    VariationRecord record = *archive.variation(archive.next_ordinal() - 1);
    record.ordinal = ordinal = archive.next_ordinal();
    record.operator_name = "explore";
    record.endpoint = model.name();
    archive.record_variation(record);
  }
  rig.config.budget.candidates = 6;
  CHECK(rig.run(evaluator, &model).reason == StopReason::budget);
  const Archive archive = rig.open();
  CHECK(archive.variation(ordinal)->state == "rejected");
  const auto rejections = archive.rejections();
  CHECK(std::any_of(rejections.begin(), rejections.end(), [&](const RejectionRecord& one) {
    return one.ordinal == ordinal && one.reason == "operator_left";
  }));
}
