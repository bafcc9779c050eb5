// SPDX-License-Identifier: Apache-2.0
// Output by pointers, or all of it.
#include "engine/llm/command_reply.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <optional>

#include "engine/llm/foreign_json.h"
#include "engine/llm/utf8_text.h"

namespace kernelites {
namespace {

/// The text at a pointer: of a string itself, of anything else its JSON; "" where there is nothing.
std::string text_at_pointer(const Json& document, const std::string& pointer) {
  if (pointer.empty() || document.is_discarded()) return "";
  const Json::json_pointer where(pointer);
  if (!document.contains(where)) return "";
  const Json& value = document.at(where);
  return value.is_string() ? value.get<std::string>()
                           : value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

/// Nothing where the output has no number that could be a count or an amount.
std::optional<double> number_at_pointer(const Json& document, const std::string& pointer) {
  const std::string text = text_at_pointer(document, pointer);
  char* end = nullptr;
  const double number = std::strtod(text.c_str(), &end);
  if (text.empty() || *end != '\0' || !(number >= 0 && number < 1e15)) return std::nullopt;
  return number;
}

ModelReply failed(const char* failure, std::string message) {
  return {.failure = failure, .message = std::move(message)};
}

ModelReply bad_end(const JailedProcess& process) {
  const std::string& errors = process.errors();
  constexpr std::size_t k_shown = 300;
  const std::size_t from = errors.size() - std::min(errors.size(), k_shown);
  return failed(process.end().jail_problem.empty() ? "command_failed" : "no_jail",
                fmt::format("the command ended with {}: {}", process.end().words(),
                            one_line(std::string_view(errors).substr(from))));
}

}  // namespace

ModelReply read_command_reply(const JailedProcess& process, const ModelRequest& request,
                              const CommandSettings& settings) {
  const CommandReplyFields& fields = settings.reply;
  const std::string output = valid_utf8(process.output());
  const Json document = fields.text.empty() || process.has_flooded() ? Json(Json::value_t::discarded)
                                                                     : parse_foreign_json(output);
  ModelReply reply;
  if (process.has_flooded())
    reply = failed("reply_too_big", fmt::format("the command printed more than {} bytes and was killed",
                                                settings.output_bytes_max));
  else if (!process.end().is_clean())
    reply = bad_end(process);
  else
    reply.text = fields.text.empty() ? output : text_at_pointer(document, fields.text);
  if (reply.failure.empty() && reply.text.empty())
    reply = fields.text.empty() ? failed("empty_reply", "the command printed nothing")
                                : failed("malformed_reply", fmt::format("the command's output has no {}: {}",
                                                                        fields.text, one_line(output)));
  if (reply.failure.empty()) reply.finish = "stop";
  reply.model = text_at_pointer(document, fields.model);
  // Also of one that failed: many tell what they cost before they give up.
  reply.cost = estimated_cost(request, reply.text);
  if (const auto tokens = number_at_pointer(document, fields.input_tokens))
    reply.cost.input_tokens = static_cast<std::int64_t>(*tokens);
  if (const auto tokens = number_at_pointer(document, fields.output_tokens))
    reply.cost.output_tokens = static_cast<std::int64_t>(*tokens);
  const auto usd = number_at_pointer(document, fields.usd);
  reply.cost.usd = usd.value_or(settings.usd_max);
  reply.cost.is_estimated = !usd;
  return reply;
}

}  // namespace kernelites
