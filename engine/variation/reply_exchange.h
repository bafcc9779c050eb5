// SPDX-License-Identifier: Apache-2.0
// One answer out of a conversation: a reply that was cut off is continued once, one that cannot be used goes back once.
#pragma once

#include <string>
#include <variant>
#include <vector>

#include "engine/variation/operator.h"

namespace kernelites {

/// Calls that one answer may use up: the first, a continuation, a correction.
inline constexpr int k_calls_max = 3;

/// The conversation. Copies what it is given.
class ReplyExchange {
 public:
  /// What comes of a reply: another call with `messages`, a proposal, or the end.
  struct CallAgain {
    std::vector<ChatMessage> messages;
  };
  using Step = std::variant<CallAgain, Proposal, Rejection>;

  /// `opening`: the messages of the first call. `continuation`: what is said to a model whose reply was cut off.
  ReplyExchange(std::vector<ChatMessage> opening, Candidate parent, std::string continuation);

  /// `correction` makes the message that sends a reason back to the model.
  template <typename MakeCorrection>
  Step next(const ModelReply& reply, MakeCorrection correction) {
    Step step = read(reply);
    if (const auto* rejection = std::get_if<Rejection>(&step);
        rejection != nullptr && may_correct(*rejection))
      return correct(correction(*rejection));
    return step;
  }

 private:
  Step read(const ModelReply& reply);
  bool may_correct(const Rejection& rejection) const;
  Step correct(std::string message);

  std::vector<ChatMessage> messages_;
  Candidate parent_;
  std::string continuation_;
  std::string text_;  // of the reply so far
  bool is_continued_ = false;
  bool is_corrected_ = false;
};

}  // namespace kernelites
