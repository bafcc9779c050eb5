// SPDX-License-Identifier: Apache-2.0
// Stations: a device with its referee and a spare executor. Device stages of several candidates take turns on
// them.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <future>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "evaluators/worker/pipeline/child_client.h"

namespace kernelites::worker {

/// Whether a lease times launches: nothing else may then go on at the device.
enum class LeaseUse { proving, timing };

/// A referee that lives on, and executors that each live for one evaluation. The next ones are started in the
/// background, while others are proven and between leases, so that context creation costs nobody time and never falls
/// into a timing.
class Station {
 public:
  explicit Station(DeviceChoice device);
  const DeviceFacts& facts() const { return referee_->facts(); }
  Referee& referee() { return *referee_; }
  /// A fresh executor that has run nothing; a spare that has died meanwhile is replaced. Throws Error if none can be
  /// started.
  std::unique_ptr<ExecutorClient> take_executor(LeaseUse use);
  /// An executor that reads counters. Throws Error if it cannot be started.
  std::unique_ptr<ExecutorClient> start_profiler() {
    return std::make_unique<ExecutorClient>(device_, /*counts=*/true);
  }
  /// Replaces a referee that failed. Throws Error if none can be started.
  void make_ready();
  /// Starts executors in the background until there are as many as are kept.
  void prepare_spares();

 private:
  DeviceChoice device_;
  std::unique_ptr<Referee> referee_;
  std::deque<std::future<std::unique_ptr<ExecutorClient>>> spares_;  ///< oldest first
};

/// The stations of one device kind. `gpu` has one (its device is one); `vgpu` one for each job. Whoever asks first has
/// the next free one.
class StationPool {
 public:
  /// `facts` are what the device was found to be. Without any station, nothing can be taken. `waits_for_turn`: a turn
  /// comes when it comes, whatever the deadline of who asks (a batch, where nobody waits for a reply).
  StationPool(DeviceChoice device, const DeviceFacts& facts, int count, bool waits_for_turn = false);

  /// Exclusive use of a station until destruction.
  class Lease {
   public:
    Lease(StationPool& pool, Station& station, std::chrono::steady_clock::duration forgiven)
        : pool_(&pool), station_(&station), forgiven_(forgiven) {}
    ~Lease() {
      if (pool_) pool_->put_back(*station_);
    }
    Lease(Lease&& other) noexcept
        : pool_(std::exchange(other.pool_, nullptr)), station_(other.station_), forgiven_(other.forgiven_) {}
    Lease& operator=(Lease&&) = delete;
    Station& operator*() { return *station_; }
    Station* operator->() { return station_; }
    /// What waiting for the turn took, where it is not part of the evaluation's time: its deadline moves by as much.
    std::chrono::steady_clock::duration forgiven() const { return forgiven_; }

   private:
    StationPool* pool_;
    Station* station_;
    std::chrono::steady_clock::duration forgiven_;
  };
  /// Waits at most `deadline_s` for a free station, or a day where it waits for its turn. Throws Error if none becomes
  /// free, or if it cannot be made ready.
  Lease take(double deadline_s);
  const DeviceFacts& facts() const { return facts_; }

 private:
  void put_back(Station& station);

  DeviceFacts facts_;
  std::vector<std::unique_ptr<Station>> stations_;
  bool waits_for_turn_;
  std::vector<Station*> free_;
  std::deque<std::uint64_t> waiting_;  ///< tickets, in the order of asking
  std::uint64_t next_ticket_ = 0;
  std::mutex mutex_;
  std::condition_variable changed_;
};

}  // namespace kernelites::worker
