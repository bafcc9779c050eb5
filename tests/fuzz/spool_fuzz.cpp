// SPDX-License-Identifier: Apache-2.0
// Replies that lie in a spool, and recordings.
#include "engine/llm/record.h"
#include "engine/llm/spool_endpoint.h"
#include "tests/fuzz/fuzz_folder.h"
#include "tests/fuzz/fuzzed_parser.h"

namespace kernelites::fuzz {
namespace {

void fuzz_reply_file(const FuzzFolder& folder, const char* extension, std::string_view text) {
  const auto start = std::chrono::steady_clock::now();
  SpoolEndpoint endpoint({.folder = folder.path() / "spool"}, {.steady = [start] { return start; }});
  ModelRequest request{.id = "1-0", .ordinal = 1, .messages = {{"user", "faster"}}};
  request.tools = {{"check", "checks", R"({"type": "object"})"}};
  endpoint.submit(std::move(request));
  std::filesystem::create_directories(folder.path() / "spool" / "replies");
  const auto file = folder.write(std::string("spool/replies/1-0.") + extension, text);
  endpoint.pump();
  const auto reply = endpoint.take();
  std::filesystem::remove(file);
  demand(reply.has_value() == !text.empty(), "a file that holds something is a reply");
}

}  // namespace

void fuzz_spool(std::string_view input) {
  static const FuzzFolder folder;
  fuzz_reply_file(folder, "json", input);
  fuzz_reply_file(folder, "md", input);
  is_taken([&] {
    const std::string text = recording_text(parse_recording(input, "recording.json"));
    demand(recording_text(parse_recording(text, "again")) == text,
           "a recording is read back as it was written");
  });
}

}  // namespace kernelites::fuzz
