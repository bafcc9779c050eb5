// SPDX-License-Identifier: Apache-2.0
// The real device: the primary context of device 0, one stream (and one for what runs beside it), two events for each
// sample, and a wait that gives up.
//
// After an asynchronous error or a hang the context is beyond repair, and every call on it would fail or
// block. The device then makes no further call, not even to clean up: its process must end, and is killed if
// it does not.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include "engine/core/error.h"
#include "engine/core/statistics.h"
#include "evaluators/worker/device/cuda_launch.h"
#include "evaluators/worker/device/cuda_memory.h"
#include "evaluators/worker/device/cuda_modules.h"
#include "evaluators/worker/device/device.h"

namespace kernelites::worker {
namespace {

using Clock = std::chrono::steady_clock;

/// How long the wait asks without pause; beyond it, it sleeps between questions.
constexpr auto k_busy_wait = std::chrono::milliseconds(2);
constexpr auto k_wait_step = std::chrono::microseconds(50);
/// The stream takes so many launches without making the host wait.
constexpr int k_samples_max = 64;

int attribute(const CudaLibrary& cuda, cuda::DeviceOrdinal device, int name) {
  int value = 0;
  KERNELITES_CUDA(cuda, device_get_attribute, &value, name, device);
  return value;
}

/// NVRTC's target for code that runs on this device only: the arch-specific features are what we search with.
std::string architecture_name(int capability) {
  return fmt::format("sm_{}{}", capability, capability >= 90 ? "a" : "");
}

DeviceFacts read_facts(const CudaLibrary& cuda, cuda::DeviceOrdinal device) {
  char name[256] = {};
  KERNELITES_CUDA(cuda, device_get_name, name, sizeof name - 1, device);
  std::size_t memory = 0;
  KERNELITES_CUDA(cuda, device_total_memory, &memory, device);
  DeviceFacts facts{.kind = name, .is_virtual = false};
  facts.compute_capability = 10 * attribute(cuda, device, cuda::k_compute_capability_major) +
                             attribute(cuda, device, cuda::k_compute_capability_minor);
  facts.architecture = architecture_name(facts.compute_capability);
  facts.sm_count = attribute(cuda, device, cuda::k_multiprocessor_count);
  facts.shared_bytes_per_block_max = attribute(cuda, device, cuda::k_max_shared_memory_per_block_optin);
  facts.registers_per_sm = attribute(cuda, device, cuda::k_max_registers_per_multiprocessor);
  facts.l2_bytes = attribute(cuda, device, cuda::k_l2_cache_size);
  facts.memory_bytes = static_cast<std::int64_t>(memory);
  KERNELITES_CUDA(cuda, driver_get_version, &facts.driver_version);
  return facts;
}

/// The primary context, current on this thread.
class PrimaryContext {
 public:
  explicit PrimaryContext(const CudaLibrary& cuda) : cuda_(cuda) {
    KERNELITES_CUDA(cuda_, device_get, &device_, 0);
    for (const int needed :
         {cuda::k_virtual_memory_management_supported, cuda::k_handle_type_posix_file_descriptor_supported})
      if (attribute(cuda_, device_, needed) == 0)
        throw Error(
            "the device cannot share memory between processes by descriptor (virtual memory management)");
    cuda::Context context = nullptr;
    KERNELITES_CUDA(cuda_, primary_context_retain, &context, device_);
    KERNELITES_CUDA(cuda_, context_set_current, context);
    // Nothing a candidate may use, and the least room for it. Best effort: partitioned devices refuse some
    // limits.
    cuda_.context_set_limit(cuda::k_limit_persisting_l2_cache_size, 0);
    cuda_.context_set_limit(cuda::k_limit_printf_fifo_size, 4096);
    cuda_.context_set_limit(cuda::k_limit_malloc_heap_size, 4096);
  }
  PrimaryContext(const PrimaryContext&) = delete;
  PrimaryContext& operator=(const PrimaryContext&) = delete;
  ~PrimaryContext() {
    if (!is_abandoned_) cuda_.primary_context_release(device_);
  }

