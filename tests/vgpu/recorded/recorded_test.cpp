// SPDX-License-Identifier: Apache-2.0
// Every recorded snippet gives on the virtual GPU what it gave on the device, bit by bit or within its rule.
#include <set>
#include <string>

#include "tests/support/catch.h"
#include "tests/vgpu/recorded/recording.h"
#include "tests/vgpu/recorded/snippet_run.h"
#include "tests/vgpu/recorded/snippet_tables.h"

using namespace kernelites;
using namespace kernelites::recorded;

namespace {

const Recording& the_recording() {
  static const Recording recording =
      read_recordings(std::string(KERNELITES_SOURCE_DIR) + "/tests/vgpu/recorded");
  return recording;
}

enum class Answer { replayed, unsupported };

Answer check_snippet(SnippetBench& bench, const Snippet& snippet) {
  INFO(snippet.name << "   " << snippet.body);
  const auto recorded = the_recording().outputs.find(snippet.name);
  if (recorded == the_recording().outputs.end()) {
    FAIL_CHECK("not recorded: see docs/vgpu.md");
    return Answer::replayed;
  }
  const bool is_whole = !recorded->second.digest.empty() ||
                        unpack_outputs(snippet, recorded->second.packed).size() == output_bytes(snippet);
  if (recorded->second.source != source_digest(snippet) || !is_whole) {
    FAIL_CHECK("changed since it was recorded: see docs/vgpu.md");
    return Answer::replayed;
  }
  const SnippetOutput replayed = bench.run(snippet);
  if (replayed.trouble.find("vgpu cannot execute") != std::string::npos) return Answer::unsupported;
  if (!replayed.trouble.empty()) {
    FAIL_CHECK(replayed.trouble);
    return Answer::replayed;
  }
  CHECK(compare_with(snippet, recorded->second, replayed.bytes) == "");
  return Answer::replayed;
}

int check_families(const std::vector<Family>& families) {
  const auto device = worker::make_vgpu_device(1);
  SnippetBench bench(*device);
  int unsupported = 0;
  for (const Family& family : families) {
    for (const Snippet& snippet : expand(family.name, family.rows))
      unsupported += check_snippet(bench, snippet) == Answer::unsupported;
  }
  return unsupported;
}

}  // namespace

TEST_CASE("integer snippets replay", "[recorded]") { CHECK(check_families(integer_families()) == 0); }
TEST_CASE("f32, f64 and approximate snippets replay", "[recorded]") {
  CHECK(check_families(float_families()) == 0);
}
TEST_CASE("f16 and bf16 snippets replay", "[recorded]") { CHECK(check_families(half_families()) == 0); }
TEST_CASE("conversion snippets replay", "[recorded]") { CHECK(check_families(conversion_families()) == 0); }
TEST_CASE("comparison snippets replay", "[recorded]") { CHECK(check_families(predicate_families()) == 0); }
TEST_CASE("snippets across lanes replay", "[recorded]") { CHECK(check_families(warp_families()) == 0); }
TEST_CASE("memory and atomic snippets replay", "[recorded]") {
  CHECK(check_families(memory_families()) <= 2);
}
TEST_CASE("matrix snippets replay", "[recorded]") { CHECK(check_families(matrix_families()) == 0); }

TEST_CASE("wgmma snippets replay", "[recorded]") { CHECK(check_families(wgmma_families()) == 0); }
TEST_CASE("mbarrier and TMA snippets replay", "[recorded]") { CHECK(check_families(async_families()) == 0); }
TEST_CASE("cluster snippets replay", "[recorded]") { CHECK(check_families(cluster_families()) == 0); }

TEST_CASE("tensor copies that an H100 ends with an illegal instruction are refused", "[recorded]") {
  const auto device = worker::make_vgpu_device(1);
  SnippetBench bench(*device);
  for (const Family& family : refused_families()) {
    for (const Snippet& snippet : expand(family.name, family.rows)) {
      INFO(snippet.name);
      CHECK_THAT(bench.run(snippet).trouble, Catch::Contains(snippet.name.substr(0, snippet.name.find(':'))));
    }
  }
}

TEST_CASE("every recorded output belongs to a snippet, and names are unique", "[recorded]") {
  std::set<std::string> names;
  for (const Snippet& snippet : all_snippets()) CHECK(names.insert(snippet.name).second);
  for (const auto& [name, output] : the_recording().outputs) CHECK(names.count(name) == 1);
  CHECK(names.size() >= 250);
}
