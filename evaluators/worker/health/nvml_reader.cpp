// SPDX-License-Identifier: Apache-2.0
// One reading: the device, its errors, its slowdowns, and who else is on it.
#include "evaluators/worker/health/nvml_reader.h"

#include <dlfcn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <utility>

#include "engine/core/error.h"
#include "evaluators/worker/health/hidden_processes.h"
#include "evaluators/worker/health/nvml_library.h"
#include "evaluators/worker/health/own_processes.h"
#include "evaluators/worker/health/process_roster.h"

namespace kernelites::worker {
namespace {

constexpr std::size_t k_processes_max = 256, k_xids_max = 64, k_samples_max = 2048;
constexpr unsigned long long k_use_window_us = 2'000'000;
constexpr unsigned k_probe_s_max = 30;  // a driver that hangs ends the child
constexpr int k_uncorrected = 1, k_volatile = 0;

/// In the child: CUDA's words for its first device. No context is made.
std::string ask_cuda() {
  void* const library = ::dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return "";
  const auto init = reinterpret_cast<int (*)(unsigned)>(::dlsym(library, "cuInit"));
  const auto bus_id = reinterpret_cast<int (*)(char*, int, int)>(::dlsym(library, "cuDeviceGetPCIBusId"));
  char text[32] = {};
  if (!init || !bus_id || init(0) != 0 || bus_id(text, sizeof text, 0) != 0) return "";
  return text;
}

unsigned long long unix_us() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return static_cast<unsigned long long>(std::chrono::duration_cast<std::chrono::microseconds>(now).count());
}

class NvmlReader {
 public:
  NvmlReader(const NvmlLibrary& nvml, std::string bus_id) : nvml_(nvml), bus_id_(std::move(bus_id)) {
    if (nvml_.device_by_bus_id(bus_id_.c_str(), &device_) != nvml::k_success)
      throw Error("NVML does not know the device " + bus_id_);
    unsigned is_mig = 0, pending = 0;
    is_shared_ =
        nvml_.mig_mode && nvml_.mig_mode(device_, &is_mig, &pending) == nvml::k_success && is_mig != 0;
    const bool has_events = nvml_.event_set_create && nvml_.register_events && nvml_.event_set_wait &&
                            nvml_.event_set_create(&events_) == nvml::k_success &&
                            nvml_.register_events(device_, nvml::k_xid_event, events_) == nvml::k_success;
    if (!has_events) events_ = nullptr;
  }

  HealthReading read() {
    HealthReading reading;
    reading.is_present = is_present();
    if (!reading.is_present) return reading;
    read_errors(reading);
    unsigned long long bits = 0;
    if (nvml_.throttle_reasons && nvml_.throttle_reasons(device_, &bits) == nvml::k_success)
      reading.throttle_reasons = bits;
    unsigned degrees = 0;
    if (nvml_.temperature && nvml_.temperature(device_, 0, &degrees) == nvml::k_success)
      reading.temperature_c = static_cast<int>(degrees);
    if (!is_shared_) reading.others = others();
    return reading;
  }

 private:
  bool is_present() {
    unsigned degrees = 0;
    if (nvml_.temperature && nvml_.temperature(device_, 0, &degrees) == nvml::k_gpu_is_lost) return false;
    nvml::Device again = nullptr;
    return nvml_.device_by_bus_id(bus_id_.c_str(), &again) == nvml::k_success;
  }

  void read_errors(HealthReading& reading) {
    if (events_ != nullptr) {
      std::vector<int> xids;
      nvml::EventData event{};
      while (xids.size() < k_xids_max && nvml_.event_set_wait(events_, &event, 0) == nvml::k_success)
        if (event.type == nvml::k_xid_event) xids.push_back(static_cast<int>(event.data));
      reading.xids = std::move(xids);
    }
    unsigned long long count = 0;
    if (nvml_.ecc_errors && nvml_.ecc_errors(device_, k_uncorrected, k_volatile, &count) == nvml::k_success)
      reading.ecc_uncorrected = count;
    unsigned corrected = 0, uncorrected = 0, is_pending = 0, has_failed = 0;
    if (nvml_.remapped_rows &&
        nvml_.remapped_rows(device_, &corrected, &uncorrected, &is_pending, &has_failed) == nvml::k_success)
      reading.has_remap_failure = has_failed != 0;
  }

