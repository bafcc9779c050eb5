// SPDX-License-Identifier: Apache-2.0
// Warm spares and turns.
#include "evaluators/worker/pipeline/station.h"

#include "engine/core/error.h"

namespace kernelites::worker {

Station::Station(DeviceChoice device) : device_(std::move(device)) {
  restart();
  prepare_spare();
}

void Station::restart() { referee_ = std::make_unique<Referee>(device_); }

void Station::prepare_spare() {
  if (spare_.valid()) return;
  spare_ =
      std::async(std::launch::async, [device = device_] { return std::make_unique<ExecutorClient>(device); });
}

std::unique_ptr<ExecutorClient> Station::take_executor() {
  prepare_spare();
  return spare_.get();
}

StationPool::StationPool(DeviceChoice device, int count) {
  KERNELITES_ASSERT(count > 0);
  for (int i = 0; i < count; ++i) {
    stations_.push_back(std::make_unique<Station>(device));
    free_.push_back(stations_.back().get());
  }
}

StationPool::Lease StationPool::take() {
  std::unique_lock lock(mutex_);
  is_free_.wait(lock, [this] { return !free_.empty(); });
  Station* station = free_.back();
  free_.pop_back();
  return Lease(*this, *station);
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
