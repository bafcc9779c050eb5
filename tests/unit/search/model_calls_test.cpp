// SPDX-License-Identifier: Apache-2.0
// The hard caps: whatever calls cost within their price list, and in whatever order they end, a cap is never exceeded.
#include "engine/search/model_calls.h"

#include "tests/support/catch.h"
#include "tests/unit/search/search_rig.h"

using namespace kernelites;

namespace {

/// Takes calls and lets the test end them; the worst case of one attempt is by tokens and random prices.
class PricedModel : public Endpoint {
 public:
  std::string name() const override { return "priced"; }
  std::size_t capacity() const override { return 8; }
  void submit(ModelRequest request) override { in_flight.push_back(std::move(request)); }
  void cancel(const std::string&) override {}
  void wait(std::vector<pollfd>&, std::chrono::milliseconds) override {}
  void pump() override {}
  std::optional<ModelReply> take() override { return std::nullopt; }
  CostBound cost_max(const ModelRequest& request) const override {
    return {.tokens = most_tokens(request) + request.output_tokens_max,
            .usd = usd_per_input * static_cast<double>(most_tokens(request)) +
                   usd_per_output * request.output_tokens_max};
  }
  bool keeps_calls() const override { return is_kept; }

  std::vector<ModelRequest> in_flight;
  double usd_per_input = 0;
  double usd_per_output = 0;
  bool is_kept = false;
};

/// The end of a call after as many attempts as its limit allows, each lost or told.
ModelReply random_end(const ModelRequest& request, const PricedModel& model, Rng& rng) {
  ModelReply reply;
  reply.id = request.id;
  const CostBound once = model.cost_max(request);
  reply.attempts = 0;
  for (bool is_lost = true; is_lost && reply.attempts < 6;) {
    if (reply.attempts > 0 && !fits(most_of(reply.cost), once, request.limit)) break;
    ++reply.attempts;
    is_lost = rng.below(2) == 0;
    const double share = rng.below(4) == 0 ? 1.0 : rng.uniform();
    CallCost cost{
        .input_tokens = static_cast<std::int64_t>(share * static_cast<double>(most_tokens(request))),
        .output_tokens = static_cast<std::int64_t>(share * request.output_tokens_max),
        .usd = share * once.usd,
        .is_estimated = is_lost};
    if (is_lost) cost.most = once;
    reply.cost += cost;
    if (is_lost)
      reply.failure = "connection_lost";
    else
      reply.failure.clear();
  }
  return reply;
}

struct Ledger {
  explicit Ledger(SearchRig& rig, Endpoint& model)
      : archive(rig.open()),
        parts{.task = rig.task,
              .config = rig.config,
              .prompts = rig.prompts,
              .seeds = rig.seeds,
              .archive = archive,
              .evaluator = evaluator,
              .endpoints = &model,
              .device = "vgpu",
              .run_key = Key::fixed("test"),
              .clock = rig.clock.clock(),
              .sinks = {&rig.sink},
              .incidents = {}},
        announcer(parts),
        calls(parts, announcer) {
    if (!archive.variation(1)) archive.record_variation({.ordinal = 1, .operator_name = "refine"});
  }
  Archive archive;
  FakeEvaluator evaluator;
  RunParts parts;
  Announcer announcer;
  ModelCalls calls;
};

PendingCall pending(const std::string& id, std::size_t bytes = 100, int output_tokens_max = 1000) {
  PendingCall call;
  call.request.id = id;
  call.request.ordinal = 1;
  call.request.messages = {{.role = "user", .text = std::string(bytes, 'x')}};
  call.request.output_tokens_max = output_tokens_max;
  return call;
}

}  // namespace

TEST_CASE("no order of ends and no cost within the price list exceeds a cap") {
  Rng rng(20);
  int calls = 0;
  int refused = 0;
  for (int round = 0; round < 12; ++round) {
    SearchRig rig;
    PricedModel model;
    model.usd_per_input = 1e-6 * rng.uniform();
    model.usd_per_output = 1e-5 * rng.uniform();
    const bool caps_usd = rng.below(3) != 0;
    rig.config.budget = {};
    if (caps_usd) rig.config.budget.usd = 0.05 + 0.5 * rng.uniform();
    if (!caps_usd || rng.below(2) == 0)
      rig.config.budget.tokens = 20'000 + static_cast<std::int64_t>(rng.below(200'000));
    Ledger ledger(rig, model);
    for (int step = 0; step < 120; ++step) {
      if (model.in_flight.empty() || rng.below(2) == 0) {
        const PendingCall call =
            pending("1-" + std::to_string(step), rng.below(20'000), 256 + static_cast<int>(rng.below(8'000)));
        ledger.calls.send(call) ? ++calls : ++refused;
      } else {
        const std::size_t at = rng.below(model.in_flight.size());
        ledger.calls.finish(random_end(model.in_flight[at], model, rng));
        model.in_flight.erase(model.in_flight.begin() + static_cast<std::ptrdiff_t>(at));
      }
      const Spent spent = ledger.archive.spent();
      REQUIRE(spent.usd <= spent.usd_most + 1e-12);
      REQUIRE(spent.input_tokens + spent.output_tokens <= spent.tokens_most);
      if (rig.config.budget.usd > 0) REQUIRE(spent.usd_most <= rig.config.budget.usd * (1 + 1e-9));
      if (rig.config.budget.tokens > 0) REQUIRE(spent.tokens_most <= rig.config.budget.tokens);
    }
    CHECK(rig.sink.count("incident") == 0);
  }
  CHECK(calls > 100);
  CHECK(refused > 100);
}

