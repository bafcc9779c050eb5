// SPDX-License-Identifier: Apache-2.0
// Records what every snippet leaves on the GPU of this machine: vgpu_record <file> [<part of a name>].
//
// Without a GPU: "vgpu_record --ptx <folder>" writes the modules, for a look at them or for ptxas, and
// "vgpu_record --replay <file>" runs all snippets on the virtual GPU and prints how they compare with the recording.
// With one, "vgpu_record --refused <part of a name>" tries what the virtual GPU refuses.
#include <fmt/format.h>

#include <cstdio>
#include <ctime>
#include <exception>
#include <filesystem>
#include <fstream>
#include <string_view>

#include "tests/vgpu/recorded/recording.h"
#include "tests/vgpu/recorded/snippet_run.h"
#include "tests/vgpu/recorded/snippet_tables.h"

using namespace kernelites;

namespace {

int write_modules(const std::filesystem::path& folder) {
  std::filesystem::create_directories(folder);
  int index = 0;
  for (const recorded::Snippet& snippet : recorded::all_snippets()) {
    std::ofstream file(folder / fmt::format("{:04}.ptx", index++));
    file << "// " << snippet.name << "\n" << recorded::module_text(snippet);
  }
  return 0;
}

int replay(const std::filesystem::path& path) {
  const recorded::Recording recording = recorded::read_recording(path);
  const auto device = worker::make_vgpu_device(1);
  recorded::SnippetBench bench(*device);
  int wrong = 0;
  for (const recorded::Snippet& snippet : recorded::all_snippets()) {
    const auto entry = recording.outputs.find(snippet.name);
    const recorded::SnippetOutput output = bench.run(snippet);
    std::string verdict = output.trouble;
    if (verdict.empty() && entry == recording.outputs.end()) verdict = "not recorded";
    if (verdict.empty() && entry->second.source != recorded::source_digest(snippet)) verdict = "changed";
    if (verdict.empty()) verdict = recorded::compare_with(snippet, entry->second, output.bytes);
    fmt::print("{}\t{}\t{}\n", snippet.family, snippet.name, verdict);
    wrong += verdict.empty() ? 0 : 1;
  }
  return wrong == 0 ? 0 : 1;
}

int record(const std::filesystem::path& path, std::string_view wanted) {
  const auto device = worker::make_gpu_device();
  char date[16] = {};
  const std::time_t now = std::time(nullptr);
  std::strftime(date, sizeof date, "%Y-%m-%d", std::gmtime(&now));
  recorded::Recording recording{.device = device->facts().kind,
                                .date = date,
                                .driver_version = device->facts().driver_version,
                                .outputs = {}};
  recorded::SnippetBench bench(*device);
  int failures = 0;
  for (const recorded::Snippet& snippet : recorded::all_snippets()) {
    if (snippet.name.find(wanted) == snippet.name.npos) continue;
    const recorded::SnippetOutput output = bench.run(snippet);
    if (output.trouble.empty()) {
      recording.outputs[snippet.name] = {recorded::source_digest(snippet),
                                         recorded::pack_outputs(snippet, output.bytes)};
    } else {
      fmt::print(stderr, "{}: {}\n", snippet.name, output.trouble);
      ++failures;
    }
  }
  recorded::write_recording(path, recording);
  fmt::print("{} snippets recorded on {}, {} failed\n", recording.outputs.size(), recording.device, failures);
  return failures == 0 ? 0 : 1;
}

/// Runs the refused snippets whose name contains `wanted` on this machine's GPU, until one ends the context.
int try_refused(std::string_view wanted) {
  const auto device = worker::make_gpu_device();
  recorded::SnippetBench bench(*device);
  for (const recorded::Family& family : recorded::refused_families()) {
    for (const recorded::Snippet& snippet : recorded::expand(family.name, family.rows)) {
      if (snippet.name.find(wanted) == snippet.name.npos) continue;
      const recorded::SnippetOutput output = bench.run(snippet);
      fmt::print("{}\t{}\n", snippet.name, output.trouble.empty() ? "runs" : output.trouble);
      if (!output.trouble.empty()) return 1;
    }
  }
  return 0;
}

/// Adds the outputs of one recording to another file. What is exact and holds one digest for each lane becomes shorter.
int merge(const std::filesystem::path& from, const std::filesystem::path& into) {
  recorded::Recording recording = recorded::read_recording(from);
  if (std::filesystem::exists(into)) recording.outputs.merge(recorded::read_recording(into).outputs);
  recorded::Recording kept = recording;
  kept.outputs.clear();
  for (const recorded::Snippet& snippet : recorded::all_snippets()) {
    const auto entry = recording.outputs.find(snippet.name);
    if (entry == recording.outputs.end()) continue;
    recorded::RecordedOutput& output = kept.outputs[snippet.name] = entry->second;
    if (!snippet.name.ends_with(" digest") || !output.digest.empty()) continue;
    output.digest = recorded::output_digest(output.packed);
    output.packed.clear();
  }
  recorded::write_recording(into, kept);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    if (argc == 3 && std::string_view(argv[1]) == "--ptx") return write_modules(argv[2]);
    if (argc == 3 && std::string_view(argv[1]) == "--replay") return replay(argv[2]);
    if (argc == 3 && std::string_view(argv[1]) == "--refused") return try_refused(argv[2]);
    if (argc == 4 && std::string_view(argv[1]) == "--merge") return merge(argv[2], argv[3]);
    if (argc == 2 || argc == 3) return record(argv[1], argc == 3 ? argv[2] : "");
    fmt::print(
        stderr,
        "vgpu_record <file> [<part of a name>] | vgpu_record --ptx <folder> | vgpu_record --replay <file> | "
        "vgpu_record --merge <from> <into> | vgpu_record --refused <part of a name>\n");
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", error.what());
  }
  return 2;
}