  /// Processes that are not this worker's, with what they used since the last reading.
  std::optional<std::vector<GpuProcess>> others() {
    // Ours come and go: looked for before and after, so that one that ends meanwhile is not taken for a stranger.
    std::vector<OwnProcess> own = own_processes();
    std::array<nvml::ProcessInfo, k_processes_max> infos{};
    unsigned count = k_processes_max;
    if (!nvml_.compute_processes || nvml_.compute_processes(device_, &count, infos.data()) != nvml::k_success)
      return std::nullopt;
    const std::vector<OwnProcess> after = own_processes();
    own.insert(own.end(), after.begin(), after.end());
    std::map<unsigned, std::uint64_t> memory;
    std::vector<unsigned> listed;
    for (const nvml::ProcessInfo& info : std::span(infos).first(count)) {
      memory[info.pid] = info.used_memory;
      listed.push_back(info.pid);
    }
    RosterReading reading = read_roster(listed, own, roster_);
    roster_ = std::move(reading.roster);
    std::vector<GpuProcess> found;
    for (const unsigned pid : reading.others) found.push_back({.pid = pid, .memory_bytes = memory[pid]});
    add_use(found, listed, own);
    return found;
  }

  /// What each used since the last reading, or in the last two seconds: the driver tells of busy times only, and only
  /// now and then. One that was a stranger and has ended since still counts.
  void add_use(std::vector<GpuProcess>& processes, std::span<const unsigned> listed,
               std::span<const OwnProcess> own) {
    if (!nvml_.process_utilization) return;
    const unsigned long long now_us = unix_us();
    const unsigned long long since_us = std::min(std::exchange(read_us_, now_us), now_us - k_use_window_us);
    std::array<nvml::ProcessSample, k_samples_max> samples{};
    unsigned count = k_samples_max;
    const nvml::Result result = nvml_.process_utilization(device_, samples.data(), &count, since_us);
    if (result != nvml::k_success && result != nvml::k_not_found) return;
    if (result == nvml::k_not_found) count = 0;  // nobody computed
    for (const unsigned pid : known_)
      if (std::none_of(processes.begin(), processes.end(), [&](const auto& one) { return one.pid == pid; }))
        processes.push_back({.pid = pid});
    for (GpuProcess& process : processes) {
      process.sm_percent = 0;
      for (const nvml::ProcessSample& sample : std::span(samples).first(count))
        if (sample.pid == process.pid && sample.time_us >= since_us)
          process.sm_percent = std::max(*process.sm_percent, sample.sm_percent);
    }
    known_.clear();
    for (const GpuProcess& process : processes)
      if (*process.sm_percent > 0) known_.insert(process.pid);
    if (is_inside_) add_hidden(processes, std::span(samples).first(count), listed, own, now_us);
  }

  void add_hidden(std::vector<GpuProcess>& processes, std::span<const nvml::ProcessSample> samples,
                  std::span<const unsigned> listed, std::span<const OwnProcess> own, std::uint64_t now_us) {
    std::vector<UseSample> uses;
    for (const nvml::ProcessSample& sample : samples)
      uses.push_back({.pid = sample.pid, .sm_percent = sample.sm_percent, .time_us = sample.time_us});
    HiddenReading reading = read_hidden(uses, listed, own, roster_.knows_own, now_us, hidden_);
    hidden_ = std::move(reading.since);
    for (const auto& [pid, percent] : reading.sm_percent)
      processes.push_back({.pid = pid, .sm_percent = percent, .is_hidden = true});
  }

  NvmlLibrary nvml_;
  std::string bus_id_;
  nvml::Device device_ = nullptr;
  nvml::EventSet events_ = nullptr;
  bool is_shared_ = false;  // cut into instances: who computes elsewhere on it disturbs nobody
  ProcessRoster roster_;
  std::set<unsigned> known_;  // strangers that computed at the last reading
  const bool is_inside_ = is_in_pid_namespace();
  HiddenSince hidden_;
  unsigned long long read_us_ = 0;
};

}  // namespace

std::string first_device_bus_id() {
  int ends[2];
  if (::pipe(ends) != 0) return "";
  const pid_t child = ::fork();
  if (child == 0) {
    ::alarm(k_probe_s_max);
    const std::string id = ask_cuda();
    const bool is_said = ::write(ends[1], id.data(), id.size()) == static_cast<ssize_t>(id.size());
    ::_exit(is_said ? 0 : 1);
  }
  ::close(ends[1]);
  char text[64] = {};
  const ssize_t got = child > 0 ? ::read(ends[0], text, sizeof text) : 0;
  ::close(ends[0]);
  if (child > 0) ::waitpid(child, nullptr, 0);
  return got > 0 ? std::string(text, static_cast<std::size_t>(got)) : "";
}

std::function<HealthReading()> nvml_reader(const std::string& bus_id, std::string& problem) {
  try {
    if (bus_id.empty()) throw Error("CUDA names no device");
    auto reader = std::make_shared<NvmlReader>(open_nvml(), bus_id);
    problem.clear();
    return [reader] { return reader->read(); };
  } catch (const Error& error) {
    problem = error.what();
    return [] { return HealthReading{}; };
  }
}

}  // namespace kernelites::worker