  cuda::DeviceOrdinal device() const { return device_; }
  void abandon() { is_abandoned_ = true; }

 private:
  const CudaLibrary& cuda_;
  cuda::DeviceOrdinal device_ = 0;
  bool is_abandoned_ = false;
};

class GpuDevice final : public Device {
 public:
  GpuDevice()
      : cuda_(open_cuda()),
        context_(cuda_),
        memory_(cuda_, context_.device()),
        modules_(cuda_),
        facts_(read_facts(cuda_, context_.device())) {
    KERNELITES_CUDA(cuda_, stream_create, &stream_, cuda::k_stream_non_blocking);
    KERNELITES_CUDA(cuda_, stream_create, &side_stream_, cuda::k_stream_non_blocking);
    KERNELITES_CUDA(cuda_, event_create, &side_start_, 0);
    KERNELITES_CUDA(cuda_, event_create, &side_end_, 0);
    reserve_events(1);
  }

  const DeviceFacts& facts() const override { return facts_; }

  Buffer allocate(std::int64_t bytes, const std::string& name) override {
    require_healthy();
    return memory_.allocate(bytes, name);
  }
  int share(const Buffer& buffer) override {
    require_healthy();
    return memory_.share(buffer);
  }
  Buffer map(int descriptor, std::int64_t bytes, Access access, const std::string& name) override {
    require_healthy();
    return memory_.map(descriptor, bytes, access, name);
  }
  void release(const Buffer& buffer) override { memory_.release(buffer); }

  void write(const Buffer& buffer, std::int64_t offset, std::span<const std::byte> data) override {
    require_healthy();
    const auto address = memory_.range(buffer, offset, data.size(), Access::read_write);
    if (!data.empty()) KERNELITES_CUDA(cuda_, copy_to_device, address, data.data(), data.size());
    settle();
  }
  void read(const Buffer& buffer, std::int64_t offset, std::span<std::byte> data) override {
    require_healthy();
    const auto address = memory_.range(buffer, offset, data.size(), Access::read_only);
    if (!data.empty()) KERNELITES_CUDA(cuda_, copy_to_host, data.data(), address, data.size());
  }
  void fill(const Buffer& buffer, std::uint8_t value) override;
  void mark_unwritten(const Buffer&) override {}  // hardware cannot tell

  ModuleId load(const ModuleImage& image) override {
    require_healthy();
    return modules_.load(image);
  }
  void unload(ModuleId module) override { modules_.unload(module); }

  void seed_samples(std::uint64_t) override {}   // every block runs
  void seed_schedule(std::uint64_t) override {}  // the hardware's order

  void choose_checks(VgpuChecks) override {}
  std::byte* host_memory(std::uint64_t, std::int64_t, Access) override {
    throw Error("a real device's memory is not the host's");
  }

  PartOutcome run_blocks(const BoundLaunch&, const std::vector<std::uint64_t>&, std::uint64_t) override {
    throw Error("a real device runs whole launches only");
  }
  std::vector<std::int64_t> written_rows(const Buffer&, std::int64_t) override {
    throw Error("a real device does not know what was written");
  }

  SequenceOutcome run(std::span<const BoundLaunch> before, std::span<const BoundLaunch> timed, RunMode mode,
                      double deadline_s, int samples) override;

 private:
  /// Events around the timed part of one sample.
  struct Bracket {
    cuda::Event start = nullptr, end = nullptr;
    bool is_late = false;  ///< the device passed `start` before everything was enqueued
  };

