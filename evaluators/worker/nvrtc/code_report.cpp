// SPDX-License-Identifier: Apache-2.0
// Reads signatures from the PTX and resources from the cubin of one compile.
#include "evaluators/worker/nvrtc/code_report.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/core/digest.h"
#include "evaluators/worker/contract/cubin.h"
#include "evaluators/worker/contract/ptx_text.h"
#include "evaluators/worker/contract/sass.h"
#include "evaluators/worker/nvrtc/compile_log.h"

namespace kernelites::worker {
namespace {

/// From sm_90 on, a module that uses shared memory shows 1 KB in it that the hardware keeps for itself.
constexpr std::int64_t k_reserved_shared_bytes = 1024;

Verdict unreadable(std::string words) {
  return Verdict::failed("compile", "code_unreadable", std::move(words));
}

/// Parameter sizes of PTX and cubin must agree: both describe what the driver will copy.
bool have_equal_sizes(const KernelSignature& signature, const CubinKernel& kernel) {
  return std::equal(signature.parameters.begin(), signature.parameters.end(), kernel.parameter_bytes.begin(),
                    kernel.parameter_bytes.end(), [](const KernelParameter& parameter, std::int64_t bytes) {
                      return parameter.bytes == bytes;
                    });
}

KernelResources resources_of(const std::string& name, const CubinKernel& kernel, const SpillFigures& spills,
                             const DeviceFacts& device) {
  const std::int64_t reserved =
      device.compute_capability >= 90 ? std::min(kernel.static_shared_bytes, k_reserved_shared_bytes) : 0;
  return {.kernel = name,
          .registers = kernel.registers,
          .static_shared_bytes = static_cast<int>(kernel.static_shared_bytes - reserved),
          .local_bytes = static_cast<int>(std::min<std::int64_t>(kernel.frame_bytes, 1 << 30)),
          .spill_store_bytes = spills.store_bytes,
          .spill_load_bytes = spills.load_bytes,
          .code_bytes = static_cast<int>(std::min<std::int64_t>(kernel.code_bytes, 1 << 30)),
          .threads_max = std::max(kernel.threads_max, kernel.threads_required)};
}

/// Digests of all kernels' machine code in order. A kernel counts by its code, not by its name.
std::string codes_of(const Cubin& cubin) {
  std::vector<std::string> codes;
  for (const auto& [name, kernel] : cubin.kernels) codes.push_back(digest(kernel.code));
  std::sort(codes.begin(), codes.end());
  std::string text;
  for (const std::string& code : codes) text += code;
  return text;
}

/// Digest over machine code, constants and plans.
std::string digest_of(const Cubin& cubin, const CompiledCandidate& compiled) {
  std::string text = codes_of(cubin);
  for (LaunchPlan plan : compiled.plans) {
    for (PlannedLaunch& launch : plan.launches) {
      const auto kernel = cubin.kernels.find(compiled.lowered.at(launch.kernel));
      launch.kernel = kernel == cubin.kernels.end() ? "" : digest(kernel->second.code);
    }
    text += Json(plan).dump();
  }
  return digest_parts({text, cubin.constant_data});
}

}  // namespace

std::optional<Verdict> report_code(CompileOutput& output, const DeviceFacts& device,
                                   CompiledCandidate& compiled) {
  const std::vector<PtxToken> tokens = tokenize_ptx(output.ptx);
  const PtxModule module = parse_ptx(tokens);
  const std::optional<Cubin> cubin = parse_cubin(output.cubin);
  if (!cubin) return unreadable("the compiler's output is no cubin");
  const std::map<std::string, SpillFigures> spills = read_spills(output.log);
  compiled.lowered = output.lowered_names;
  for (const auto& [name, lowered] : compiled.lowered) {
    const auto entry = std::find_if(module.entries.begin(), module.entries.end(),
                                    [&, &symbol = lowered](const PtxEntry& e) { return e.name == symbol; });
    const auto kernel = cubin->kernels.find(lowered);
    if (entry == module.entries.end() || kernel == cubin->kernels.end()) {
      return Verdict::failed("plan", "plan_unknown_kernel",
                             fmt::format("\"{}\" is no kernel: a launch needs a __global__ function", name));
    }
    if (!have_equal_sizes(entry->signature, kernel->second)) {
      return unreadable(fmt::format("PTX and cubin disagree on the parameters of \"{}\"", name));
    }
    for (const auto& [mnemonic, occurrences] : count_sass(kernel->second.code))
      compiled.sass[mnemonic] += occurrences;
    const auto spill = spills.find(lowered);
    compiled.signatures[name] = entry->signature;
    compiled.kernels.push_back(
        resources_of(name, kernel->second, spill == spills.end() ? SpillFigures{} : spill->second, device));
  }
  for (const PtxVariable& variable : module.variables) {
    if (!variable.is_constant && variable.has_initialiser && variable.is_referenced) {
      compiled.module_data.push_back({variable.name, variable.bytes});
    }
  }
  compiled.log = clean_log(output.log, compiled.source);
  compiled.advisories = read_advisories(output.log);
  compiled.code_digest = digest_of(*cubin, compiled);
  compiled.machine_code = digest_parts({codes_of(*cubin), cubin->constant_data});
  compiled.ptx = std::move(output.ptx);
  compiled.cubin = std::move(output.cubin);
  return std::nullopt;
}

}  // namespace kernelites::worker
