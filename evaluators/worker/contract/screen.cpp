// SPDX-License-Identifier: Apache-2.0
// Rules over PTX tokens and ELF sections.
#include "evaluators/worker/contract/screen.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <set>

#include "evaluators/worker/contract/cubin.h"
#include "evaluators/worker/contract/programmatic_wait.h"
#include "evaluators/worker/contract/ptx_forbidden.h"
#include "evaluators/worker/contract/ptx_plain.h"
#include "evaluators/worker/contract/ptx_text.h"
#include "evaluators/worker/contract/source_rules.h"
#include "evaluators/worker/contract/table_writes.h"

namespace kernelites::worker {
namespace {

/// Prefixes worth a remark: legal, but they change what the memory system keeps.
constexpr std::pair<std::string_view, std::string_view> k_remarks[] = {
    {"createpolicy", "uses cache policies (createpolicy): cold and warm times may differ"},
    {"applypriority", "changes cache priorities (applypriority)"},
    {"prefetch", "prefetches: what it brings into the L2 is evicted before every launch"},
    {"cp.async.bulk.prefetch", "prefetches: what it brings into the L2 is evicted before every launch"},
};

/// Unreferenced variables: NVRTC writes every namespace-scope and static constexpr constant into the module.
constexpr std::int64_t k_unreferenced_bytes_max = 64 * 1024;

struct Subject {
  const CompiledCandidate& candidate;
  const std::vector<PtxToken>& tokens;
  const PtxModule& module;
  const Cubin& cubin;
};

Verdict refused(std::string_view code, std::string words) {
  return Verdict::failed("screen", std::string(code), std::move(words));
}

std::optional<Verdict> screen_plainness(const Subject& s) {
  if (const auto words = find_unplain_ptx(s.candidate.ptx, s.tokens)) {
    return refused(
        "screen_unplain_assembly",
        fmt::format("the PTX holds {}, which inline assembly may not bring in: write plain instructions, "
                    "without escapes, preprocessor lines or texts",
                    *words));
  }
  return std::nullopt;
}

std::optional<Verdict> screen_words(const Subject& s) {
  if (const ForbiddenPtx* found = find_forbidden_ptx(s.tokens))
    return refused(found->code, fmt::format("the code {}", found->words));
  return std::nullopt;
}

std::optional<Verdict> screen_externals(const Subject& s) {
  for (const std::vector<std::string>* names : {&s.module.external_functions, &s.cubin.undefined_symbols}) {
    for (const std::string& name : *names) {
      const bool is_print = name == "vprintf" || name == "__assertfail";
      return refused("screen_external_symbol",
                     fmt::format("the code calls {}, which is outside the module: {}", name.substr(0, 80),
                                 is_print ? "remove printf and assert"
                                          : "device-side malloc, free and launches are not allowed"));
    }
  }
  return std::nullopt;
}

std::set<std::string, std::less<>> identifiers_of(std::string_view code) {
  std::set<std::string, std::less<>> names;
  const auto is_part = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
  };
  for (std::size_t at = 0; at < code.size();) {
    std::size_t end = at;
    while (end < code.size() && is_part(code[end])) ++end;
    if (end > at) names.emplace(code.substr(at, end - at));
    at = std::max(end, at + 1);
  }
  return names;
}

/// Whether `symbol`, plain or mangled, contains a name that the source's code (not its strings) spells out.
bool is_spelled(std::string_view symbol, const std::set<std::string, std::less<>>& names) {
  if (names.contains(symbol)) return true;
  if (!symbol.starts_with("_Z")) return false;
  for (std::size_t at = 2; at < symbol.size(); ++at) {
    std::size_t digits = at, length = 0;
    for (; digits < symbol.size() && symbol[digits] >= '0' && symbol[digits] <= '9' && length < 1024;
         ++digits) {
      length = length * 10 + static_cast<std::size_t>(symbol[digits] - '0');
    }
    if (digits > at && length > 0 && names.contains(symbol.substr(digits, length))) return true;
  }
  return false;
}

std::optional<Verdict> screen_entries(const Subject& s) {
  std::set<std::string, std::less<>> launched;
  for (const auto& [name, lowered] : s.candidate.lowered) launched.insert(lowered);
  const auto names = identifiers_of(code_without_literals(s.candidate.source));
  std::set<std::string, std::less<>> seen;
  for (const PtxEntry& entry : s.module.entries) {
    seen.insert(entry.name);
    if (entry.name.starts_with("harness_")) {
      return refused("screen_harness_name",
                     fmt::format("the kernel \"{}\" has a name that belongs to the harness: drop harness_",
                                 entry.name.substr(0, 80)));
    }
    if (!launched.contains(entry.name) && !is_spelled(entry.name, names)) {
      return refused("screen_hidden_entry",
                     fmt::format("the code holds a kernel \"{}\" that the source does not declare",
                                 entry.name.substr(0, 80)));
    }
  }
  for (const auto& [name, kernel] : s.cubin.kernels) {
    if (kernel.code_bytes > 0 && !seen.contains(name)) {
      return refused(
          "screen_hidden_entry",
          fmt::format("the cubin holds a kernel \"{}\" that the PTX does not", name.substr(0, 80)));
    }
  }
  return std::nullopt;
}

/// "hidden" of "$__hidden__46$1", as ptxas names a variable that is declared inside a function.
std::string_view declared_name(std::string_view symbol) {
  if (!symbol.starts_with("$__")) return symbol;
  const auto end = symbol.rfind("__");
  return end > 3 ? symbol.substr(3, end - 3) : symbol;
}

/// Device memory of the cubin that no declaration in the PTX explains.
std::optional<Verdict> screen_variables(const Subject& s) {
  std::map<std::string_view, std::int64_t> declared;
  for (const PtxVariable& variable : s.module.variables) {
    if (!variable.is_constant) declared[variable.name] = std::max(declared[variable.name], variable.bytes);
  }
  // Between variables ptxas aligns, at most to their largest alignment.
  constexpr std::int64_t k_alignment_max = 256, k_device_bytes_max = std::int64_t{1} << 40;
  std::int64_t explained = 0;
  for (const CubinVariable& variable : s.cubin.variables) {
    auto found = declared.find(variable.name);
    if (found == declared.end()) found = declared.find(declared_name(variable.name));
    if (found == declared.end() || variable.bytes > found->second) {
      return refused(
          "screen_module_state",
          fmt::format("the cubin holds the variable \"{}\" of {} bytes, which the PTX does not declare",
                      variable.name.substr(0, 80), variable.bytes));
    }
    explained += std::min<std::int64_t>(variable.bytes, k_device_bytes_max) + k_alignment_max;
  }
  if (s.cubin.writable_bytes > explained || s.cubin.initialised_bytes > explained - s.cubin.writable_bytes) {
    return refused("screen_module_state", "the cubin holds more device memory than its variables explain");
  }
  return std::nullopt;
}

std::optional<Verdict> screen_state(const Subject& s) {
  std::int64_t initialised = 0, unreferenced = 0, constants = 0;
  for (const PtxVariable& variable : s.module.variables) {
    if (variable.is_external) {
      return refused("screen_external_symbol",
                     fmt::format("the variable \"{}\" is outside the module", variable.name.substr(0, 80)));
    }
    std::int64_t& sum = variable.is_constant     ? constants
                        : variable.is_referenced ? initialised
                                                 : unreferenced;
    if (__builtin_add_overflow(sum, variable.bytes, &sum)) sum = k_module_data_bytes_max + 1;
    if (variable.is_managed) {
      return refused(
          "screen_module_state",
          fmt::format("the variable \"{}\" is __managed__, which the host can see: use __constant__",
                      variable.name.substr(0, 80)));
    }
    if (variable.is_constant || variable.has_initialiser || !variable.is_referenced) continue;
    return refused(
        "screen_module_state",
        fmt::format(
            "the variable \"{}\" in device memory could keep state between launches: pass a workspace "
            "from the plan, or make a table __constant__ or constexpr with values",
            variable.name.substr(0, 80)));
  }
  if (const auto table = find_writable_table(s.tokens, s.module)) {
    return refused(
        "screen_module_state",
        fmt::format(
            "the code could write to its table \"{}\", or stores or passes on its address: read tables by "
            "index only",
            table->substr(0, 80)));
  }
  if (const auto parameter = find_escaping_parameter(s.tokens)) {
    return refused(
        "screen_parameter_address",
        fmt::format("the code computes with the address of a parameter, or reads or writes through it, or "
                    "beyond it (\"{}\"): use parameters by name, and tensor maps as they are",
                    parameter->substr(0, 80)));
  }
  // Sections count too: what the text does not show must not be there. (The names of NVRTC's own constants
  // are.)
  if (s.cubin.writable_bytes > k_unreferenced_bytes_max || unreferenced > k_unreferenced_bytes_max) {
    return refused("screen_module_state",
                   "the code declares more device memory than constants explain: pass a workspace "
                   "from the plan");
  }
  if (std::max(initialised, s.cubin.initialised_bytes) > k_module_data_bytes_max ||
      std::max(constants, s.cubin.constant_bytes) > k_module_data_bytes_max) {
    return refused("screen_tables_too_large",
                   fmt::format("tables in the code have more than {} bytes: compute them, or "
                               "prepare a workspace",
                               k_module_data_bytes_max));
  }
  return std::nullopt;
}

std::optional<Verdict> screen_sizes(const Subject& s) {
  std::int64_t code = 0;
  for (const auto& [name, kernel] : s.cubin.kernels) {
    code += kernel.code_bytes;
    if (kernel.frame_bytes > k_local_bytes_max) {
      return refused("screen_local_memory",
                     fmt::format("kernel \"{}\" uses {} bytes of local memory per thread; at most {} "
                                 "are allowed: index arrays with constants so that they stay in "
                                 "registers",
                                 name.substr(0, 80), kernel.frame_bytes, k_local_bytes_max));
    }
  }
  if (!s.cubin.unknown_section.empty()) {
    return refused("screen_unknown_section",
                   fmt::format("the cubin holds memory of a kind that no candidate needs: section \"{}\"",
                               s.cubin.unknown_section.substr(0, 80)));
  }
  if (code > k_code_bytes_max) {
    return refused(
        "screen_code_too_large",
        fmt::format("the kernels have {} bytes of code; at most {} are allowed", code, k_code_bytes_max));
  }
  return std::nullopt;
}

std::optional<Verdict> screen_waits(const Subject& s) {
  const auto kernel = find_unwaited_kernel(s.candidate, s.tokens);
  if (!kernel) return std::nullopt;
  return refused(
      "screen_programmatic",
      fmt::format("the kernel \"{}\" is launched early (programmatic) but never waits for the launch "
                  "before it: add griddepcontrol.wait before the first access to what that one writes",
                  kernel->substr(0, 80)));
}

using Rule = std::optional<Verdict> (*)(const Subject&);
constexpr Rule k_rules[] = {screen_plainness, screen_words,     screen_externals, screen_entries,
                            screen_state,     screen_variables, screen_sizes,     screen_waits};

}  // namespace