TEST_CASE("a call that costs more than its price list allows is told as an incident") {
  SearchRig rig;
  rig.config.budget.usd = 1;
  FakeModel model;
  Ledger ledger(rig, model);
  REQUIRE(ledger.calls.send(pending("1-0")));
  ModelReply reply;
  reply.id = "1-0";
  reply.cost.usd = 5;
  ledger.calls.finish(reply);
  CHECK(rig.sink.count("incident") == 1);
}

TEST_CASE(
    "a call in flight when the run was killed counts, and is made again only if the cap has room for both") {
  for (const double usd : {2.5, 3.5}) {
    SearchRig rig;
    rig.config.budget = {.usd = usd};
    PricedModel model;
    model.usd_per_output = 1e-3;  // an attempt of 1000 tokens: 1 USD, set aside twice
    {
      Ledger killed(rig, model);
      REQUIRE(killed.calls.send(pending("1-0")));
    }
    Ledger resumed(rig, model);
    CHECK(resumed.archive.spent().usd_most == Approx(2));
    PendingCall call = pending("1-0");
    CHECK_FALSE(resumed.calls.recorded(call));
    CHECK(call.is_recorded);
    const bool has_room = usd > 3;
    CHECK(resumed.calls.send(call) == has_room);
    if (!has_room) continue;
    CHECK(resumed.archive.spent().usd_most == Approx(3.5));
    ModelReply reply;
    reply.id = "1-0";
    reply.cost = {.input_tokens = 10, .usd = 0.25};
    resumed.calls.finish(reply);
    CHECK(resumed.archive.spent().usd == Approx(0.25));
    CHECK(resumed.archive.spent().usd_most ==
          Approx(2.25));  // the lost one may have cost all that was set aside
  }
}

TEST_CASE("a call that its endpoint keeps is asked for again at no cost, however often a run is stopped") {
  SearchRig rig;
  rig.config.budget = {.tokens = 4000};
  PricedModel model;
  model.is_kept = true;
  for (int session = 0; session < 5; ++session) {
    Ledger ledger(rig, model);
    PendingCall call = pending("1-0");
    CHECK_FALSE(ledger.calls.recorded(call));
    CHECK(ledger.calls.send(call));
    CHECK(ledger.archive.spent().tokens_most <= 4000);
  }
}

TEST_CASE("a recorded call whose prompt would be another one now is told, and its reply is used") {
  SearchRig rig;
  PricedModel model;
  Ledger ledger(rig, model);
  REQUIRE(ledger.calls.send(pending("1-0")));
  ModelReply reply;
  reply.id = "1-0";
  reply.text = "paid for";
  ledger.calls.finish(reply);
  PendingCall same = pending("1-0"), other = pending("1-0", 200);
  REQUIRE(ledger.calls.recorded(same));
  CHECK(rig.sink.count("incident") == 0);
  const auto known = ledger.calls.recorded(other);
  REQUIRE(known);
  CHECK(known->text == "paid for");
  CHECK(rig.sink.count("incident") == 1);
}

TEST_CASE("a run that goes on on another card of the kind finds its calls' prompts unchanged") {
  SearchRig rig;
  FakeModel silent;
  silent.is_silent = true;
  FakeEvaluator here;
  here.measure_copy_rate(2803);
  rig.sink.throw_at = 16;
  CHECK_THROWS_AS(rig.run(here, &silent), RecordingSink::Kill);
  REQUIRE(silent.calls > 0);
  rig.sink.throw_at = 0;
  FakeEvaluator elsewhere;
  elsewhere.measure_copy_rate(2950);
  FakeModel model;
  rig.run(elsewhere, &model);
  CHECK(rig.sink.count("incident") == 0);
}
