// SPDX-License-Identifier: Apache-2.0
// First in, first out: a search duels what it has just examined.
#include "evaluators/worker/pipeline/compiled_cache.h"

#include "engine/core/digest.h"

namespace kernelites::worker {
namespace {

std::string key_of(const std::string& task_digest, const Candidate& candidate) {
  return digest_parts({task_digest, candidate_id(candidate)});
}

}  // namespace

std::shared_ptr<const ProvenCode> CompiledCache::find(const std::string& task_digest,
                                                      const Candidate& candidate) const {
  const std::lock_guard lock(mutex_);
  const auto found = codes_.find(key_of(task_digest, candidate));
  return found == codes_.end() ? nullptr : found->second;
}

void CompiledCache::add(const std::string& task_digest, const Candidate& candidate, ProvenCode code) {
  const std::string key = key_of(task_digest, candidate);
  const std::lock_guard lock(mutex_);
  if (!codes_.contains(key)) order_.push_back(key);
  codes_[key] = std::make_shared<const ProvenCode>(std::move(code));
  if (order_.size() > k_codes_cached_max) {
    codes_.erase(order_.front());
    order_.pop_front();
  }
}

bool CompiledCache::was_looked_at(const std::string& name) const {
  const std::lock_guard lock(mutex_);
  return looks_.contains(name);
}

void CompiledCache::add_look(const std::string& name) {
  const std::lock_guard lock(mutex_);
  if (!looks_.insert(name).second) return;
  look_order_.push_back(name);
  if (look_order_.size() <= k_looks_max) return;
  looks_.erase(look_order_.front());
  look_order_.pop_front();
}

}  // namespace kernelites::worker
