// SPDX-License-Identifier: Apache-2.0
// What is recorded comes back, counts once, and is what a resumed run continues with.
#include "engine/core/error.h"
#include "tests/support/catch.h"
#include "tests/unit/archive/archive_samples.h"
#include "tests/unit/archive/scripted_run.h"

using namespace kernelites;

TEST_CASE("a sync has something to do once after any number of writes") {
  const TemporaryFolder folder;
  Archive archive = Archive::create(folder.path(), sample_run());
  CHECK(archive.sync());
  CHECK_FALSE(archive.sync());
  add_candidate(archive, 1);
  add_candidate(archive, 2);
  CHECK(archive.sync());
  CHECK_FALSE(archive.sync());
}

namespace {

struct Fixture {
  TemporaryFolder folder;
  Archive archive = Archive::create(folder.path(), sample_run());
};

}  // namespace

TEST_CASE("ordinals start at 1 and follow variations and candidates") {
  Fixture f;
  CHECK(f.archive.next_ordinal() == 1);
  f.archive.record_variation(sample_variation(1));
  CHECK(f.archive.next_ordinal() == 2);
  CandidateRecord inside = sample_candidate(2);
  inside.variation = 1;
  CHECK(f.archive.record_candidate(inside));
  CHECK(f.archive.next_ordinal() == 3);
}

TEST_CASE("a variation comes back with its parents and inspirations in order") {
  Fixture f;
  const std::string a = add_candidate(f.archive, 1);
  const std::string b = add_candidate(f.archive, 2);
  VariationRecord variation = sample_variation(3, {b, a});
  variation.inspirations = {a, b};
  f.archive.record_variation(variation);
  const auto open = f.archive.open_variations();
  REQUIRE(open.size() == 1);
  CHECK(open[0].ordinal == 3);
  CHECK(open[0].operator_name == "refine");
  CHECK(open[0].endpoint == "replay");
  CHECK(open[0].parents == std::vector<std::string>{b, a});
  CHECK(open[0].inspirations == std::vector<std::string>{a, b});
  CHECK(open[0].decision == variation.decision);
}

TEST_CASE("a variation cannot have a parent that is not recorded, and then leaves nothing") {
  Fixture f;
  CHECK_THROWS_AS(f.archive.record_variation(sample_variation(1, {"unknown"})), Error);
  CHECK(f.archive.counters().variations == 0);
}

TEST_CASE("a candidate comes back with its content and its variation's facts") {
  Fixture f;
  const std::string parent = add_candidate(f.archive, 1);
  f.archive.record_variation(sample_variation(2, {parent}));
  CandidateRecord candidate = sample_candidate(2);
  candidate.candidate.source = std::string("__global__ void k() {} // '); DROP TABLE run; -- \xff\0 end", 55);
  candidate.id = candidate_id(candidate.candidate);
  CHECK(f.archive.record_candidate(candidate));
  const auto found = f.archive.candidate(2);
  REQUIRE(found);
  CHECK(found->candidate == candidate.candidate);
  CHECK(found->id == candidate.id);
  CHECK(found->summary == "wider tiles");
  CHECK(found->prompt_digest == "prompt-2");
  CHECK(found->state == "proposed");
  CHECK(found->operator_name == "refine");
  CHECK(found->generation == 1);
  CHECK(found->parents == std::vector<std::string>{parent});
  CHECK(f.archive.open_variations().empty());
}

TEST_CASE("a candidate of known content is not recorded again and its variation stays open") {
  Fixture f;
  add_candidate(f.archive, 1);
  f.archive.record_variation(sample_variation(2));
  CandidateRecord same = sample_candidate(1);
  same.ordinal = same.variation = 2;
  CHECK_FALSE(f.archive.record_candidate(same));
  CHECK(f.archive.counters().candidates == 1);
  CHECK(f.archive.open_variations().size() == 1);
}

TEST_CASE("a candidate evaluated inside a variation leaves it open until it is closed") {
  Fixture f;
  f.archive.record_variation(sample_variation(1));
  CandidateRecord inside = sample_candidate(2);
  inside.variation = 1;
  CHECK(f.archive.record_candidate(inside));
  CHECK(f.archive.open_variations().size() == 1);
  f.archive.close_variation(1, 2);
  CHECK(f.archive.open_variations().empty());
}

