// SPDX-License-Identifier: Apache-2.0
// Parsing a program and answering questions about it.
#include "evaluators/worker/vgpu/machine.h"

#include <algorithm>
#include <set>

#include "engine/core/error.h"
#include "evaluators/worker/vgpu/call_graph.h"
#include "evaluators/worker/vgpu/decoder.h"
#include "evaluators/worker/vgpu/program.h"

namespace kernelites::worker::vgpu {
namespace {

constexpr std::size_t k_max_source_bytes = 64u << 20;

void require_cpu() {
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2"))
    return;
  throw Error("the virtual GPU needs a CPU with AVX2, FMA and F16C (x86-64-v3)");
}

u64 digest_of(std::string_view text) {  // FNV-1a
  u64 hash = 0xcbf29ce484222325ull;
  for (char c : text) hash = (hash ^ static_cast<u8>(c)) * 0x100000001b3ull;
  return hash;
}

void decode_kernel(Program& program, const Module& module, const Function& kernel) {
  KernelImage& image = program.kernels.emplace_back();
  image.name = kernel.name;
  Decoder(module, kernel, program, image).link();
  std::sort(image.unsupported.begin(), image.unsupported.end());
  program.parameters[kernel.name] = kernel.parameters;
}

}  // namespace

const KernelImage* Program::find(std::string_view kernel) const {
  for (const KernelImage& image : kernels) {
    if (image.name == kernel) return &image;
  }
  return nullptr;
}

u64 Program::variable_address(std::string_view name) const {
  for (const ModuleVariable& variable : variables) {
    if (variable.name == name) return variable.address;
  }
  return 0;
}

u64 Program::symbol_address(std::string_view name) const {
  if (const u64 address = variable_address(name); address != 0) return address;
  const auto found = function_addresses.find(name);
  return found == function_addresses.end() ? 0 : found->second;
}

std::shared_ptr<const Program> parse(std::string_view ptx) {
  require_cpu();
  if (ptx.size() > k_max_source_bytes) throw Error("PTX of more than 64 MiB");
  auto program = std::make_shared<Program>();
  program->source = std::string(ptx);
  program->id = digest_of(ptx);
  Module module = parse_module(program->source);
  program->variables = std::move(module.variables);
  for (std::size_t k = 0; k < program->variables.size(); ++k) {
    program->variables[k].address = ((k_module_slot + k) << 32) + k_slot_offset;
  }
  for (Function& function : module.functions) {
    fold_constants(function);
    if (const u64 address = function_address(module, function.name); address != 0)
      program->function_addresses.emplace(function.name, address);
  }
  program->kernels.reserve(module.functions.size());
  for (const Function& function : module.functions) {
    if (function.is_kernel && function.has_body) decode_kernel(*program, module, function);
  }
  return program;
}

std::vector<std::string> kernel_names(const Program& program) {
  std::vector<std::string> names;
  for (const KernelImage& image : program.kernels) names.push_back(image.name);
  return names;
}

std::vector<Parameter> parameter_layout(const Program& program, std::string_view kernel) {
  const auto found = program.parameters.find(kernel);
  KERNELITES_ASSERT(found != program.parameters.end());
  std::vector<Parameter> layout;
  for (const FormalParameter& formal : found->second)
    layout.push_back({formal.name, formal.offset, formal.bytes});
  return layout;
}

std::optional<KernelInfo> kernel_info(const Program& program, std::string_view kernel) {
  const KernelImage* image = program.find(kernel);
  if (image == nullptr) return std::nullopt;
  return KernelInfo{.name = image->name,
                    .parameters = parameter_layout(program, kernel),
                    .parameter_bytes = image->parameter_bytes,
                    .static_shared_bytes = image->static_shared_bytes,
                    .local_bytes = image->local_bytes,
                    .max_threads = image->max_threads,
                    .unsupported = image->unsupported};
}

std::vector<std::string> unsupported(const Program& program) {
  std::set<std::string> opcodes;
  for (const KernelImage& image : program.kernels)
    opcodes.insert(image.unsupported.begin(), image.unsupported.end());
  return {opcodes.begin(), opcodes.end()};
}

}  // namespace kernelites::worker::vgpu
