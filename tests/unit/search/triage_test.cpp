// SPDX-License-Identifier: Apache-2.0
// Triage by modelled times: who duels first, who not at all, and that nobody enters the archive by them.
#include "engine/search/triage.h"

#include <algorithm>
#include <cmath>

#include "tests/support/catch.h"
#include "tests/unit/search/search_rig.h"

using namespace kernelites;

namespace {

const std::map<std::string, double> k_weights{{"wide", 1}, {"tall", 1}};

Examination modelled(double wide_us, double tall_us) {
  return {.verdict = Verdict::passed(), .modelled_us = {{"wide", wide_us}, {"tall", tall_us}}};
}

Champion champion(const std::string& workload, const std::string& id) {
  return {.workload = workload, .ordinal = 1, .candidate_id = id, .speedup = 1, .timing = {}, .duel_id = ""};
}

/// An elite that takes 100 us everywhere and is champion of "wide"; another one of "tall", which takes 50 us there.
struct Field {
  explicit Field(const std::string& mode = "skip", int sample = 1'000'000)
      : triage({.mode = mode, .errors = 3, .sample = sample}, k_weights, Key::fixed("test")) {
    elite.candidate_id = "elite";
    triage.know("elite", modelled(100, 100));
    triage.know("other", modelled(200, 50));
  }
  std::optional<Standing> standing(double wide_us, double tall_us, std::uint64_t ordinal = 9) {
    CandidateRecord record;
    record.ordinal = ordinal;
    record.id = "new";
    triage.know("new", modelled(wide_us, tall_us));
    return triage.standing(record, &elite, {champion("wide", "elite"), champion("tall", "other")});
  }
  Elite elite;
  Triage triage;
};

/// A measured duel of "new" against "elite" that says log(new / elite) at both workloads.
Duel measured(double log_ratio) {
  Duel duel{.verdict = Verdict::passed(), .arms = {"candidate", "elite"}};
  for (const char* workload : {"wide", "tall"})
    duel.ratio[workload] = {{log_ratio, log_ratio - 0.001, log_ratio + 0.001, 0.999, 60}};
  return duel;
}

}  // namespace

TEST_CASE(
    "who is modelled slower than its elite and every champion by more than three errors is far behind") {
  Field field;
  const double far = std::exp(3 * field.triage.mean_error());
  const auto behind = field.standing(101 * far, 101 * far);
  REQUIRE(behind);
  CHECK(behind->is_far_behind);
  CHECK(behind->lag == Approx(std::log(1.01 * far)));
  CHECK_FALSE(field.standing(99 * far, 99 * far)->is_far_behind);
  CHECK_FALSE(field.standing(60 * far, 1000)->is_far_behind);  // may be champion of "wide" yet
  CHECK_FALSE(field.standing(1000, 49 * far)->is_far_behind);
  CHECK(field.standing(50, 50)->lag < 0);
}

TEST_CASE("the first of a cell, and whoever was not modelled, has no standing") {
  Field field;
  CandidateRecord record;
  record.id = "new";
  CHECK_FALSE(field.triage.standing(record, &field.elite, {}));
  field.triage.know("new", modelled(1000, 1000));
  CHECK(field.triage.standing(record, &field.elite, {}));
  CHECK_FALSE(field.triage.standing(record, nullptr, {}));
  CHECK_FALSE(field.triage.standing(record, &field.elite, {champion("wide", "nobody modelled it")}));
  Field off("off");
  CHECK_FALSE(off.standing(1000, 1000));
}

TEST_CASE("duels that contradict the model widen what counts as far behind") {
  Field field;
  const auto learn = [&](const std::string& id, double log_ratio) {
    field.triage.know(id, modelled(160, 160));
    field.triage.learn(id, measured(log_ratio));
  };
  const double before = field.triage.mean_error();
  learn("as modelled", std::log(1.6));
  const double after = field.triage.mean_error();
  CHECK(after < before);
  learn("as modelled", -5);  // only a first duel counts
  CHECK(field.triage.mean_error() == after);
  for (int i = 0; i < 40; ++i) learn("faster " + std::to_string(i), -0.3);
  CHECK(field.triage.mean_error() > 0.5);
  CHECK_FALSE(field.standing(160, 160)->is_far_behind);
}

