// SPDX-License-Identifier: Apache-2.0
// Looking at the machine, line by line.
#include "evaluators/worker/pipeline/inspection.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <functional>
#include <optional>

#include "engine/core/error.h"
#include "evaluators/worker/counters/range_profiler.h"
#include "evaluators/worker/device/cuda_library.h"
#include "evaluators/worker/health/nvml_reader.h"
#include "evaluators/worker/sandbox/jail.h"

namespace kernelites::worker {
namespace {

namespace fs = std::filesystem;

/// CU_DEVICE_ATTRIBUTE_CLOCK_RATE and _MEMORY_CLOCK_RATE, in kHz.
constexpr int k_clock_rate = 13, k_memory_clock_rate = 36;
constexpr const char* k_without_gpu = "without it times are modelled (--device vgpu)";

using Lines = std::vector<InspectionLine>;

/// The toolkit's folder: two levels above the library.
fs::path folder_of(const Toolkit& toolkit) { return toolkit.library.parent_path().parent_path(); }

std::optional<Toolkit> inspect_compiler(const ToolkitSearch& search, Lines& lines) {
  try {
    Toolkit toolkit = find_toolkit(search);
    open_nvrtc(toolkit);
    lines.push_back(
        {"compiler", "ok", fmt::format("{} ({})", toolkit.version, toolkit.library.string()), ""});
    return toolkit;
  } catch (const Error& error) {
    lines.push_back({"compiler", "bad", error.what(),
                     "run tools/setup, or name a CUDA toolkit of version 12.0 or later with --toolkit"});
    return std::nullopt;
  }
}

std::string version_words(int version) { return fmt::format("{}.{}", version / 1000, version % 1000 / 10); }

int attribute_of(const CudaLibrary& cuda, cuda::DeviceOrdinal device, int name) {
  int value = 0;
  KERNELITES_CUDA(cuda, device_get_attribute, &value, name, device);
  return value;
}

/// Device 0, the one that a worker uses.
void inspect_device(const CudaLibrary& cuda, Lines& lines) {
  cuda::DeviceOrdinal device = 0;
  KERNELITES_CUDA(cuda, device_get, &device, 0);
  char name[128] = {};
  std::size_t bytes = 0;
  KERNELITES_CUDA(cuda, device_get_name, name, static_cast<int>(sizeof name), device);
  KERNELITES_CUDA(cuda, device_total_memory, &bytes, device);
  const int capability = 10 * attribute_of(cuda, device, cuda::k_compute_capability_major) +
                         attribute_of(cuda, device, cuda::k_compute_capability_minor);
  const std::string found = fmt::format(
      "{}, compute capability {}.{}, {:.0f} GiB, {} multiprocessors", name, capability / 10, capability % 10,
      static_cast<double>(bytes) / (1 << 30), attribute_of(cuda, device, cuda::k_multiprocessor_count));
  const bool is_known = capability >= 80;
  lines.push_back({"device", is_known ? "ok" : "bad", found,
                   is_known ? "" : "kernels are compiled for compute capability 8.0 and later"});
  lines.push_back({"clocks", "ok",
                   fmt::format("up to {} MHz, memory {} MHz", attribute_of(cuda, device, k_clock_rate) / 1000,
                               attribute_of(cuda, device, k_memory_clock_rate) / 1000),
                   ""});
}

bool inspect_driver(bool wants_gpu, Lines& lines) {
  const std::string missing = wants_gpu ? "bad" : "warn";
  try {
    const CudaLibrary cuda = open_cuda();
    int version = 0;
    KERNELITES_CUDA(cuda, driver_get_version, &version);
    lines.push_back({"driver", "ok", "CUDA " + version_words(version), ""});
    inspect_device(cuda, lines);
    return true;
  } catch (const Error& error) {
    lines.push_back(
        {"driver", missing, error.what(),
         fmt::format("install NVIDIA's driver and see that nvidia-smi lists a device; {}", k_without_gpu)});
    return false;
  }
}

void inspect_counters(const fs::path& toolkit, bool has_device, Lines& lines) {
  try {
    const CuptiLibrary cupti = open_cupti({toolkit});
    if (!has_device) {
      lines.push_back({"counters", "ok", "CUPTI is there; no device to ask", ""});
      return;
    }
    const std::string problem = counters_problem(cupti, 0);
    lines.push_back({"counters", problem.empty() ? "ok" : "warn",
                     problem.empty() ? "the device lets them be read" : problem,
                     problem.empty() ? ""
                                     : "load the driver with NVreg_RestrictProfilingToAdminUsers=0 or run as "
                                       "root; without counters everything else works"});
  } catch (const Error& error) {
    lines.push_back({"counters", "warn", error.what(),
                     "install CUPTI of CUDA 12.6 or later; without counters everything else works"});
  }
}

void inspect_sanitizer(const fs::path& toolkit, bool has_device, Lines& lines) {
  const fs::path program = toolkit / "bin" / "compute-sanitizer";
  std::error_code ignored;
  const bool is_there = fs::exists(program, ignored);
  if (!is_there && !has_device) return;  // what runs on the virtual GPU does not need it
  lines.push_back({"sanitizer", is_there ? "ok" : "warn",
                   is_there ? program.string() : "no compute-sanitizer in the toolkit",
                   is_there ? "" : "install it: without it stage memcheck says unchecked"});
}

/// What a child finds that enters `policy`'s jail. Empty: it died.
std::string jail_words(const JailPolicy& policy, const std::function<bool(const JailReport&)>& is_enough) {
  int ends[2];
  if (::pipe(ends) != 0) return {};
  const pid_t child = ::fork();
  if (child == 0) {
    const JailReport report = enter_jail(policy);
    const std::string words = (is_enough(report) ? "+" : "-") + report.describe();
    const auto written = ::write(ends[1], words.data(), std::min<std::size_t>(words.size(), 2000));
    ::_exit(written > 0 ? 0 : 1);
  }
  ::close(ends[1]);
  std::string words(2000, '\0');
  const auto count = child < 0 ? -1 : ::read(ends[0], words.data(), words.size());
  ::close(ends[0]);
  if (child > 0) ::waitpid(child, nullptr, 0);
  words.resize(count > 0 ? static_cast<std::size_t>(count) : 0);
  return words;
}

void inspect_jail(const std::vector<fs::path>& headers, Lines& lines) {
  const std::string children =
      jail_words(vgpu_jail(), [](const JailReport& report) { return report.is_sufficient(); });
  const bool is_good = !children.empty() && children[0] == '+';
  lines.push_back({"jail", is_good ? "ok" : "bad",
                   children.empty() ? "a child that entered it died" : children.substr(1),
                   is_good ? "" : "evaluation needs a kernel with seccomp filters and resource limits"});
  const std::string compiler =
      jail_words(compile_jail(headers), [](const JailReport& report) { return report.has_closed_files(); });
  const bool is_closed = !compiler.empty() && compiler[0] == '+';
  lines.push_back({"compiler jail", is_closed ? "ok" : "bad",
                   is_closed ? "no file but the toolkit's headers can be opened"
                             : "the compiler could read this machine's files",
                   is_closed ? ""
                             : "use a kernel with Landlock (5.13), allow user namespaces, or accept it with "
                               "the worker's --allow-weak-jail"});
}

/// What the worker's watch over the device would say now, and what it cannot see.
void inspect_health(const std::string& bus_id, Lines& lines) {
  std::string problem;
  const auto read = nvml_reader(bus_id, problem);
  if (!problem.empty()) {
    lines.push_back({"health", "warn", problem,
                     "without NVIDIA's management library the device's errors, slowdowns and other users go "
                     "unnoticed; everything else works"});
    return;
  }
  const HealthReading reading = read();
  const HealthVerdict verdict = judge(reading, reading);
  const std::vector<std::string> missing = unchecked(reading);
  std::string found = verdict.state == HealthState::fit ? "fit" : verdict.words;
  if (reading.temperature_c) found += fmt::format(", {} degrees", *reading.temperature_c);
  if (reading.ecc_uncorrected)
    found += fmt::format(", {} uncorrected memory errors", *reading.ecc_uncorrected);
  if (reading.others) found += fmt::format(", {} other processes on it", reading.others->size());
  if (!missing.empty()) found += fmt::format(" (unchecked: {})", fmt::join(missing, ", "));
  const bool is_fit = verdict.state == HealthState::fit;
  lines.push_back({"health",
                   is_fit                                 ? "ok"
                   : verdict.state == HealthState::paused ? "warn"
                                                          : "bad",
                   found,
                   is_fit ? "" : "evaluation waits for it, or goes to another worker (docs/endurance.md)"});
}

}  // namespace

void to_json(Json& json, const InspectionLine& line) {
  json =
      Json{{"subject", line.subject}, {"state", line.state}, {"found", line.found}, {"remedy", line.remedy}};
}

std::vector<InspectionLine> inspect_machine(const ToolkitSearch& search, bool wants_gpu) {
  Lines lines;
  // Before libraries start threads, which a forked child would not have.
  inspect_jail({"/usr/include"}, lines);
  const std::string bus_id = first_device_bus_id();
  const std::optional<Toolkit> toolkit = inspect_compiler(search, lines);
  const bool has_device = inspect_driver(wants_gpu, lines);
  const fs::path folder = toolkit ? folder_of(*toolkit) : fs::path("/usr/local/cuda");
  if (has_device) inspect_health(bus_id, lines);
  inspect_counters(folder, has_device, lines);
  inspect_sanitizer(folder, has_device, lines);
  return lines;
}

}  // namespace kernelites::worker