std::optional<Verdict> screen(const CompiledCandidate& candidate, const Defences& defences) {
  const std::vector<PtxToken> tokens = tokenize_ptx(candidate.ptx);
  const PtxModule module = parse_ptx(tokens);
  const std::optional<Cubin> cubin = parse_cubin(candidate.cubin);
  if (!cubin) return refused("screen_unreadable", "the compiled code is no cubin");
  const Subject subject{candidate, tokens, module, *cubin};
  for (const Rule rule : k_rules) {
    if (auto verdict = defences.keep(rule(subject))) return verdict;
  }
  return std::nullopt;
}

std::vector<std::string> screen_remarks(const CompiledCandidate& candidate) {
  std::vector<std::string> remarks;
  const std::vector<PtxToken> tokens = tokenize_ptx(candidate.ptx);
  const auto uses = [&](std::string_view prefix) {
    return std::any_of(tokens.begin(), tokens.end(), [&](const PtxToken& token) {
      return !token.is_string && token.text.starts_with(prefix);
    });
  };
  for (const auto& [prefix, words] : k_remarks) {
    if (uses(prefix)) remarks.push_back(fmt::format("the code {}", words));
  }
  const auto is_programmatic = [](const LaunchPlan& plan) {
    return std::any_of(plan.launches.begin(), plan.launches.end(),
                       [](const auto& l) { return l.is_programmatic; });
  };
  if (uses("griddepcontrol") &&
      std::none_of(candidate.plans.begin(), candidate.plans.end(), is_programmatic)) {
    remarks.emplace_back("the code uses griddepcontrol, but no launch of the plan is programmatic");
  }
  return remarks;
}

}  // namespace kernelites::worker
