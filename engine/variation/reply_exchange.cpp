// SPDX-License-Identifier: Apache-2.0
// The rules of second chances.
#include "engine/variation/reply_exchange.h"

#include "engine/variation/reply_parser.h"
#include "engine/variation/text_rules.h"

namespace kernelites {

ReplyExchange::ReplyExchange(std::vector<ChatMessage> opening, Candidate parent, std::string continuation)
    : messages_(std::move(opening)), parent_(std::move(parent)), continuation_(std::move(continuation)) {}

ReplyExchange::Step ReplyExchange::read(const ModelReply& reply) {
  const bool is_at_limit = reply.finish == "length" || reply.failure == "length";
  if (!reply.failure.empty() && !(is_at_limit && !reply.text.empty()))
    return Rejection{"model_" + reply.failure, single_line(reply.message, 600)};
  text_ = is_continued_ && !is_corrected_ ? join_cut_reply(text_, reply.text) : reply.text;
  auto parsed = parse_reply(text_, parent_);
  const auto* rejection = std::get_if<Rejection>(&parsed);
  const bool has_edits = text_.find("<<<<<") != std::string::npos;
  // A reply that used up its limit may lack edits although what is there can be read.
  const bool is_cut =
      is_at_limit ? rejection != nullptr || has_edits : rejection != nullptr && is_cut_off(*rejection);
  const bool can_continue = !is_continued_ && !is_corrected_ && !text_.empty() && is_clean_utf8(text_);
  if (is_cut && can_continue) {
    is_continued_ = true;
    std::vector<ChatMessage> messages = messages_;
    messages.push_back({.role = "assistant", .text = text_});
    messages.push_back({.role = "user", .text = continuation_});
    return CallAgain{std::move(messages)};
  }
  if (is_cut && rejection == nullptr)
    return Rejection{"reply_is_cut",
                     "the reply reached its limit of length twice; fewer or smaller edits are needed"};
  if (rejection != nullptr) return *rejection;
  return std::get<Proposal>(std::move(parsed));
}

bool ReplyExchange::may_correct(const Rejection& rejection) const {
  // A reply that is too long or no text is not worth a second one, and could not be quoted back.
  return !is_corrected_ && !rejection.reason.starts_with("model_") && rejection.reason != "too_long" &&
         rejection.reason != "not_utf8" && !text_.empty();
}

ReplyExchange::Step ReplyExchange::correct(std::string message) {
  is_corrected_ = true;
  messages_.push_back({.role = "assistant", .text = text_});
  messages_.push_back({.role = "user", .text = std::move(message)});
  return CallAgain{messages_};
}

}  // namespace kernelites
