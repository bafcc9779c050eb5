// SPDX-License-Identifier: Apache-2.0
// The harness's kernels, called directly on either device.
#pragma once

#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "engine/core/error.h"
#include "evaluators/worker/nvrtc/compile.h"
#include "evaluators/worker/pipeline/harness_launch.h"
#include "evaluators/worker/pipeline/tensor_values.h"

namespace kernelites::worker {

/// The harness for sm_90a, compiled once for all cases: PTX for the virtual GPU, machine code for a real one.
inline const ModuleImage& harness_image() {
  static const ModuleImage image = [] {
    const Toolkit toolkit = find_toolkit({});
    const NvrtcLibrary nvrtc = open_nvrtc(toolkit);
    CompileInput input{.source = harness_source(), .headers = {}, .options = {}, .name_expressions = {}};
    input.options = {"-arch=sm_90a", "--std=c++20", "-default-device"};
    const CompileOutput output = compile_in_process(nvrtc, input);
    if (!output.ok) throw Error(output.log);
    return ModuleImage{.ptx = output.ptx, .cubin = output.cubin};
  }();
  return image;
}

class HarnessRig {
 public:
  /// Who runs a launch instead of the device.
  using Runner = void (*)(Device&, const BoundLaunch&);
  explicit HarnessRig(std::unique_ptr<Device> device = make_vgpu_device(1), Runner runner = nullptr)
      : device_(std::move(device)), runner_(runner), module_(device_->load(harness_image())) {}

  /// Contents of a tensor of `bytes` bytes after a fill.
  TensorBytes fill(const TensorFill& fill, std::size_t bytes) {
    const Buffer buffer = memory(std::vector<std::byte>(bytes));
    const Buffer map = memory(bytes_of(fill.map));
    run(fill_launches(module_, buffer, fill.order, fill.unit, fill.has_invalid,
                      fill.map.empty() ? 0 : map.address));
    return contents(buffer);
  }

  struct Compared {
    WorstResult worst;
    std::vector<RowResult> all;
  };
  /// An output compared with `gold` on the rows listed.
  Compared compare(CompareOrder order, const TensorBytes& output, const std::vector<double>& gold,
                   const std::vector<std::int64_t>& rows, const std::vector<double>& emulated = {}) {
    order.output = memory(output).address;
    order.gold = memory(bytes_of(gold)).address;
    if (!emulated.empty()) order.emulated = memory(bytes_of(emulated)).address;
    order.rows = memory(bytes_of(rows)).address;
    const auto count = static_cast<std::int64_t>(rows.size());
    Compared compared;
    compared.all.resize(static_cast<std::size_t>(count * order.parts));
    const Buffer results = memory(bytes_of(compared.all)),
                 worst = memory(std::vector<std::byte>(sizeof(WorstResult)));
    order.results = results.address;
    const Buffer marks =
        memory(std::vector<std::byte>(static_cast<std::size_t>(count * ((order.columns + 3) / 4 * 4))));
    order.marks = marks.address;
    run(compare_launches(module_, order, count, worst));
    std::memcpy(compared.all.data(), contents(results).data(), compared.all.size() * sizeof(RowResult));
    std::memcpy(&compared.worst, contents(worst).data(), sizeof compared.worst);
    return compared;
  }

 private:
  template <typename T>
  static std::vector<std::byte> bytes_of(const std::vector<T>& values) {
    std::vector<std::byte> bytes(values.size() * sizeof(T));
    if (!bytes.empty()) std::memcpy(bytes.data(), values.data(), bytes.size());
    return bytes;
  }
  Buffer memory(const std::vector<std::byte>& bytes) {
    const Buffer buffer =
        device_->allocate(static_cast<std::int64_t>(std::max<std::size_t>(bytes.size(), 1)), "test");
    if (!bytes.empty()) device_->write(buffer, 0, bytes);
    return buffer;
  }
  TensorBytes contents(const Buffer& buffer) {
    TensorBytes bytes(static_cast<std::size_t>(buffer.bytes));
    device_->read(buffer, 0, bytes);
    return bytes;
  }
  void run(const std::vector<BoundLaunch>& launches) {
    if (runner_) {
      for (const BoundLaunch& launch : launches) runner_(*device_, launch);
      return;
    }
    const SequenceOutcome outcome = device_->run({}, launches, RunMode::full, 60);
    if (outcome.fault) throw Error(outcome.fault->message);
  }

  std::unique_ptr<Device> device_;
  Runner runner_;
  ModuleId module_;
};

}  // namespace kernelites::worker