TEST_CASE("a rejection closes its variation and is found by its parent, newest first") {
  Fixture f;
  const std::string parent = add_candidate(f.archive, 1);
  for (std::uint64_t ordinal : {2, 3, 4}) {
    f.archive.record_variation(sample_variation(ordinal, {parent}));
    f.archive.record_rejection({ordinal, "reason_" + std::to_string(ordinal), "words"});
  }
  const auto recent = f.archive.recent_rejections(parent, 2);
  REQUIRE(recent.size() == 2);
  CHECK(recent[0].reason == "reason_4");
  CHECK(recent[1].reason == "reason_3");
  CHECK(f.archive.open_variations().empty());
  CHECK(f.archive.rejections().size() == 3);
}

TEST_CASE("a model call is open until its reply, which counts once") {
  Fixture f;
  f.archive.record_variation(sample_variation(1));
  f.archive.record_model_call(scripted_call(1));
  REQUIRE(f.archive.open_model_calls().size() == 1);
  CHECK(f.archive.open_model_calls()[0].prompt == scripted_call(1).prompt);
  CHECK(f.archive.spent().usd == 0);

  CHECK(f.archive.record_model_reply(scripted_call(1)));
  CHECK_FALSE(f.archive.record_model_reply(scripted_call(1)));
  CHECK(f.archive.open_model_calls().empty());
  const Spent spent = f.archive.spent();
  CHECK(spent.model_calls == 1);
  CHECK(spent.usd == 0.25);
  CHECK(spent.input_tokens == 100);
  CHECK(spent.output_tokens == 10);
  CHECK(f.archive.model_calls(1).at(0).reply == "reply 1");
}

TEST_CASE("a model call that failed still costs what it cost") {
  Fixture f;
  f.archive.record_variation(sample_variation(1));
  ModelCallRecord call = scripted_call(1);
  f.archive.record_model_call(call);
  call.failure = "timeout";
  f.archive.record_model_reply(call);
  CHECK(f.archive.model_calls(1).at(0).state == "failed");
  CHECK(f.archive.spent().usd == 0.25);
}

TEST_CASE("one request id is recorded once, for calls and for evaluations") {
  Fixture f;
  add_candidate(f.archive, 1);
  f.archive.record_model_call(scripted_call(1));
  CHECK_THROWS_AS(f.archive.record_model_call(scripted_call(1)), Error);
  f.archive.record_request_sent(sample_request(1, "examine"));
  CHECK_THROWS_AS(f.archive.record_request_sent(sample_request(1, "examine")), Error);
  CHECK(f.archive.evaluations(1).size() == 1);
}

TEST_CASE("a reply to a request that was never sent is an error") {
  Fixture f;
  add_candidate(f.archive, 1);
  CHECK_THROWS_AS(f.archive.record_examination("nothing", sample_examination(1), sample_provenance(), 1, 1),
                  Error);
  CHECK_THROWS_AS(f.archive.record_model_reply(scripted_call(1)), Error);
  CHECK_THROWS_AS(f.archive.tell({.ordinal = 9, .status = "failed"}), Error);
}

TEST_CASE("an examination comes back whole, with its provenance, and moves the candidate on") {
  Fixture f;
  add_candidate(f.archive, 1);
  f.archive.record_request_sent(sample_request(1, "examine"));
  CHECK(f.archive.candidate(1)->state == "examining");
  REQUIRE(f.archive.outstanding_requests().size() == 1);
  CHECK(f.archive.outstanding_requests()[0].request == sample_request(1, "examine").request);

  Examination examination = sample_examination(1);
  examination.verdict = Verdict::failed("check", "wrong_rows", "rows are wrong\xff");
  examination.kernels = {{.kernel = "k<64>", .registers = 128}};
  examination.modelled_us = {{"wide", 12.25}};
  CHECK(f.archive.record_examination("1-examine", examination, sample_provenance(), 1.5, 0.5));
  CHECK(f.archive.candidate(1)->state == "examined");
  CHECK(f.archive.outstanding_requests().empty());
  const auto known = f.archive.evaluated(1);
  REQUIRE(known->examination);
  CHECK(known->examination->examination->verdict.reason == "wrong_rows");
  CHECK(known->examination->examination->descriptors == examination.descriptors);
  CHECK(known->examination->examination->kernels.at(0).registers == 128);
  CHECK(known->examination->examination->modelled_us == examination.modelled_us);
  CHECK(known->examination->provenance.toolkit == "NVRTC 13.0");
  CHECK(known->examination->provenance.device.kind == "vgpu (models H100)");
  CHECK_FALSE(known->duel);
}

