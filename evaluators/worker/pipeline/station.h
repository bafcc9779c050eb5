// SPDX-License-Identifier: Apache-2.0
// Stations: a device with its referee and a spare executor. Device stages of several candidates take turns on
// them.
#pragma once

#include <condition_variable>
#include <future>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "evaluators/worker/pipeline/child_client.h"

namespace kernelites::worker {

/// A referee that lives on, and executors that each live for one evaluation. The next one is started in the
/// background between leases, so that context creation costs nobody time and never falls into a timing.
class Station {
 public:
  explicit Station(DeviceChoice device);
  const DeviceFacts& facts() const { return referee_->facts(); }
  Referee& referee() { return *referee_; }
  /// A fresh executor that has run nothing; a spare that has died meanwhile is replaced. Throws Error if none can be
  /// started.
  std::unique_ptr<ExecutorClient> take_executor();
  /// Replaces a referee that failed or has served long. Throws Error if none can be started.
  void make_ready();
  /// Starts the next executor in the background.
  void prepare_spare();

 private:
  DeviceChoice device_;
  std::unique_ptr<Referee> referee_;
  int leases_ = 0;  ///< of this referee
  std::future<std::unique_ptr<ExecutorClient>> spare_;
};

/// The stations of one device kind. `gpu` has one (its device is one); `vgpu` one for each job.
class StationPool {
 public:
  /// `facts` are what the device was found to be. Without any station, nothing can be taken.
  StationPool(DeviceChoice device, const DeviceFacts& facts, int count);

  /// Exclusive use of a station until destruction.
  class Lease {
   public:
    Lease(StationPool& pool, Station& station) : pool_(&pool), station_(&station) {}
    ~Lease() {
      if (pool_) pool_->put_back(*station_);
    }
    Lease(Lease&& other) noexcept : pool_(std::exchange(other.pool_, nullptr)), station_(other.station_) {}
    Lease& operator=(Lease&&) = delete;
    Station& operator*() { return *station_; }
    Station* operator->() { return station_; }

   private:
    StationPool* pool_;
    Station* station_;
  };
  /// Waits at most `deadline_s` for a free station. Throws Error if none becomes free, or if it cannot be made ready.
  Lease take(double deadline_s);
  const DeviceFacts& facts() const { return facts_; }

 private:
  void put_back(Station& station);

  DeviceFacts facts_;
  std::vector<std::unique_ptr<Station>> stations_;
  std::vector<Station*> free_;
  std::mutex mutex_;
  std::condition_variable is_free_;
};

}  // namespace kernelites::worker
