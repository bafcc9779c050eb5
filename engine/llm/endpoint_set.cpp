// SPDX-License-Identifier: Apache-2.0
// Every operation goes over all endpoints.
#include "engine/llm/endpoint_set.h"

#include <poll.h>

#include <algorithm>

namespace kernelites {
namespace {

/// How often the others are looked at while one of several waits.
constexpr std::chrono::milliseconds k_look{50};

}  // namespace

std::vector<std::string> EndpointSet::names() const {
  std::vector<std::string> names;
  for (const Endpoint* endpoint : all_) names.push_back(endpoint->name());
  return names;
}

Endpoint* EndpointSet::find(const std::string& name) const {
  for (Endpoint* endpoint : all_)
    if (endpoint->name() == name) return endpoint;
  return all_.empty() ? nullptr : all_.front();
}

void EndpointSet::wait(std::vector<pollfd>& others, std::chrono::milliseconds timeout) const {
  if (all_.size() > 1) timeout = std::min(timeout, k_look);
  for (const Endpoint* endpoint : all_) timeout = std::min(timeout, endpoint->due_in());
  all_.front()->wait(others, timeout);
}

void EndpointSet::pump() const {
  for (Endpoint* endpoint : all_) endpoint->pump();
}

std::optional<ModelReply> EndpointSet::take() const {
  for (Endpoint* endpoint : all_)
    if (auto reply = endpoint->take()) return reply;
  return std::nullopt;
}

}  // namespace kernelites
