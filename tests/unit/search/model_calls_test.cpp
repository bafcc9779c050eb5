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
  double usd_max(const ModelRequest& request) const override {
    return usd_per_input * static_cast<double>(most_tokens(request)) +
           usd_per_output * request.output_tokens_max;
  }

  std::vector<ModelRequest> in_flight;
  double usd_per_input = 0;
  double usd_per_output = 0;
};

/// The end of a call: any share of the worst case, at times of two attempts, where the request allows two.
ModelReply random_end(const ModelRequest& request, const PricedModel& model, Rng& rng) {
  ModelReply reply;
  reply.id = request.id;
  if (rng.below(6) == 0) reply.failure = "rate_limited";
  const double once = model.usd_max(request);
  const double most = request.usd_limit > 0 ? request.usd_limit : once;
  const double share = rng.below(4) == 0 ? 1.0 : rng.uniform();
  reply.usage.usd = share * (most >= 2 * once && rng.below(3) == 0 ? 2 * once : std::min(once, most));
  reply.usage.input_tokens = static_cast<std::int64_t>(share * static_cast<double>(most_tokens(request)));
  reply.usage.output_tokens = static_cast<std::int64_t>(share * request.output_tokens_max);
  return reply;
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
    Archive archive = rig.open();
    FakeEvaluator evaluator;
    RunParts parts{.task = rig.task,
                   .config = rig.config,
                   .prompts = rig.prompts,
                   .seeds = rig.seeds,
                   .archive = archive,
                   .evaluator = evaluator,
                   .endpoint = &model,
                   .device = "vgpu",
                   .run_key = Key::fixed("test"),
                   .clock = rig.clock.clock(),
                   .sinks = {&rig.sink},
                   .incidents = {}};
    Announcer announcer(parts);
    ModelCalls ledger(parts, announcer);
    archive.record_variation({.ordinal = 1, .operator_name = "refine"});
    for (int step = 0; step < 120; ++step) {
      if (model.in_flight.empty() || rng.below(2) == 0) {
        PendingCall call;
        call.request.id = "1-" + std::to_string(step);
        call.request.ordinal = 1;
        call.request.messages = {{.role = "user", .text = std::string(rng.below(20'000), 'x')}};
        call.request.output_tokens_max = 256 + static_cast<int>(rng.below(8'000));
        ledger.send(call) ? ++calls : ++refused;
      } else {
        const std::size_t at = rng.below(model.in_flight.size());
        ledger.finish(random_end(model.in_flight[at], model, rng));
        model.in_flight.erase(model.in_flight.begin() + static_cast<std::ptrdiff_t>(at));
      }
      const Spent spent = archive.spent();
      if (rig.config.budget.usd > 0) REQUIRE(spent.usd <= rig.config.budget.usd * (1 + 1e-9));
      if (rig.config.budget.tokens > 0)
        REQUIRE(spent.input_tokens + spent.output_tokens <= rig.config.budget.tokens);
    }
    CHECK(rig.sink.count("incident") == 0);
  }
  CHECK(calls > 150);
  CHECK(refused > 100);
}

TEST_CASE("a call that costs more than its price list allows is told as an incident") {
  SearchRig rig;
  rig.config.budget.usd = 1;
  Archive archive = rig.open();
  FakeEvaluator evaluator;
  FakeModel model;
  RunParts parts{.task = rig.task,
                 .config = rig.config,
                 .prompts = rig.prompts,
                 .seeds = rig.seeds,
                 .archive = archive,
                 .evaluator = evaluator,
                 .endpoint = &model,
                 .device = "vgpu",
                 .run_key = Key::fixed("test"),
                 .clock = rig.clock.clock(),
                 .sinks = {&rig.sink},
                 .incidents = {}};
  Announcer announcer(parts);
  ModelCalls ledger(parts, announcer);
  archive.record_variation({.ordinal = 1, .operator_name = "refine"});
  PendingCall call;
  call.request.id = "1-0";
  call.request.ordinal = 1;
  REQUIRE(ledger.send(call));
  ModelReply reply;
  reply.id = "1-0";
  reply.usage.usd = 5;
  ledger.finish(reply);
  CHECK(rig.sink.count("incident") == 1);
}
