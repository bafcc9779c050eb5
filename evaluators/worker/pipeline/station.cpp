// SPDX-License-Identifier: Apache-2.0
// Warm spares and turns.
#include "evaluators/worker/pipeline/station.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "engine/core/error.h"

namespace kernelites::worker {
namespace {

/// Executors that are kept ready. Creating a context on a real device may take longer than an evaluation holds it; the
/// virtual one starts in no time.
constexpr std::size_t k_spares = 2, k_virtual_spares = 1;
/// No request waits longer for its turn, whatever its deadline.
constexpr double k_wait_s_max = 24 * 3600;

}  // namespace

Station::Station(DeviceChoice device)
    : device_(std::move(device)), referee_(std::make_unique<Referee>(device_)) {
  prepare_spares();
}

void Station::make_ready() {
  if (referee_->is_usable()) return;
  referee_.reset();  // first, so that the device's memory is free again
  referee_ = std::make_unique<Referee>(device_);
}

void Station::prepare_spares() {
  while (spares_.size() < (device_.kind == "gpu" ? k_spares : k_virtual_spares)) {
    spares_.push_back(std::async(std::launch::async,
                                 [device = device_] { return std::make_unique<ExecutorClient>(device); }));
  }
}

std::unique_ptr<ExecutorClient> Station::take_executor(LeaseUse use) {
  prepare_spares();
  std::future<std::unique_ptr<ExecutorClient>> next = std::move(spares_.front());
  spares_.pop_front();
  if (use == LeaseUse::proving) {
    prepare_spares();
  } else {
    for (const auto& spare : spares_) spare.wait();
  }
  std::unique_ptr<ExecutorClient> executor = next.get();
  return executor->is_alive() ? std::move(executor) : std::make_unique<ExecutorClient>(device_);
}

StationPool::StationPool(DeviceChoice device, const DeviceFacts& facts, int count, bool waits_for_turn)
    : facts_(facts), waits_for_turn_(waits_for_turn) {
  KERNELITES_ASSERT(count >= 0);
  for (int i = 0; i < count; ++i) {
    stations_.push_back(std::make_unique<Station>(device));
    free_.push_back(stations_.back().get());
  }
}

StationPool::Lease StationPool::take(double deadline_s) {
  const auto asked = std::chrono::steady_clock::now();
  Station* station = nullptr;
  {
    std::unique_lock lock(mutex_);
    const std::uint64_t ticket = next_ticket_++;
    waiting_.push_back(ticket);
    const auto limit = std::chrono::duration<double>(
        waits_for_turn_ ? k_wait_s_max : std::clamp(deadline_s, 0.0, k_wait_s_max));
    const bool has_turn =
        changed_.wait_for(lock, limit, [&] { return !free_.empty() && waiting_.front() == ticket; });
    std::erase(waiting_, ticket);
    changed_.notify_all();  // who stood behind may be in front now
    if (!has_turn) throw Error(fmt::format("no device became free within {:.1f} s", limit.count()));
    station = free_.back();
    free_.pop_back();
  }
  const auto waited = std::chrono::steady_clock::now() - asked;
  Lease lease(*this, *station, waits_for_turn_ ? waited : std::chrono::steady_clock::duration{});
  lease->make_ready();
  return lease;
}

void StationPool::put_back(Station& station) {
  station.prepare_spares();
  {
    const std::lock_guard lock(mutex_);
    free_.push_back(&station);
  }
  changed_.notify_all();
}

}  // namespace kernelites::worker
