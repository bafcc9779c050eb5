// SPDX-License-Identifier: Apache-2.0
// The endpoints of a run: each call goes to the one that its variation names, the loop waits for all of them.
#pragma once

#include <string>
#include <vector>

#include "engine/llm/endpoint.h"

namespace kernelites {

/// Borrows its endpoints, whose names differ.
class EndpointSet {
 public:
  EndpointSet() = default;
  /// One endpoint or, with null, none.
  EndpointSet(Endpoint* only) {  // NOLINT: a run with one endpoint is the usual case
    if (only != nullptr) all_.push_back(only);
  }
  /// REQUIRES: none is null.
  explicit EndpointSet(std::vector<Endpoint*> all) : all_(std::move(all)) {}

  bool empty() const { return all_.empty(); }
  std::vector<std::string> names() const;
  /// The endpoint of that name; the first where there is none: a run may go on with others than it began with. Null if
  /// the set is empty.
  Endpoint* find(const std::string& name) const;

  /// As Endpoint::wait. Where there are several, the others are looked at in between. REQUIRES: not empty.
  void wait(std::vector<pollfd>& others, std::chrono::milliseconds timeout) const;
  void pump() const;
  std::optional<ModelReply> take() const;

 private:
  std::vector<Endpoint*> all_;
};

}  // namespace kernelites