TEST_CASE("the second reply to an evaluation changes nothing and costs nothing") {
  Fixture f;
  add_candidate(f.archive, 1);
  examine(f.archive, 1, sample_examination(1));
  Examination other = sample_examination(1);
  other.verdict = Verdict::failed("check", "late", "");
  CHECK_FALSE(f.archive.record_examination("1-examine", other, sample_provenance(), 100, 100));
  CHECK_FALSE(f.archive.record_request_failed("1-examine", "worker died", 100, 100));
  CHECK(f.archive.evaluated(1)->examination->examination->verdict.is_passed);
  CHECK(f.archive.spent().worker_s == 1.5);
  CHECK(f.archive.spent().device_s == 0.5);
}

TEST_CASE("a request that failed is no longer outstanding and leaves the candidate where it was") {
  Fixture f;
  add_candidate(f.archive, 1);
  f.archive.record_request_sent(sample_request(1, "examine"));
  CHECK(f.archive.record_request_failed("1-examine", "worker died", 3, 1));
  CHECK(f.archive.outstanding_requests().empty());
  CHECK(f.archive.candidate(1)->state == "examining");
  CHECK(f.archive.evaluations(1).at(0).error == "worker died");
  CHECK(f.archive.spent().device_s == 1);
}

TEST_CASE("a duel comes back with ratios and timing") {
  Fixture f;
  add_candidate(f.archive, 1);
  examine(f.archive, 1, sample_examination(1));
  duel(f.archive, 1, sample_duel(-0.25));
  CHECK(f.archive.candidate(1)->state == "dueling");
  const auto known = f.archive.evaluated(1);
  REQUIRE(known->duel);
  CHECK(known->duel->duel->ratio.at("wide").at(0).log_ratio_median == -0.25);
  CHECK(known->duel->duel->timing.at("wide").at(0).time_us_median == 10);
  CHECK(f.archive.counters().dueled == 1);
}

TEST_CASE("telling ends a candidate once, in the order told") {
  Fixture f;
  add_candidate(f.archive, 1);
  add_candidate(f.archive, 2);
  CHECK(f.archive.unfinished_candidates().size() == 2);
  CHECK(f.archive.tell({.ordinal = 2, .status = "failed"}));
  CHECK(f.archive.tell({.ordinal = 1, .status = "tie"}));
  CHECK_FALSE(f.archive.tell({.ordinal = 2, .status = "tie"}));
  CHECK(f.archive.unfinished_candidates().empty());
  const auto told = f.archive.told_candidates();
  REQUIRE(told.size() == 2);
  CHECK(told[0].ordinal == 2);
  CHECK(told[0].outcome == "failed");
  CHECK(told[1].told == 2);
  CHECK(f.archive.told_candidates(1).size() == 1);
}

TEST_CASE("a candidate that is done stays done when it is examined again") {
  Fixture f;
  add_candidate(f.archive, 1);
  f.archive.tell({.ordinal = 1, .status = "failed"});
  examine(f.archive, 1, sample_examination(1));
  CHECK(f.archive.candidate(1)->state == "done");
}

TEST_CASE("events come back in order with their sequence") {
  Fixture f;
  CHECK(f.archive.append_event({{"event", "started"}}) == 1);
  CHECK(f.archive.append_event({{"event", "examined"}, {"ordinal", 4}, {"time_s", 1.5}}) == 2);
  CHECK(f.archive.events(0, 10).size() == 2);
  const auto later = f.archive.events(1, 10);
  REQUIRE(later.size() == 1);
  CHECK(later[0] == Json{{"event", "examined"}, {"ordinal", 4}, {"time_s", 1.5}});
}
