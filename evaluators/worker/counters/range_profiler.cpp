// SPDX-License-Identifier: Apache-2.0
// The range profiler's sequence of calls.
#include "evaluators/worker/counters/range_profiler.h"

#include <fmt/format.h>

#include <cmath>

#include "engine/core/error.h"

namespace kernelites::worker {
namespace {

/// A group is packed into one replay; a chip that packs worse may take some more.
constexpr int k_replays_max = 16;

std::vector<const char*> metrics_of(CounterGroup group) {
  std::vector<const char*> metrics;
  for (const CounterRow& row : counters_of(group)) metrics.push_back(row.metric.data());
  return metrics;
}

// Counters are chosen by the chip, not by what the context says is available: given that image, CUPTI 13.0 ended with a
// segmentation fault when it added the physics group on an H100. What is missing shows when the range is configured.
std::string chip_name(const CuptiLibrary& library, int device) {
  cupti::GetChipName parameters;
  parameters.device = static_cast<std::size_t>(device);
  KERNELITES_CUPTI(library, get_chip_name, parameters);
  return parameters.chip;
}

/// Enabled on a context for as long as it lives.
class RangeSession {
 public:
  RangeSession(const CuptiLibrary& library, cupti::Context context) : library_(library) {
    cupti::RangeEnable parameters;
    parameters.context = context;
    KERNELITES_CUPTI(library_, range_enable, parameters);
    profiler_ = parameters.profiler;
  }
  ~RangeSession() {
    cupti::RangeCommand parameters;
    parameters.profiler = profiler_;
    library_.range_disable(&parameters);
  }
  RangeSession(const RangeSession&) = delete;
  RangeSession& operator=(const RangeSession&) = delete;

  std::vector<std::uint8_t> collect(const CounterConfig& config, std::vector<const char*> metrics,
                                    const CountedLaunch& launch) {
    std::vector<std::uint8_t> data = data_image(metrics);
    cupti::RangeSetConfig set;
    set.profiler = profiler_;
    set.config = config.image.data();
    set.config_bytes = config.image.size();
    set.data = data.data();
    set.data_bytes = data.size();
    KERNELITES_CUPTI(library_, range_set_config, set);
    bool is_complete = false;
    for (int replay = 0; !is_complete && replay < k_replays_max; ++replay) is_complete = replay_once(launch);
    if (!is_complete) throw Error(fmt::format("{} replays did not collect all counters", k_replays_max));
    cupti::RangeDecode decode;
    decode.profiler = profiler_;
    KERNELITES_CUPTI(library_, range_decode, decode);
    if (decode.dropped > 0) throw Error("CUPTI dropped the range");
    return data;
  }

 private:
  std::vector<std::uint8_t> data_image(std::vector<const char*>& metrics) {
    cupti::RangeDataSize size;
    size.profiler = profiler_;
    size.names = metrics.data();
    size.count = metrics.size();
    KERNELITES_CUPTI(library_, range_data_size, size);
    std::vector<std::uint8_t> data(size.bytes);
    cupti::RangeDataInitialize initialize;
    initialize.profiler = profiler_;
    initialize.bytes = data.size();
    initialize.data = data.data();
    KERNELITES_CUPTI(library_, range_data_initialize, initialize);
    return data;
  }

  bool replay_once(const CountedLaunch& launch) {
    launch.before();
    cupti::RangeCommand command;
    command.profiler = profiler_;
    KERNELITES_CUPTI(library_, range_start, command);
    cupti::RangePush push;
    push.profiler = profiler_;
    push.name = "launch";
    KERNELITES_CUPTI(library_, range_push, push);
    launch.timed();
    KERNELITES_CUPTI(library_, range_pop, command);
    cupti::RangeStop stop;
    stop.profiler = profiler_;
    KERNELITES_CUPTI(library_, range_stop, stop);
    return stop.is_complete != 0;
  }

  const CuptiLibrary& library_;
  cupti::RangeProfiler profiler_ = nullptr;
};

}  // namespace

std::string counters_problem(const CuptiLibrary& library, int device) {
  cupti::Initialize initialize;
  if (const auto result = library.profiler_initialize(&initialize); result != cupti::k_success)
    return library.words(result);
  cupti::DeviceSupported parameters;
  parameters.device = device;
  if (const auto result = library.device_supported(&parameters); result != cupti::k_success)
    return library.words(result);
  if (parameters.is_supported == cupti::k_supported) return "";
  const std::pair<int, const char*> reasons[] = {{parameters.architecture, "its architecture"},
                                                 {parameters.virtual_gpu, "a virtual GPU"},
                                                 {parameters.confidential_compute, "confidential computing"},
                                                 {parameters.mining, "a mining card"},
                                                 {parameters.wsl, "WSL"},
                                                 {parameters.sli, "SLI"}};
  for (const auto& [level, words] : reasons) {
    if (level != cupti::k_supported)
      return fmt::format("the device's counters cannot be read because of {}", words);
  }
  return "the device's counters cannot be read";
}

std::string warm_up_counters(const CuptiLibrary& library, cupti::Context context, int device) {
  try {
    CounterHost host(library, chip_name(library, device));
    host.configure(metrics_of(CounterGroup::physics));
    RangeSession session(library, context);
    return "";
  } catch (const std::exception& error) {
    return error.what();
  }
}

CounterValues collect_counters(const CuptiLibrary& library, cupti::Context context, int device,
                               CounterGroup group, const CountedLaunch& launch) {
  try {
    const std::vector<const char*> metrics = metrics_of(group);
    cupti::Initialize initialize;
    KERNELITES_CUPTI(library, profiler_initialize, initialize);
    CounterHost host(library, chip_name(library, device));
    const CounterConfig config = host.configure(metrics);
    RangeSession session(library, context);
    const std::vector<std::uint8_t> data = session.collect(config, metrics, launch);
    const std::vector<double> values = host.evaluate(data, metrics);
    CounterValues collected;
    for (std::size_t i = 0; const CounterRow& row : counters_of(group)) {
      const double value = values[i++];
      if (std::isfinite(value)) collected.values[std::string(row.name)] = value;
    }
    return collected;
  } catch (const std::exception& error) {
    return {.values = {}, .problem = error.what()};
  }
}

}  // namespace kernelites::worker
