// SPDX-License-Identifier: Apache-2.0
// Caps before calls, records around them.
#include "engine/search/model_calls.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/llm/conversation_json.h"

namespace kernelites {

Json messages_json(const std::vector<ChatMessage>& messages) {
  Json json = Json::array();
  for (const ChatMessage& message : messages) json.push_back(message);
  return json;
}

ModelReply reply_from(const ModelCallRecord& call) {
  ModelReply reply;
  reply.id = call.request_id;
  reply.text = call.reply;
  reply.tool_calls = parse_tool_calls(call.tool_calls, "run.db", "tool_calls");
  reply.finish = call.finish;
  reply.model = call.model;
  reply.failure = call.failure;
  reply.message = call.message;
  reply.cost = {.input_tokens = call.input_tokens,
                .cached_input_tokens = call.cached_input_tokens,
                .output_tokens = call.output_tokens,
                .reasoning_tokens = call.reasoning_tokens,
                .cache_write_tokens = call.cache_write_tokens,
                .usd = call.usd,
                .is_estimated = call.is_estimated,
                .most = {.tokens = call.tokens_most, .usd = call.usd_most}};
  reply.latency_s = call.latency_s;
  return reply;
}

ModelRequest request_from(const ModelCallRecord& call) {
  ModelRequest request;
  request.id = call.request_id;
  request.ordinal = call.ordinal;
  request.messages = parse_messages(call.prompt, "run.db", "prompt");
  apply_request_extras(request, call.extras, "run.db");
  return request;
}

ModelCallRecord sent_record(const ModelRequest& request, const std::string& endpoint,
                            const CostBound& reserved) {
  return {.request_id = request.id,
          .ordinal = request.ordinal,
          .attempt = 1,
          .endpoint = endpoint,
          .prompt_digest = prompt_digest(request),
          .prompt = messages_json(request.messages),
          .extras = request_extras(request),
          .tokens_estimated = estimated_tokens(request),
          .usd_reserved = reserved.usd,
          .tokens_most = reserved.tokens,
          .usd_most = reserved.usd};
}

ModelCallRecord ended_record(const ModelReply& reply, std::uint64_t ordinal, const CostBound& most) {
  Json tool_calls = Json::array();
  for (const ToolCall& wanted : reply.tool_calls) tool_calls.push_back(wanted);
  return {.request_id = reply.id,
          .ordinal = ordinal,
          .tokens_most = most.tokens,
          .usd_most = most.usd,
          .model = reply.model,
          .reply = reply.text,
          .input_tokens = reply.cost.input_tokens,
          .cached_input_tokens = reply.cost.cached_input_tokens,
          .output_tokens = reply.cost.output_tokens,
          .reasoning_tokens = reply.cost.reasoning_tokens,
          .cache_write_tokens = reply.cost.cache_write_tokens,
          .usd = reply.cost.usd,
          .is_estimated = reply.cost.is_estimated,
          .latency_s = reply.latency_s,
          .failure = reply.failure,
          .message = reply.message,
          .finish = reply.finish,
          .tool_calls = tool_calls};
}

std::optional<ModelReply> ModelCalls::recorded(PendingCall& call) const {
  for (const ModelCallRecord& known : parts_.archive.model_calls(call.request.ordinal)) {
    if (known.request_id != call.request.id) continue;
    // It was paid for as it was sent; should a prompt file have changed since, the conversation says so and goes on.
    if (known.prompt_digest != prompt_digest(call.request))
      announcer_.announce(
          {{"event", "incident"},
           {"message",
            fmt::format("call {} was made with another prompt than it would have now", known.request_id)}});
    const int output_tokens_max = call.request.output_tokens_max;
    call.request = request_from(known);
    call.request.output_tokens_max = output_tokens_max;
    call.is_recorded = true;
    if (known.state != "sent") return reply_from(known);
  }
  return std::nullopt;
}

/// Room for a second attempt, should the first be charged and lost, as far as the caps have any; the endpoint keeps
/// within it.
CostBound ModelCalls::reservation(const CostBound& once) const {
  const BudgetLimits& limits = parts_.config.budget;
  const Spent spent = parts_.archive.spent();
  CostBound reserved = once;
  if (limits.usd > 0) reserved.usd = std::min(2 * once.usd, limits.usd - spent.usd_most);
  if (limits.tokens > 0) reserved.tokens = std::min(2 * once.tokens, limits.tokens - spent.tokens_most);
  return reserved;
}

bool ModelCalls::send(const PendingCall& wanted) {
  Endpoint* const endpoint = parts_.endpoints.find(wanted.endpoint);
  const auto in_flight = std::count_if(call_of_.begin(), call_of_.end(),
                                       [&](const auto& call) { return call.second.endpoint == endpoint; });
  if (static_cast<std::size_t>(in_flight) >= endpoint->capacity()) return false;
  ModelRequest request = wanted.request;
  // What is only asked for again is set aside already.
  const bool is_kept = wanted.is_recorded && endpoint->keeps_calls();
  const CostBound once = is_kept ? CostBound{} : endpoint->cost_max(request);
  const BudgetLimits& limits = parts_.config.budget;
  if (!can_call(limits, parts_.archive.spent(), once)) return false;
  Call call{.ordinal = request.ordinal,
            .endpoint = endpoint,
            .reserved = is_kept ? once : reservation(once),
            .lost = {}};
  if (!is_kept && limits.usd > 0) request.limit.usd = call.reserved.usd;
  if (!is_kept && limits.tokens > 0) request.limit.tokens = call.reserved.tokens;
  if (!wanted.is_recorded) {
    ModelCallRecord record = sent_record(request, endpoint->name(), call.reserved);
    record.sent_unix_s = announcer_.now_unix_s();
    record.cuts = cuts_json(wanted.cuts);
    parts_.archive.record_model_call(record);
  } else if (!is_kept) {
    for (const ModelCallRecord& known : parts_.archive.model_calls(request.ordinal))
      if (known.request_id == request.id) call.lost = {.tokens = known.tokens_most, .usd = known.usd_most};
    parts_.archive.record_model_call_again(request.id, call.reserved.tokens, call.reserved.usd);
  }
  call_of_[request.id] = call;
  endpoint->submit(std::move(request));
  return true;
}

void ModelCalls::end_conversation(std::uint64_t ordinal, const std::string& endpoint) {
  if (Endpoint* kept = parts_.endpoints.find(endpoint)) kept->end_conversation(ordinal);
}

bool ModelCalls::is_reply_possible() const {
  return std::any_of(call_of_.begin(), call_of_.end(),
                     [](const auto& call) { return !call.second.endpoint->is_waiting_outside(); });
}

std::optional<std::uint64_t> ModelCalls::finish(const ModelReply& reply) {
  const auto call = call_of_.find(reply.id);
  if (call == call_of_.end()) return std::nullopt;  // the end of a call that was given up
  const auto [ordinal, endpoint, reserved, lost] = call->second;
  call_of_.erase(call);
  const CallCost& cost = reply.cost;
  CostBound most = most_of(cost);
  most += lost;
  const bool is_new = parts_.archive.record_model_reply(ended_record(reply, ordinal, most));
  if (!is_new) return std::nullopt;
  announcer_.announce({{"event", "answered"},
                       {"ordinal", ordinal},
                       {"request_id", reply.id},
                       {"model", reply.model},
                       {"failure", reply.failure},
                       {"input_tokens", cost.input_tokens},
                       {"output_tokens", cost.output_tokens},
                       {"usd", cost.usd},
                       {"latency_s", reply.latency_s}});
  if (parts_.config.budget.usd > 0 && reserved.usd > 0 && !fits({}, most_of(cost), {.usd = reserved.usd}))
    announcer_.announce({{"event", "incident"},
                         {"message",
                          "a model call cost more than the endpoint's price list and limits allow: check "
                          "the prices in the configuration"}});
  return ordinal;
}

}  // namespace kernelites
