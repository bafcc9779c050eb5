// SPDX-License-Identifier: Apache-2.0
// The virtual GPU behind the device seam: shared memory files, parsed PTX, launches with a sample or in full.
//
// In `timing` mode a launch runs at most a few of its blocks (vgpu_sample.h), without the checks that would take the
// values which the missing blocks did not write for faults. A sampled block may wait for one that was left out; a
// launch that gets nowhere is then run in full.
#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "engine/core/error.h"
#include "evaluators/worker/device/device.h"
#include "evaluators/worker/device/shared_mapping.h"
#include "evaluators/worker/device/vgpu_prologue.h"
#include "evaluators/worker/device/vgpu_sample.h"
#include "evaluators/worker/device/vgpu_tensor_map.h"
#include "evaluators/worker/device/virtual_facts.h"
#include "evaluators/worker/device/virtual_profile.h"
#include "evaluators/worker/vgpu/machine.h"
#include "evaluators/worker/vgpu/time_model.h"

namespace kernelites::worker {
namespace {

/// About what a thread interprets in a second. Deadlines become budgets of instructions, which repeat exactly: a
/// verdict must not depend on how busy the machine is. The supervisor's clock is the backstop.
constexpr double k_instructions_per_s = 20e6;
constexpr std::uint64_t k_budget_max = 20'000'000'000;
/// Of a kernel whose cubin nobody read.
constexpr int k_registers_unknown = 64;
/// With more memory to save than that, prologues are not tried: shapes where races are looked for are small.
constexpr std::size_t k_prologue_bytes_max = std::size_t{16} << 20;

vgpu::Dim3 dim3_of(const std::array<std::uint32_t, 3>& extent) { return {extent[0], extent[1], extent[2]}; }

DeviceFault fault_of(vgpu::Fault fault, const BoundLaunch& launch) {
  if (!launch.plan.kernel.empty()) fault.kernel = launch.plan.kernel;  // its name expression, not the symbol
  return {.reason = std::string(vgpu::to_string(fault.kind)),
          .message = vgpu::describe(fault),
          .line = fault.line};
}

/// A kernel launch in the virtual GPU's words.
struct VirtualLaunch {
  const vgpu::Program* program = nullptr;
  vgpu::Launch launch;
  int registers = k_registers_unknown;
  std::uint32_t shared_bytes = 0;  ///< static and dynamic
};

class VgpuDevice final : public Device {
 public:
  VgpuDevice(const VirtualProfile& profile, unsigned threads, VgpuChecks checks)
      : threads_(std::max(threads, 1u)), available_(checks), checks_(checks), profile_(profile) {}

  const DeviceFacts& facts() const override { return profile_.facts; }

  Buffer allocate(std::int64_t bytes, const std::string& name) override {
    if (used_bytes_ + bytes > profile_.facts.memory_bytes)
      throw Error(fmt::format("not enough device memory for {} ({} bytes)", name, bytes));
    return add(SharedMapping::create(static_cast<std::size_t>(bytes), name), name);
  }
  int share(const Buffer& buffer) override { return find(buffer).duplicate(); }
  Buffer map(int descriptor, std::int64_t bytes, Access access, const std::string& name) override {
    return add(SharedMapping::open(FileDescriptor(descriptor), static_cast<std::size_t>(bytes), access, name),
               name);
  }
  void release(const Buffer& buffer) override {
    used_bytes_ -= static_cast<std::int64_t>(find(buffer).bytes());
    memory_.remove(buffer.address);
    mappings_.erase(buffer.address);
  }

  void write(const Buffer& buffer, std::int64_t offset, std::span<const std::byte> data) override;
  void read(const Buffer& buffer, std::int64_t offset, std::span<std::byte> data) override;
  void fill(const Buffer& buffer, std::uint8_t value) override;
  void mark_unwritten(const Buffer& buffer) override {
    memory_.mark_initialised(buffer.address, writable(buffer).bytes(), false);
  }

  ModuleId load(const ModuleImage& image) override;
  void unload(ModuleId module) override {
    if (modules_.erase(module) == 0) throw Error(fmt::format("there is no module {}", module));
  }