TEST_CASE("one in eight of those that are far behind is drawn, the same ones again") {
  Field field("skip", 8), again("skip", 8);
  int drawn = 0;
  for (std::uint64_t ordinal = 1; ordinal <= 800; ++ordinal) {
    const bool is_sample = field.standing(5000, 5000, ordinal)->is_sample;
    CHECK(is_sample == again.standing(5000, 5000, ordinal)->is_sample);
    CHECK_FALSE(field.standing(50, 50, ordinal)->is_sample);
    drawn += is_sample ? 1 : 0;
  }
  CHECK(drawn > 70);
  CHECK(drawn < 130);
}

namespace {

/// One worker that does one thing at a time.
class LoneWorker : public FakeEvaluator {
 public:
  LoneWorker() : FakeEvaluator(/*is_virtual=*/false, 0, /*per_pump=*/1) {}
  std::size_t capacity() const override { return 1; }
};

/// A run on a real device whose worker models what "// modelled: US" says, by default what it measures. The model
/// writes the children in turn.
struct TriagedRun {
  explicit TriagedRun(std::vector<std::string> children, TriageSettings triage) {
    rig.device = "gpu";
    rig.config.triage = triage;
    rig.config.operators = {{"refine", 1}};
    rig.config.null_every = 0;
    rig.config.budget.candidates = static_cast<std::int64_t>(children.size());
    evaluator.answer = [](const Request& request, const Provenance& provenance) {
      Reply reply = fake_reply(request, provenance);
      if (!request.examine || !request.examine->wants_modelled) return reply;
      const std::string& source = request.examine->candidate.source;
      const double us = std::stod(fake_word(source, "modelled", fake_word(source, "us", "100")));
      reply.examination->modelled_us["wide"] = us;  // the task's only one
      return reply;
    };
    model.script = [children, calls = std::size_t{0}](const ModelRequest& request) mutable {
      ModelReply reply{.id = request.id, .model = "fake-1"};
      reply.text = "SUMMARY: another one\n```cuda\n" + children.at(calls++ % children.size()) +
                   "\n__global__ void k() {}\n```\n";
      return reply;
    };
  }

  void run() { rig.run(evaluator, &model); }
  /// Events of told children, in the order told.
  std::vector<Json> told() const {
    std::vector<Json> events;
    for (const Json& event : rig.sink.events)
      if (event.at("event") == "told" && event.at("operator") != "seed") events.push_back(event);
    return events;
  }
  /// Ordinals of candidates in the order of their first duels.
  std::vector<std::string> dueled() const {
    std::vector<std::string> ids;
    for (const Request& request : evaluator.requests)
      if (request.duel && request.id.ends_with("-duel-0"))
        ids.push_back(request.id.substr(0, request.id.find('-')));
    return ids;
  }

  SearchRig rig;
  LoneWorker evaluator;
  FakeModel model;
};

constexpr const char* k_cell = "// cell: shared fma tile\n";  // of the faster seed, which takes 80 us

std::string child(double us, double modelled_us) {
  return fmt::format("{}// us: {}\n// modelled: {}", k_cell, us, modelled_us);
}

TriageSettings skip(int sample) { return {.mode = "skip", .errors = 3, .sample = sample}; }

}  // namespace

