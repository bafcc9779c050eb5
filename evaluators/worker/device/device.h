// SPDX-License-Identifier: Apache-2.0
// The seam of devices: allocate, load, launch, synchronise; implemented by `gpu` (CUDA driver) and `vgpu`.
//
// A device lives in one child process (referee or executor). Memory travels between children by file descriptor:
// the referee allocates and shares, the executor maps what it was sent, inputs read-only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/core/device_facts.h"
#include "engine/core/evaluation.h"
#include "engine/core/launch_plan.h"

namespace kernelites::worker {

enum class Access { read_only, read_write };

/// A range of device memory inside a mapping of its own. Plain handle: valid until `release` or the device's end.
/// What the mapping holds besides, before and behind the range, is slack; the virtual GPU's mappings have none.
struct Buffer {
  std::uint64_t address = 0;         ///< as kernels see it
  std::int64_t bytes = 0;            ///< as asked for
  std::string name;                  ///< "tensor k", "workspace 0": named in faults
  std::uint64_t mapped_address = 0;  ///< start of the mapping
  std::int64_t mapped_bytes = 0;     ///< all of it, which kernels can reach
};

/// Where a buffer lies in its mapping: at its very start (a read before it faults), as near to its end as the
/// alignment lets it (a read behind it faults), or amid, at the promised alignment and no better one.
enum class Placement { start, end, amid };
inline constexpr int k_placements = 3;

/// The same mapping with the range placed anew; nothing is moved. `alignment`: what was promised. A mapping without
/// room leaves the buffer where it is. REQUIRES: alignment is a power of two.
Buffer placed(const Buffer& buffer, Placement placement, std::int64_t alignment);

/// Compiled code: the vgpu runs the PTX, the gpu loads the cubin; both come from one compile.
struct ModuleImage {
  std::string ptx;
  std::vector<std::byte> cubin;
  std::map<std::string, int> registers;  ///< per thread, by symbol: what the time model needs of the cubin
};
using ModuleId = int;

/// One argument with everything resolved.
struct BoundArgument {
  std::vector<std::byte> bytes;         ///< scalar or pointer value, in the kernel's layout
  std::optional<TensorMap> tensor_map;  ///< instead: encoded by the device over `map_address`
  std::uint64_t map_address = 0;
};

/// One launch with everything resolved.
struct BoundLaunch {
  ModuleId module = 0;
  std::string kernel;  ///< lowered name in the module
  PlannedLaunch plan;  ///< grid, block, cluster, flags; its arguments are ignored
  std::vector<BoundArgument> arguments;
  /// gpu: runs on a stream of its own, from when the launches before it are done; whoever waits for the sequence waits
  /// for it too. At most one of a sequence.
  bool is_beside = false;
};

/// A fault: what happened, in words; the device may be unusable afterwards (gpu: the process must end).
struct DeviceFault {
  std::string reason;  ///< code: "out_of_bounds", "launch_failed", "unsupported_instruction", ...
  std::string message;
  int line = 0;  ///< of the candidate's file; 0: unknown
};

/// The end of a sequence of launches.
struct SequenceOutcome {
  std::optional<DeviceFault> fault;
  double elapsed_us =
      0;  ///< of the timed part: events (gpu) or the model (vgpu); the mean of the middle half of samples
  std::vector<double> samples_us;  ///< gpu: of each sample that did not wait for the host
  int late = 0;                    ///< gpu: samples in which the device was ready before all was enqueued
  std::vector<ModelledLaunch> modelled;  ///< vgpu: the launches of the timed part
  std::vector<std::string> remarks;      ///< vgpu: what is no fault and yet not as PTX asks
};

/// The end of a part of one launch.
struct PartOutcome {
  std::optional<DeviceFault> fault;
  std::vector<std::uint64_t> blocks;    ///< that ran, those that were given up among them
  std::vector<std::uint64_t> given_up;  ///< blocks that needed what other blocks would have written
  std::uint64_t instructions = 0;       ///< of warps
};

/// Whether results are needed or only the time: the vgpu then runs a sample of the blocks of every launch, leaves the
/// rest of the outputs as they were, and models the whole.
enum class RunMode { full, timing };

/// Checks of the virtual GPU that can be left out, and how it adds.
struct VgpuChecks {
  bool uninitialised = true, races = true;
  bool adds_exactly = false;  ///< vgpu::LaunchOptions
};

class Device {
 public:
  virtual ~Device() = default;
  virtual const DeviceFacts& facts() const = 0;

