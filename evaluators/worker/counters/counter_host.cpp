// SPDX-License-Identifier: Apache-2.0
// Configuration images and evaluation.
#include "evaluators/worker/counters/counter_host.h"

namespace kernelites::worker {

CounterHost::CounterHost(const CuptiLibrary& library, const std::string& chip,
                         std::span<const std::uint8_t> availability)
    : library_(library) {
  cupti::HostInitialize parameters;
  parameters.chip = chip.c_str();
  parameters.availability = availability.empty() ? nullptr : availability.data();
  KERNELITES_CUPTI(library_, host_initialize, parameters);
  host_ = parameters.host;
}

CounterHost::~CounterHost() {
  cupti::HostDeinitialize parameters;
  parameters.host = host_;
  library_.host_deinitialize(&parameters);
}

CounterConfig CounterHost::configure(const std::vector<const char*>& metrics) {
  std::vector<const char*> names = metrics;  // CUPTI wants a pointer to pointers that it may change
  cupti::ConfigAddMetrics add;
  add.host = host_;
  add.names = names.data();
  add.count = names.size();
  KERNELITES_CUPTI(library_, config_add_metrics, add);
  cupti::GetConfigImageSize size;
  size.host = host_;
  KERNELITES_CUPTI(library_, get_config_image_size, size);
  CounterConfig config;
  config.image.resize(size.bytes);
  cupti::GetConfigImage image;
  image.host = host_;
  image.bytes = config.image.size();
  image.image = config.image.data();
  KERNELITES_CUPTI(library_, get_config_image, image);
  cupti::GetPassCount count;
  count.bytes = config.image.size();
  count.image = config.image.data();
  KERNELITES_CUPTI(library_, get_pass_count, count);
  config.passes = count.passes;
  return config;
}

std::vector<double> CounterHost::evaluate(const std::vector<std::uint8_t>& data,
                                          const std::vector<const char*>& metrics) const {
  std::vector<const char*> names = metrics;
  std::vector<double> values(names.size());
  cupti::EvaluateToGpuValues parameters;
  parameters.host = host_;
  parameters.data = data.data();
  parameters.data_bytes = data.size();
  parameters.names = names.data();
  parameters.count = names.size();
  parameters.values = values.data();
  KERNELITES_CUPTI(library_, evaluate, parameters);
  return values;
}

}  // namespace kernelites::worker