  void reserve_events(std::size_t samples);
  std::optional<DeviceFault> prepare(std::span<const BoundLaunch> launches,
                                     std::vector<PreparedLaunch>& prepared);
  cuda::Result enqueue_sample(std::vector<PreparedLaunch>& before, std::vector<PreparedLaunch>& timed,
                              Bracket& bracket);
  cuda::Result enqueue_beside(PreparedLaunch& launch);
  cuda::Result wait_for_end(cuda::Event end, Clock::time_point deadline);
  SequenceOutcome outcome_of(std::span<const Bracket> brackets);
  DeviceFault name_fault(cuda::Result result, std::span<const BoundLaunch> timed, double deadline_s);
  void abandon();
  /// Copies and fills may return before they are done, and our stream does not wait for the default stream.
  void settle() { KERNELITES_CUDA(cuda_, context_synchronize); }
  void require_healthy() const {
    if (fault_) throw Error(fmt::format("the device is unusable after a fault: {}", fault_->message));
  }

  CudaLibrary cuda_;
  PrimaryContext context_;
  CudaMemory memory_;
  CudaModules modules_;
  DeviceFacts facts_;
  cuda::Stream stream_ = nullptr, side_stream_ = nullptr;
  cuda::Event side_start_ = nullptr, side_end_ = nullptr;  ///< of what runs beside the stream
  std::vector<Bracket> brackets_;
  std::optional<DeviceFault> fault_;  ///< after which the context is unusable
};

void GpuDevice::fill(const Buffer& buffer, std::uint8_t value) {
  require_healthy();
  const auto bytes = static_cast<std::size_t>(buffer.bytes);
  KERNELITES_CUDA(cuda_, set_bytes, memory_.range(buffer, 0, bytes, Access::read_write), value, bytes);
  settle();
}

std::optional<DeviceFault> GpuDevice::prepare(std::span<const BoundLaunch> launches,
                                              std::vector<PreparedLaunch>& prepared) {
  prepared.resize(launches.size());
  for (std::size_t i = 0; i < launches.size(); ++i) {
    const cuda::Stream stream = launches[i].is_beside ? side_stream_ : stream_;
    if (auto fault = prepare_launch(cuda_, modules_, launches[i], stream, /*may_overlap=*/i > 0, prepared[i]))
      return fault;
  }
  return std::nullopt;
}

void GpuDevice::reserve_events(std::size_t samples) {
  while (brackets_.size() < samples) {
    Bracket bracket;
    KERNELITES_CUDA(cuda_, event_create, &bracket.start, 0);
    KERNELITES_CUDA(cuda_, event_create, &bracket.end, 0);
    brackets_.push_back(bracket);
  }
}

/// The side stream starts where the stream is now.
cuda::Result GpuDevice::enqueue_beside(PreparedLaunch& launch) {
  cuda::Result result = cuda_.event_record(side_start_, stream_);
  if (result == cuda::k_success) result = cuda_.stream_wait_event(side_stream_, side_start_, 0);
  if (result == cuda::k_success) result = enqueue(cuda_, launch);
  return result == cuda::k_success ? cuda_.event_record(side_end_, side_stream_) : result;
}

/// The end event is recorded whatever happens, so that there is something to wait for.
cuda::Result GpuDevice::enqueue_sample(std::vector<PreparedLaunch>& before,
                                       std::vector<PreparedLaunch>& timed, Bracket& bracket) {
  cuda::Result result = cuda::k_success;
  const auto add = [&result](cuda::Result next) {
    if (result == cuda::k_success) result = next;
    return result == cuda::k_success;
  };
  bool has_company = false;
  for (std::size_t i = 0; i < before.size() && result == cuda::k_success; ++i) {
    const bool is_beside = before[i].configuration.stream == side_stream_;
    has_company = has_company || is_beside;
    add(is_beside ? enqueue_beside(before[i]) : enqueue(cuda_, before[i]));
  }
  if (add(cuda_.event_record(bracket.start, stream_)))
    for (std::size_t i = 0; i < timed.size() && add(enqueue(cuda_, timed[i])); ++i) {
    }
  if (has_company && result == cuda::k_success) add(cuda_.stream_wait_event(stream_, side_end_, 0));
  add(cuda_.event_record(bracket.end, stream_));
  // What precedes the start event keeps the device busy for longer than enqueueing takes, unless the host was held up:
  // then the time between the events is partly the host's.
  bracket.is_late = result == cuda::k_success && cuda_.event_query(bracket.start) == cuda::k_success;
  return result;
}

cuda::Result GpuDevice::wait_for_end(cuda::Event end, Clock::time_point deadline) {
  const Clock::time_point begin = Clock::now();
  for (;;) {
    const cuda::Result result = cuda_.event_query(end);
    if (result != cuda::k_not_ready) return result;
    const Clock::time_point now = Clock::now();
    if (now >= deadline) return cuda::k_not_ready;
    if (now - begin > k_busy_wait) std::this_thread::sleep_for(k_wait_step);
  }
}

/// Late samples count only if there are no others.
SequenceOutcome GpuDevice::outcome_of(std::span<const Bracket> brackets) {
  SequenceOutcome outcome;
  std::vector<double> late_us;
  for (const Bracket& bracket : brackets) {
    float elapsed_ms = 0;
    KERNELITES_CUDA(cuda_, event_elapsed_time, &elapsed_ms, bracket.start, bracket.end);
    (bracket.is_late ? late_us : outcome.samples_us).push_back(1e3 * static_cast<double>(elapsed_ms));
  }
  outcome.late = static_cast<int>(late_us.size());
  if (outcome.samples_us.empty()) outcome.samples_us = std::move(late_us);
  outcome.elapsed_us = interquartile_mean(outcome.samples_us);
  return outcome;
}

DeviceFault GpuDevice::name_fault(cuda::Result result, std::span<const BoundLaunch> timed,
                                  double deadline_s) {
  std::string kernels;
  for (const BoundLaunch& launch : timed) kernels += (kernels.empty() ? "" : ", ") + launch.plan.kernel;
  if (result == cuda::k_not_ready)
    return {.reason = "deadline",
            .message = fmt::format("still running after {:g} s: {}", deadline_s, kernels)};
  return {.reason = fault_reason(result), .message = fmt::format("{} in {}", cuda_.words(result), kernels)};
}

void GpuDevice::abandon() {
  memory_.abandon();
  modules_.abandon();
  context_.abandon();
}

SequenceOutcome GpuDevice::run(std::span<const BoundLaunch> before, std::span<const BoundLaunch> timed,
                               RunMode, double deadline_s, int samples) {
  if (fault_) return {.fault = fault_};
  const auto deadline = Clock::now() + std::chrono::duration_cast<Clock::duration>(
                                           std::chrono::duration<double>(std::clamp(deadline_s, 0.0, 1e6)));
  std::vector<PreparedLaunch> before_prepared, timed_prepared;
  if (auto fault = prepare(before, before_prepared)) return {.fault = std::move(fault)};
  if (auto fault = prepare(timed, timed_prepared)) return {.fault = std::move(fault)};
  const auto count = static_cast<std::size_t>(std::clamp(samples, 1, k_samples_max));
  reserve_events(count);

  cuda_.context_reset_persisting_l2();  // unchecked: a device without persistence has nothing to reset
  const std::span<Bracket> brackets = std::span(brackets_).first(count);
  cuda::Result result = cuda::k_success;
  cuda::Event last = brackets.front().end;
  for (Bracket& bracket : brackets) {
    last = bracket.end;
    result = enqueue_sample(before_prepared, timed_prepared, bracket);
    if (result != cuda::k_success) break;
  }
  if (result == cuda::k_success || is_refusal(result)) {
    const cuda::Result waited = wait_for_end(last, deadline);
    if (waited != cuda::k_success) result = waited;
  }
  if (result != cuda::k_success) {
    const DeviceFault fault = name_fault(result, timed, deadline_s);
    if (!is_refusal(result)) {
      fault_ = fault;
      abandon();
    }
    return {.fault = fault};
  }
  return outcome_of(brackets);
}

}  // namespace

std::unique_ptr<Device> make_gpu_device() { return std::make_unique<GpuDevice>(); }

}  // namespace kernelites::worker