  /// Fresh shareable memory, contents undefined. Throws Error if there is not enough.
  virtual Buffer allocate(std::int64_t bytes, const std::string& name) = 0;
  /// A descriptor of `buffer`'s memory to send to another child; the caller closes it.
  virtual int share(const Buffer& buffer) = 0;
  /// Maps memory that another child shared. Takes over `descriptor`. On the virtual GPU a read-only mapping may be
  /// longer than the memory, which then repeats: inputs of gigabytes whose values matter, but not each of them.
  virtual Buffer map(int descriptor, std::int64_t bytes, Access access, const std::string& name) = 0;
  virtual void release(const Buffer& buffer) = 0;

  virtual void write(const Buffer& buffer, std::int64_t offset, std::span<const std::byte> data) = 0;
  virtual void read(const Buffer& buffer, std::int64_t offset, std::span<std::byte> data) = 0;
  /// Every byte of `buffer` becomes `value`.
  virtual void fill(const Buffer& buffer, std::uint8_t value) = 0;
  /// From now on the contents count as unwritten: reading them before a kernel wrote them is a fault, where the device
  /// can tell (vgpu). `write` and `fill` end it for the bytes that they write.
  virtual void mark_unwritten(const Buffer& buffer) = 0;

  /// Throws Error with the driver's words if the image cannot be loaded.
  virtual ModuleId load(const ModuleImage& image) = 0;
  virtual void unload(ModuleId module) = 0;

  /// In timing mode from now on `seed` draws which blocks stand for a launch (vgpu).
  virtual void seed_samples(std::uint64_t seed) = 0;
  /// Other than 0: launches of candidates run in an order drawn from `seed` from now on, where the device can (vgpu:
  /// blocks and warps interleave). 0: as usual.
  virtual void seed_schedule(std::uint64_t seed) = 0;

  /// vgpu: launches have these checks from now on, as far as the device was made with them. They cost time.
  virtual void choose_checks(VgpuChecks checks) = 0;

  /// Runs `before` and then `timed`, in order, and waits at most `deadline_s`. Verified and timed launches go through
  /// this one function (invariant 3). `samples`: the whole so many times without the host in between, `timed` with
  /// events of its own each time (gpu; the model's times repeat exactly).
  virtual SequenceOutcome run(std::span<const BoundLaunch> before, std::span<const BoundLaunch> timed,
                              RunMode mode, double deadline_s, int samples = 1) = 0;

  /// vgpu: runs only `blocks` of a launch (indices in the grid, x fastest, whole clusters), with all accesses checked,
  /// up to a number of warp instructions. No blocks: those that stand for the launch in timing mode, as `seed_samples`
  /// draws them and in the same order. Throws Error on a device that runs whole launches only.
  virtual PartOutcome run_blocks(const BoundLaunch& launch, const std::vector<std::uint64_t>& blocks,
                                 std::uint64_t instructions_max) = 0;
  /// vgpu: `bytes` from `address` on as the host sees them, for trusted code that need not be interpreted; those of
  /// `read_write` count as written from now on. Throws Error unless one mapping holds them, and on other devices.
  virtual std::byte* host_memory(std::uint64_t address, std::int64_t bytes, Access access) = 0;
  /// vgpu: which rows of `row_bytes` bytes are written throughout since `mark_unwritten`, ascending. Throws likewise.
  virtual std::vector<std::int64_t> written_rows(const Buffer& buffer, std::int64_t row_bytes) = 0;
};

/// The CUDA driver on device 0. Throws Error naming what is missing (library, driver, device).
std::unique_ptr<Device> make_gpu_device();
/// The virtual GPU, modelling an H100. `threads`: OS threads for blocks.
std::unique_ptr<Device> make_vgpu_device(unsigned threads, VgpuChecks checks = {});

}  // namespace kernelites::worker
