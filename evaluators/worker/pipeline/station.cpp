// SPDX-License-Identifier: Apache-2.0
// Warm spares and turns.
#include "evaluators/worker/pipeline/station.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "engine/core/error.h"

namespace kernelites::worker {
namespace {

/// A referee's device tables grow with every tensor it ever held: a fresh one now and then keeps lookups short.
constexpr int k_leases_max = 256;
/// No request waits longer for its turn, whatever its deadline.
constexpr double k_wait_s_max = 24 * 3600;

}  // namespace

Station::Station(DeviceChoice device)
    : device_(std::move(device)), referee_(std::make_unique<Referee>(device_)) {
  prepare_spare();
}

void Station::make_ready() {
  if (referee_->is_usable() && ++leases_ < k_leases_max) return;
  referee_.reset();  // first, so that the device's memory is free again
  referee_ = std::make_unique<Referee>(device_);
  leases_ = 0;
}

void Station::prepare_spare() {
  if (spare_.valid()) return;
  spare_ =
      std::async(std::launch::async, [device = device_] { return std::make_unique<ExecutorClient>(device); });
}

std::unique_ptr<ExecutorClient> Station::take_executor() {
  prepare_spare();
  std::unique_ptr<ExecutorClient> executor = spare_.get();
  return executor->is_alive() ? std::move(executor) : std::make_unique<ExecutorClient>(device_);
}

StationPool::StationPool(DeviceChoice device, const DeviceFacts& facts, int count) : facts_(facts) {
  KERNELITES_ASSERT(count >= 0);
  for (int i = 0; i < count; ++i) {
    stations_.push_back(std::make_unique<Station>(device));
    free_.push_back(stations_.back().get());
  }
}

StationPool::Lease StationPool::take(double deadline_s) {
  Station* station = nullptr;
  {
    std::unique_lock lock(mutex_);
    const auto limit = std::chrono::duration<double>(std::clamp(deadline_s, 0.0, k_wait_s_max));
    if (!is_free_.wait_for(lock, limit, [this] { return !free_.empty(); }))
      throw Error(fmt::format("no device became free within {:.1f} s", limit.count()));
    station = free_.back();
    free_.pop_back();
  }
  Lease lease(*this, *station);
  lease->make_ready();
  return lease;
}

void StationPool::put_back(Station& station) {
  station.prepare_spare();
  {
    const std::lock_guard lock(mutex_);
    free_.push_back(&station);
  }
  is_free_.notify_one();
}

}  // namespace kernelites::worker
