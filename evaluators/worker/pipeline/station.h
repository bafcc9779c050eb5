// SPDX-License-Identifier: Apache-2.0
// Stations: a device with its referee and a spare executor. Device stages of several candidates take turns on
// them.
#pragma once

#include <condition_variable>
#include <future>
#include <memory>
#include <mutex>
#include <string>
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
  /// A fresh executor that has run nothing. Throws Error if none can be started.
  std::unique_ptr<ExecutorClient> take_executor();
  /// Starts the next executor in the background.
  void prepare_spare();
  /// After trouble: a new referee.
  void restart();

 private:
  DeviceChoice device_;
  std::unique_ptr<Referee> referee_;
  std::future<std::unique_ptr<ExecutorClient>> spare_;
};

/// The stations of one device kind. `gpu` has one (its device is one); `vgpu` one for each job.
class StationPool {
 public:
  StationPool(DeviceChoice device, int count);

  /// Exclusive use of a station until destruction.
  class Lease {
   public:
    Lease(StationPool& pool, Station& station) : pool_(&pool), station_(&station) {}
    ~Lease() { pool_->put_back(*station_); }
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;
    Station& operator*() { return *station_; }
    Station* operator->() { return station_; }

   private:
    StationPool* pool_;
    Station* station_;
  };
  /// Waits for a free station.
  Lease take();
  const DeviceFacts& facts() const { return stations_.front()->facts(); }

 private:
  void put_back(Station& station);

  std::vector<std::unique_ptr<Station>> stations_;
  std::vector<Station*> free_;
  std::mutex mutex_;
  std::condition_variable is_free_;
};

}  // namespace kernelites::worker