TEST_CASE("who is far behind by the model ends untimed, in a state of its own") {
  TriagedRun one({child(400, 400)}, skip(1'000'000));
  one.run();
  REQUIRE(one.told().size() == 1);
  const Json event = one.told().front();
  CHECK(event.at("outcome") == k_modelled_slow);
  CHECK(event.at("triage") == "left_out");
  CHECK(event.at("modelled_lag").get<double>() > 1);
  CHECK_FALSE(event.contains("speedup"));
  const Archive archive = one.rig.open();
  for (const EvaluationRecord& evaluation : archive.evaluations(event.at("ordinal").get<std::uint64_t>()))
    CHECK_FALSE(evaluation.duel);
}

TEST_CASE("a modelled time makes no elite and no champion on a real device") {
  TriagedRun one({child(99, 0.001)}, skip(1'000'000));  // modelled 80,000 times as fast, measured slower
  one.run();
  CHECK(one.told().front().at("outcome") == "tie");
  CHECK(one.told().front().at("champion_of").empty());
  CHECK(one.told().front().at("modelled_lag").get<double>() < -5);
  const Archive archive = one.rig.open();
  for (const Champion& champion : archive.champions()) CHECK_FALSE(champion.timing.is_modelled);
  archive.grid().for_each([](const Elite& elite) {
    CHECK_FALSE(elite.is_modelled);
    CHECK(elite.ordinal <= 2);  // the seeds
  });
}

TEST_CASE(
    "who is drawn for a duel in spite of the model, and is faster, enters, and the model is told wrong") {
  TriagedRun one({child(40, 400)}, skip(1));
  one.run();
  const Json event = one.told().front();
  CHECK(event.at("outcome") == "improved");
  CHECK(event.at("triage") == "timed");
}

TEST_CASE("with triage off nothing is modelled, with order everybody is timed") {
  TriagedRun off({child(400, 400)}, {});
  off.run();
  for (const Request& request : off.evaluator.requests)
    CHECK_FALSE((request.examine && request.examine->wants_modelled));
  TriagedRun order({child(400, 400)}, {.mode = "order"});
  order.run();
  CHECK(order.told().front().at("outcome") == "tie");
}

TEST_CASE("of those that wait for a duel the most promising by the model is first") {
  const auto dueled = [](const char* mode) {
    TriagedRun three({child(300, 300), child(99, 60), child(110, 90)}, {.mode = mode});
    three.run();
    std::vector<std::string> order = three.dueled();
    std::erase_if(order, [](const std::string& ordinal) { return std::stoi(ordinal) <= 2; });  // seeds
    return order;
  };
  CHECK(dueled("order") == std::vector<std::string>{"4", "5", "3"});
  CHECK(dueled("off") == std::vector<std::string>{"3", "4", "5"});
}

TEST_CASE("what an agent asks to have timed is timed, whatever the model says") {
  SearchRig rig;
  Grid grid;
  grid.put({.cell = "shared/fma/tile", .ordinal = 1, .candidate_id = "old", .fitness = 1, .speedup = 1});
  const std::vector<Champion> champions;
  Course course;
  course.record.ordinal = course.record.variation = 2;
  course.record.id = "new";
  course.examination = Examination{.verdict = Verdict::passed()};
  course.examination->descriptors = {{"movement", "shared"}, {"compute", "fma"}, {"split", "tile"}};
  const auto next = [&] {
    return next_step(course, {.grid = grid,
                              .champions = champions,
                              .baseline_id = "old",
                              .weights = k_weights,
                              .rule = {},
                              .standing = Standing{.lag = 3, .is_far_behind = true}});
  };
  CHECK(std::get<Ends>(next()).outcome.status == k_modelled_slow);
  course.is_inside = true;
  CHECK(std::holds_alternative<NeedsDuel>(next()));
}

TEST_CASE("a resumed run knows the modelled times of its earlier sessions") {
  TriagedRun one({child(99, 99), child(400, 400)}, skip(1'000'000));
  one.rig.config.budget.candidates = 1;
  one.run();
  one.rig.config.budget.candidates = 2;
  one.run();
  REQUIRE(one.told().size() == 2);
  CHECK(one.told().back().at("outcome") == k_modelled_slow);
}
