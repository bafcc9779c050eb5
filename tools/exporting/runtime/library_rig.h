// SPDX-License-Identifier: Apache-2.0
// A device with what the test and the bench of an exported library need: buffers, inputs, the kernels around a launch.
#pragma once

#include <string>
#include <vector>

#include "tools/exporting/runtime/library_cases.h"

namespace KERNELITES_LIBRARY {

/// Ends the program with words unless the driver is content.
void check(Result result, const char* what);
[[noreturn]] void give_up(const std::string& words);

struct Buffer {
  Address address = 0;
  std::size_t bytes = 0;
};

/// The tensors and the workspace of one case.
struct CaseMemory {
  std::vector<Buffer> tensors;
  Buffer workspace;
  std::vector<void*> pointers() const;
};

class Rig {
 public:
  /// Device 0, its primary context made current; ends the program where there is none.
  Rig();

  Stream stream() const { return stream_; }
  const std::string& device_name() const { return device_name_; }
  int driver_version() const { return driver_version_; }

  Buffer allocate(std::size_t bytes);
  void release(Buffer& buffer);
  void release(CaseMemory& memory);

  /// Buffers for a case, inputs drawn, metadata as of `draw`; room for the workspace of every arm that takes it.
  CaseMemory prepare(const Case& test, int draw, void* library, const long long* dims);
  /// With the inputs that are computed from it.
  void upload_metadata(const Case& test, int draw, CaseMemory& memory);
  /// The byte in outputs, and in the workspace but for what must be zero. 0xff is NaN where there is one.
  void poison(CaseMemory& memory, void* library, unsigned char byte = 0xff);

  /// What precedes a timed launch: the L2 evicted, and 20 us in which the host enqueues the rest.
  void before_launch();
  /// One launch of a kernel that does next to nothing.
  void trivial_launch();

  std::vector<unsigned char> download(const Buffer& buffer);
  void synchronise();

  /// A kernel of the harness; ends the program where there is none of that name.
  void* kernel(const char* name);
  void run(void* function, unsigned blocks, unsigned threads, void** parameters);

 private:
  void compute_inputs(const Case& test, int draw, CaseMemory& memory);

  Library* inputs_ = nullptr;  // the program of computed inputs
  int device_ = 0;
  std::string device_name_;
  int driver_version_ = 0;
  Stream stream_ = nullptr;
  void* harness_ = nullptr;
  void *flush_ = nullptr, *demote_ = nullptr, *clock_ = nullptr, *fill_ = nullptr, *unit_ = nullptr;
  Buffer flush_buffer_, clock_log_;
};

/// Bytes of one element.
int dtype_bytes(int dtype);
/// Elements of tensor `t` of a case.
std::size_t elements_of(const Case& test, int tensor);

}  // namespace KERNELITES_LIBRARY
