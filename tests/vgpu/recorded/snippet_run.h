// SPDX-License-Identifier: Apache-2.0
// Running snippets on a device, real or virtual: the recording and the replay are one function on two devices.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "evaluators/worker/device/device.h"
#include "tests/vgpu/recorded/recorded_snippet.h"

namespace kernelites::recorded {

/// What a snippet left in its output, or why there is nothing.
struct SnippetOutput {
  std::vector<std::byte> bytes;
  std::string trouble;  ///< the driver's or the virtual GPU's words; empty: it ran
};

/// Buffers on one device, used for one snippet after another.
class SnippetBench {
 public:
  /// `device` must outlive the bench.
  explicit SnippetBench(worker::Device& device);

  /// Loads, launches and reads back one snippet. Trouble with the snippet is a value; the device may be unusable behind
  /// a fault of a real one.
  SnippetOutput run(const Snippet& snippet);

 private:
  worker::Device& device_;
  worker::Buffer in_, out_, scratch_;
};

}  // namespace kernelites::recorded
