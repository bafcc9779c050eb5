// SPDX-License-Identifier: Apache-2.0
// Caps before calls, records around them.
#include "engine/search/model_calls.h"

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
  reply.usage = {.input_tokens = call.input_tokens,
                 .cached_input_tokens = call.cached_input_tokens,
                 .output_tokens = call.output_tokens,
                 .reasoning_tokens = call.reasoning_tokens,
                 .cache_write_tokens = call.cache_write_tokens,
                 .usd = call.usd,
                 .is_estimated = call.is_estimated};
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

std::optional<ModelReply> ModelCalls::recorded(PendingCall& call) const {
  for (const ModelCallRecord& known : parts_.archive.model_calls(call.request.ordinal)) {
    if (known.request_id != call.request.id) continue;
    // As it was sent, should a prompt file have changed since.
    const int output_tokens_max = call.request.output_tokens_max;
    call.request = request_from(known);
    call.request.output_tokens_max = output_tokens_max;
    call.is_recorded = true;
    if (known.state != "sent") return reply_from(known);
  }
  return std::nullopt;
}

bool ModelCalls::send(const PendingCall& wanted) {
  ModelRequest request = wanted.request;
  if (call_of_.size() >= parts_.endpoint->capacity()) return false;
  const double usd_once = parts_.endpoint->usd_max(request);
  Call call{.ordinal = request.ordinal,
            .tokens_max = most_tokens(request) + request.output_tokens_max,
            .usd_max = usd_once};
  const BudgetLimits& limits = parts_.config.budget;
  const Spent spent = parts_.archive.spent();
  const Reserved under_way = reserved();
  if (!can_call(limits, spent, under_way, call.tokens_max, call.usd_max)) return false;
  if (limits.usd > 0 && usd_once > 0) {
    // Room for a second attempt, should the first be charged and lost; the endpoint keeps within it.
    call.usd_max = std::min(2 * usd_once, limits.usd - spent.usd - under_way.usd);
    request.usd_limit = call.usd_max;
  }
  if (!wanted.is_recorded)
    parts_.archive.record_model_call({.request_id = request.id,
                                      .ordinal = request.ordinal,
                                      .attempt = 1,
                                      .endpoint = parts_.endpoint->name(),
                                      .prompt_digest = prompt_digest(request),
                                      .prompt = messages_json(request.messages),
                                      .sent_unix_s = announcer_.now_unix_s(),
                                      .extras = request_extras(request),
                                      .cuts = cuts_json(wanted.cuts),
                                      .tokens_estimated = estimated_tokens(request),
                                      .usd_reserved = call.usd_max});
  call_of_[request.id] = call;
  parts_.endpoint->submit(std::move(request));
  return true;
}

std::optional<std::uint64_t> ModelCalls::finish(const ModelReply& reply) {
  const auto call = call_of_.find(reply.id);
  if (call == call_of_.end()) return std::nullopt;  // the end of a call that was given up
  const std::uint64_t ordinal = call->second.ordinal;
  const double reserved_usd = call->second.usd_max;
  call_of_.erase(call);
  Json tool_calls = Json::array();
  for (const ToolCall& wanted : reply.tool_calls) tool_calls.push_back(wanted);
  const ModelUsage& usage = reply.usage;
  const bool is_new = parts_.archive.record_model_reply({.request_id = reply.id,
                                                         .ordinal = ordinal,
                                                         .model = reply.model,
                                                         .reply = reply.text,
                                                         .input_tokens = usage.input_tokens,
                                                         .cached_input_tokens = usage.cached_input_tokens,
                                                         .output_tokens = usage.output_tokens,
                                                         .reasoning_tokens = usage.reasoning_tokens,
                                                         .cache_write_tokens = usage.cache_write_tokens,
                                                         .usd = usage.usd,
                                                         .is_estimated = usage.is_estimated,
                                                         .latency_s = reply.latency_s,
                                                         .failure = reply.failure,
                                                         .message = reply.message,
                                                         .finish = reply.finish,
                                                         .tool_calls = tool_calls});
  if (!is_new) return std::nullopt;
  announcer_.announce({{"event", "answered"},
                       {"ordinal", ordinal},
                       {"request_id", reply.id},
                       {"model", reply.model},
                       {"failure", reply.failure},
                       {"input_tokens", usage.input_tokens},
                       {"output_tokens", usage.output_tokens},
                       {"usd", usage.usd},
                       {"latency_s", reply.latency_s}});
  if (parts_.config.budget.usd > 0 && usage.usd > reserved_usd * (1 + 1e-9))
    announcer_.announce({{"event", "incident"},
                         {"message",
                          "a model call cost more than the endpoint's price list and limits allow: check "
                          "the prices in the configuration"}});
  return ordinal;
}

Reserved ModelCalls::reserved() const {
  Reserved reserved;
  for (const auto& [id, call] : call_of_) {
    reserved.tokens += call.tokens_max;
    reserved.usd += call.usd_max;
  }
  return reserved;
}

}  // namespace kernelites