  void choose_checks(VgpuChecks checks) override {
    checks_ = {.uninitialised = available_.uninitialised && checks.uninitialised,
               .races = available_.races && checks.races,
               .adds_exactly = checks.adds_exactly};
  }
  std::byte* host_memory(std::uint64_t address, std::int64_t bytes, Access access) override;

  void seed_samples(std::uint64_t seed) override { sample_seed_ = seed; }
  void seed_schedule(std::uint64_t seed) override { schedule_seed_ = seed; }

  PartOutcome run_blocks(const BoundLaunch& launch, const std::vector<std::uint64_t>& blocks,
                         std::uint64_t instructions_max) override;
  std::vector<std::int64_t> written_rows(const Buffer& buffer, std::int64_t row_bytes) override;

  SequenceOutcome run(std::span<const BoundLaunch> before, std::span<const BoundLaunch> timed, RunMode mode,
                      double deadline_s, int samples) override;

 private:
  struct Module {
    std::shared_ptr<const vgpu::Program> program;
    std::map<std::string, int> registers;
    std::shared_ptr<const vgpu::Program> prologue;  ///< up to griddepcontrol.wait; null where nothing waits
  };

  Buffer add(SharedMapping mapping, const std::string& name);
  SharedMapping& find(const Buffer& buffer);
  SharedMapping& writable(const Buffer& buffer);
  std::optional<DeviceFault> translate(const BoundLaunch& launch, VirtualLaunch& translated) const;
  vgpu::LaunchResult execute(const VirtualLaunch& launch, RunMode mode, double deadline_s);
  /// Whether those of `later` that may begin before the launch in front of them read too early; what they write.
  std::optional<DeviceFault> try_prologues(std::span<const BoundLaunch> later, double deadline_s,
                                           EarlyWrites& writes);
  /// A launch, beside the beginnings of those behind it.
  std::optional<DeviceFault> execute_checked(const BoundLaunch& bound, const VirtualLaunch& launch,
                                             std::span<const BoundLaunch> later, double deadline_s,
                                             vgpu::LaunchResult& result);
  std::optional<DeviceFault> run_all(std::span<const BoundLaunch> launches, RunMode mode, double deadline_s,
                                     SequenceOutcome& outcome);

