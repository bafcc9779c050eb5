// SPDX-License-Identifier: Apache-2.0
// Model calls: recorded before they are sent, within the hard caps, and recorded again when they end.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "engine/search/budget.h"
#include "engine/search/run_parts.h"
#include "engine/variation/prompt_budget.h"

namespace kernelites {

/// A call that an operator wants and that is not in flight yet.
struct PendingCall {
  ModelRequest request;
  std::string endpoint = {};  ///< of the run's, by name
  std::vector<SectionCut> cuts;
  bool is_recorded = false;  ///< was sent by an earlier session
};

/// The calls in flight. The archive keeps for every call what it can have cost at most, from the moment that it is
/// sent; a call is sent only if the caps hold even if all of them cost their most, so that a run can stop only inside
/// them. A call that was in flight when a run was killed may have been charged: if it is made again, it counts twice.
class ModelCalls {
 public:
  ModelCalls(RunParts& parts, Announcer& announcer) : parts_(parts), announcer_(announcer) {}

  /// What became of the call `request.id` in an earlier session: its reply, or (with a request that is put back to what
  /// was sent then) nothing.
  std::optional<ModelReply> recorded(PendingCall& call) const;
  /// False if its endpoint has no room or a budget does not allow it. REQUIRES: there is an endpoint.
  bool send(const PendingCall& call);
  /// The variation is over: its endpoint need keep nothing for it.
  void end_conversation(std::uint64_t ordinal, const std::string& endpoint);
  /// Records the end of a call. The ordinal of its variation; nothing for a call that is not in flight.
  std::optional<std::uint64_t> finish(const ModelReply& reply);

  std::size_t in_flight() const { return call_of_.size(); }
  /// True if a call is in flight that needs no person or other program to come back.
  bool is_reply_possible() const;

 private:
  struct Call {
    std::uint64_t ordinal = 0;
    Endpoint* endpoint = nullptr;
    CostBound reserved;
    CostBound lost;  ///< of the same call, made by sessions before this one
  };
  CostBound reservation(const CostBound& once) const;

  RunParts& parts_;
  Announcer& announcer_;
  std::map<std::string, Call> call_of_;  // in flight, by request id
};

/// A recorded call as the reply that it ended with.
ModelReply reply_from(const ModelCallRecord& call);
/// A recorded call as the request that was sent.
ModelRequest request_from(const ModelCallRecord& call);
/// A call as it is recorded before it is sent, but for its time and cuts.
ModelCallRecord sent_record(const ModelRequest& request, const std::string& endpoint,
                            const CostBound& reserved);
/// The end of a call as it is recorded; `most`: what it can have cost with all attempts.
ModelCallRecord ended_record(const ModelReply& reply, std::uint64_t ordinal, const CostBound& most);
/// The messages as the archive keeps them.
Json messages_json(const std::vector<ChatMessage>& messages);

}  // namespace kernelites
