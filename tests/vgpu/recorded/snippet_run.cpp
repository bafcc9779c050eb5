// SPDX-License-Identifier: Apache-2.0
// Running snippets: see snippet_run.h.
#include "tests/vgpu/recorded/snippet_run.h"

#include <fmt/format.h>

#include <cstring>

#include "engine/core/error.h"

namespace kernelites::recorded {
namespace {

constexpr std::int64_t k_buffer_bytes = 1 << 16;
constexpr double k_deadline_s = 20;

worker::BoundArgument pointer(const worker::Buffer& buffer) {
  worker::BoundArgument argument;
  argument.bytes.resize(sizeof buffer.address);
  std::memcpy(argument.bytes.data(), &buffer.address, sizeof buffer.address);
  return argument;
}

}  // namespace

SnippetBench::SnippetBench(worker::Device& device)
    : device_(device),
      in_(device.allocate(k_buffer_bytes, "in")),
      out_(device.allocate(k_buffer_bytes, "out")),
      scratch_(device.allocate(k_buffer_bytes, "scratch")) {}

SnippetOutput SnippetBench::run(const Snippet& snippet) {
  SnippetOutput output;
  const std::vector<std::byte> inputs = draw_inputs(snippet);
  if (inputs.size() > k_buffer_bytes || output_bytes(snippet) > k_buffer_bytes)
    throw Error(fmt::format("{} needs more than {} bytes", snippet.name, k_buffer_bytes));
  device_.write(in_, 0, inputs);
  device_.fill(out_, 0);
  device_.fill(scratch_, 0);
  try {
    const worker::ModuleId module = device_.load({.ptx = module_text(snippet), .cubin = {}, .registers = {}});
    worker::BoundLaunch launch{.module = module, .kernel = "snippet", .plan = {}, .arguments = {}};
    launch.plan.kernel = "snippet";
    launch.plan.grid = launch.plan.cluster = {snippet.blocks, 1, 1};
    launch.plan.block = {32 * snippet.warps, 1, 1};
    launch.arguments = {pointer(in_), pointer(out_), pointer(scratch_)};
    if (snippet.map) {
      launch.arguments.emplace_back();
      launch.arguments.back().tensor_map = snippet.map;
      launch.arguments.back().map_address = (snippet.map->is_workspace ? scratch_ : in_).address;
    }
    const worker::SequenceOutcome outcome =
        device_.run({}, {&launch, 1}, worker::RunMode::full, k_deadline_s);
    if (outcome.fault) output.trouble = outcome.fault->message;
    device_.unload(module);
  } catch (const Error& error) {
    output.trouble = error.what();
  }
  if (!output.trouble.empty()) return output;
  output.bytes.resize(output_bytes(snippet));
  device_.read(out_, 0, output.bytes);
  return output;
}

}  // namespace kernelites::recorded