  unsigned threads_;
  const VgpuChecks available_;
  VgpuChecks checks_;  ///< chosen of them
  std::uint64_t sample_seed_ = 0;
  std::uint64_t schedule_seed_ = 0;
  VirtualProfile profile_;
  std::map<std::uint64_t, SharedMapping> mappings_;  ///< by address
  vgpu::Memory memory_{process_secret()};
  std::int64_t used_bytes_ = 0;
  ModuleId next_module_ = 0;
  std::map<ModuleId, Module> modules_;
};

Buffer VgpuDevice::add(SharedMapping mapping, const std::string& name) {
  const std::size_t bytes = mapping.bytes();
  const std::uint64_t address =
      memory_.add(mapping.data(), bytes, name, {.writable = mapping.access() == Access::read_write});
  mappings_.emplace(address, std::move(mapping));
  used_bytes_ += static_cast<std::int64_t>(bytes);
  const auto signed_bytes = static_cast<std::int64_t>(bytes);
  return {.address = address,
          .bytes = signed_bytes,
          .name = name,
          .mapped_address = address,
          .mapped_bytes = signed_bytes};
}

SharedMapping& VgpuDevice::find(const Buffer& buffer) {
  const auto found = mappings_.find(buffer.address);
  if (found == mappings_.end()) throw Error(fmt::format("{} is not mapped here", buffer.name));
  return found->second;
}

SharedMapping& VgpuDevice::writable(const Buffer& buffer) {
  SharedMapping& mapping = find(buffer);
  if (mapping.access() == Access::read_only) throw Error(fmt::format("{} is mapped read-only", buffer.name));
  return mapping;
}

/// Throws Error unless `bytes` at `offset` lie in the mapping.
std::byte* range(const SharedMapping& mapping, const Buffer& buffer, std::int64_t offset, std::size_t bytes) {
  const auto start = static_cast<std::size_t>(offset);
  if (offset < 0 || start > mapping.bytes() || bytes > mapping.bytes() - start)
    throw Error(fmt::format("{} bytes at {} do not lie in {} ({} bytes)", bytes, offset, buffer.name,
                            mapping.bytes()));
  return mapping.data() + start;
}

void VgpuDevice::write(const Buffer& buffer, std::int64_t offset, std::span<const std::byte> data) {
  std::byte* const target = range(writable(buffer), buffer, offset, data.size());
  if (data.empty()) return;
  std::memcpy(target, data.data(), data.size());
  memory_.mark_initialised(buffer.address + static_cast<std::uint64_t>(offset), data.size(), true);
}

void VgpuDevice::read(const Buffer& buffer, std::int64_t offset, std::span<std::byte> data) {
  const std::byte* const source = range(find(buffer), buffer, offset, data.size());
  if (!data.empty()) std::memcpy(data.data(), source, data.size());
}

void VgpuDevice::fill(const Buffer& buffer, std::uint8_t value) {
  SharedMapping& mapping = writable(buffer);
  mapping.fill(value);
  memory_.mark_initialised(buffer.address, mapping.bytes(), true);
}

std::byte* VgpuDevice::host_memory(std::uint64_t address, std::int64_t bytes, Access access) {
  auto found = mappings_.upper_bound(address);
  if (found == mappings_.begin()) throw Error("the host asks for memory that is not mapped");
  const SharedMapping& mapping = (--found)->second;
  const std::uint64_t offset = address - found->first;
  const auto wanted = static_cast<std::uint64_t>(bytes);
  if (bytes < 0 || offset > mapping.bytes() || wanted > mapping.bytes() - offset)
    throw Error(fmt::format("the host asks for {} bytes that do not lie in one mapping", bytes));
  if (access == Access::read_write) {
    if (mapping.access() == Access::read_only) throw Error("the host asks to write to read-only memory");
    memory_.mark_initialised(address, wanted, true);
  }
  return mapping.data() + offset;
}

ModuleId VgpuDevice::load(const ModuleImage& image) {
  if (image.ptx.empty()) throw Error("the virtual GPU runs PTX, and the module has none");
  const auto prologue = prologue_ptx(image.ptx);
  modules_.emplace(next_module_, Module{vgpu::parse(image.ptx), image.registers,
                                        prologue ? vgpu::parse(*prologue) : nullptr});
  return next_module_++;
}

std::optional<DeviceFault> VgpuDevice::translate(const BoundLaunch& launch, VirtualLaunch& translated) const {
  const auto invalid = [&](const std::string& message) {
    return DeviceFault{.reason = "invalid_launch",
                       .message = fmt::format("{}: {}", launch.plan.kernel, message)};
  };
  const auto module = modules_.find(launch.module);
  if (module == modules_.end()) throw Error(fmt::format("there is no module {}", launch.module));
  translated.program = module->second.program.get();
  const auto info = vgpu::kernel_info(*translated.program, launch.kernel);
  if (!info) return invalid(fmt::format("the module has no kernel {}", launch.kernel));
  if (launch.arguments.size() != info->parameters.size())
    return invalid(fmt::format("the kernel has {} parameters, the plan gives {} arguments",
                               info->parameters.size(), launch.arguments.size()));

  translated.launch = {.kernel = launch.kernel,
                       .grid = dim3_of(launch.plan.grid),
                       .block = dim3_of(launch.plan.block),
                       .cluster = dim3_of(launch.plan.cluster),
                       .dynamic_shared_bytes = launch.plan.shared_bytes,
                       .parameters = std::vector<std::byte>(info->parameter_bytes),
                       .cooperative = launch.plan.is_cooperative};
  for (std::size_t i = 0; i < launch.arguments.size(); ++i) {
    const BoundArgument& argument = launch.arguments[i];
    const vgpu::Parameter& parameter = info->parameters[i];
    std::vector<std::byte> content = argument.bytes;
    if (argument.tensor_map) {
      const auto encoded = vgpu::encode(virtual_map(*argument.tensor_map, argument.map_address));
      content.assign(encoded.begin(), encoded.end());
    }
    const std::size_t bytes = content.size();
    if (bytes != parameter.bytes)
      return invalid(fmt::format("parameter {} has {} bytes, the argument {}", i, parameter.bytes, bytes));
    std::memcpy(translated.launch.parameters.data() + parameter.offset, content.data(), bytes);
  }
  if (const auto known = module->second.registers.find(launch.kernel);
      known != module->second.registers.end())
    translated.registers = known->second;
  translated.shared_bytes = info->static_shared_bytes + launch.plan.shared_bytes;
  return std::nullopt;
}

vgpu::LaunchResult VgpuDevice::execute(const VirtualLaunch& launch, RunMode mode, double deadline_s) {
  vgpu::LaunchOptions options{.threads = threads_};
  options.schedule_seed = schedule_seed_;
  options.checks = {.uninitialised = checks_.uninitialised, .races = checks_.races};
  options.adds_exactly = checks_.adds_exactly;
  options.instruction_budget = static_cast<std::uint64_t>(
      std::clamp(deadline_s * k_instructions_per_s, 1e6, static_cast<double>(k_budget_max)));
  if (mode == RunMode::timing && is_sampled_in_timing(launch.launch)) {
    if (auto result = run_time_sample(*launch.program, memory_, launch.launch, options, sample_seed_))
      return std::move(*result);
  }
  if (mode == RunMode::timing) options.checks = {.uninitialised = false, .races = false};
  return vgpu::run(*launch.program, memory_, launch.launch, options);
}

std::optional<DeviceFault> VgpuDevice::try_prologues(std::span<const BoundLaunch> later, double deadline_s,
                                                     EarlyWrites& writes) {
  // The next one; the one behind it too, if that lets it begin before it has waited itself.
  for (const BoundLaunch& launch : later) {
    const auto module = modules_.find(launch.module);
    VirtualLaunch translated;
    if (!launch.plan.is_programmatic || module == modules_.end() || !module->second.prologue) break;
    if (translate(launch, translated) || MemorySnapshot::bytes(memory_) > k_prologue_bytes_max) break;
    translated.program = module->second.prologue.get();
    const MemorySnapshot snapshot(memory_);
    const vgpu::LaunchResult result = execute(translated, RunMode::full, deadline_s);
    // Whatever else stops it there stops the whole launch too, or waits for what it may wait for.
    if (result.fault && result.fault->kind == vgpu::FaultKind::uninitialised) {
      DeviceFault fault = fault_of(*result.fault, launch);
      fault.message += ", before griddepcontrol.wait: the launch before may not have written it yet";
      return fault;
    }
    snapshot.add_changes(writes);
    if (!result.lets_next_begin) break;
  }
  return std::nullopt;
}

std::optional<DeviceFault> VgpuDevice::execute_checked(const BoundLaunch& bound, const VirtualLaunch& launch,
                                                       std::span<const BoundLaunch> later, double deadline_s,
                                                       vgpu::LaunchResult& result) {
  EarlyWrites writes;
  if (auto fault = try_prologues(later, deadline_s, writes)) return fault;
  writes.hide();
  result = execute(launch, RunMode::full, deadline_s);
  const std::string written = writes.show();
  const auto race = [&](const std::string& message) {
    return DeviceFault{.reason = "race", .message = fmt::format("race: {}", message)};
  };
  if (result.fault) {
    DeviceFault fault = fault_of(*result.fault, bound);
    if (!writes.is_empty() && result.fault->kind == vgpu::FaultKind::uninitialised)
      fault.message += "; or a launch behind it writes there before its griddepcontrol.wait";
    return fault;
  }
  if (!written.empty())
    return race(
        fmt::format("a launch behind '{}' writes to {} before its griddepcontrol.wait, where '{}' writes",
                    bound.plan.kernel, written, bound.plan.kernel));
  // What ends without having waited may end before the launch in front of it; whoever waits for it alone is too early.
  const bool is_waited_for = !later.empty() && later.front().plan.is_programmatic;
  if (bound.plan.is_programmatic && is_waited_for && !result.waits_for_grid)
    return race(
        fmt::format("no thread of '{}' executes griddepcontrol.wait, so that '{}', which waits for it, may "
                    "begin before the launch in front of both has ended",
                    bound.plan.kernel, later.front().plan.kernel));
  return std::nullopt;
}

std::optional<DeviceFault> VgpuDevice::run_all(std::span<const BoundLaunch> launches, RunMode mode,
                                               double deadline_s, SequenceOutcome& outcome) {
  for (std::size_t i = 0; i < launches.size(); ++i) {
    const BoundLaunch& bound = launches[i];
    VirtualLaunch launch;
    if (auto fault = translate(bound, launch)) return fault;
    vgpu::LaunchResult result;
    if (mode == RunMode::full && checks_.uninitialised && checks_.races) {
      if (auto fault = execute_checked(bound, launch, launches.subspan(i + 1), deadline_s, result))
        return fault;
    } else {
      result = execute(launch, mode, deadline_s);
      if (result.fault) return fault_of(*result.fault, bound);
    }
    const auto registers = static_cast<vgpu::u32>(launch.registers);
    const auto work = vgpu::work_of(result.counts, launch.launch, registers, launch.shared_bytes);
    const vgpu::ModelledTime time = vgpu::modelled_time(work, *profile_.times);
    for (const vgpu::Fault& told : result.remarks) outcome.remarks.push_back(fault_of(told, bound).message);
    outcome.modelled.push_back({.kernel = bound.plan.kernel,
                                .time_us = time.us,
                                .limit = std::string(time.limit),
                                .occupancy = time.occupancy,
                                .waves = time.waves,
                                .counts = vgpu::named(work)});
  }
  return std::nullopt;
}

SequenceOutcome VgpuDevice::run(std::span<const BoundLaunch> before, std::span<const BoundLaunch> timed,
                                RunMode mode, double deadline_s, int) {
  SequenceOutcome outcome, unused;
  if (auto fault = run_all(before, mode, deadline_s, unused)) return {.fault = std::move(fault)};
  outcome.fault = run_all(timed, mode, deadline_s, outcome);
  for (const ModelledLaunch& launch : outcome.modelled) outcome.elapsed_us += launch.time_us;
  return outcome;
}

PartOutcome VgpuDevice::run_blocks(const BoundLaunch& bound, const std::vector<std::uint64_t>& blocks,
                                   std::uint64_t instructions_max) {
  VirtualLaunch launch;
  if (auto fault = translate(bound, launch)) return {.fault = std::move(fault)};
  vgpu::LaunchOptions options{.threads = threads_, .instruction_budget = instructions_max};
  options.checks = {.races = checks_.races, .global_races = false};
  WatchedBlocks ran =
      blocks.empty() ? run_time_sample_watched(*launch.program, memory_, launch.launch, sample_seed_, options)
                     : run_watched(*launch.program, memory_, launch.launch, blocks, options);
  if (ran.result.fault)
    return {.fault = fault_of(*ran.result.fault, bound), .instructions = instructions_max};
  return {.blocks = std::move(ran.blocks),
          .given_up = std::move(ran.result.given_up),
          .instructions = ran.result.counts.total_warp_instructions()};
}

std::vector<std::int64_t> VgpuDevice::written_rows(const Buffer& buffer, std::int64_t row_bytes) {
  std::vector<std::int64_t> rows;
  const std::int64_t total = buffer.bytes / row_bytes;
  for (std::int64_t row = 0; row < total; ++row) {
    const std::uint64_t address = buffer.address + static_cast<std::uint64_t>(row * row_bytes);
    const auto unwritten = static_cast<std::int64_t>(memory_.first_uninitialised(address));
    for (; row < total && (row + 1) * row_bytes <= unwritten; ++row) rows.push_back(row);
  }
  return rows;
}

}  // namespace

std::unique_ptr<Device> make_vgpu_like(const VirtualProfile& profile, unsigned threads, VgpuChecks checks) {
  return std::make_unique<VgpuDevice>(profile, threads, checks);
}

}  // namespace kernelites::worker
