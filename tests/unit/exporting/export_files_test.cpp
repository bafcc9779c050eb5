// SPDX-License-Identifier: Apache-2.0
// An export is written whole or not at all, over nothing but another export, and under names of ours.
#include "tools/exporting/export_files.h"

#include <fstream>

#include "engine/core/error.h"
#include "engine/core/json.h"
#include "tests/support/catch.h"
#include "tests/support/temporary_folder.h"

using namespace kernelites;
namespace fs = std::filesystem;

namespace {

const std::vector<ExportFile> k_first{{"MANIFEST.json", "{\"kernelites_export\": 1}"},
                                      {"src/a.cpp", "first"}};
const std::vector<ExportFile> k_second{{"MANIFEST.json", "{\"kernelites_export\": 1}"},
                                       {"src/b.cpp", "second"}};

std::size_t entries(const fs::path& folder) {
  return static_cast<std::size_t>(std::distance(fs::directory_iterator(folder), fs::directory_iterator{}));
}

}  // namespace

TEST_CASE("an export replaces an older one and leaves nothing of it, nor anything beside it") {
  TemporaryFolder folder;
  const fs::path to = folder.path() / "out";
  write_export(to, k_first);
  CHECK(read_text(to / "src" / "a.cpp") == "first");
  write_export(to, k_second);
  CHECK(read_text(to / "src" / "b.cpp") == "second");
  CHECK_FALSE(fs::exists(to / "src" / "a.cpp"));
  CHECK(entries(folder.path()) == 1);
}

TEST_CASE("a folder that is no export, a file and a link are refused and stay as they are") {
  TemporaryFolder folder;
  fs::create_directories(folder.path() / "work");
  std::ofstream(folder.path() / "work" / "thesis.tex") << "years";
  std::ofstream(folder.path() / "file") << "text";
  fs::create_symlink("work", folder.path() / "link");
  for (const char* name : {"work", "file", "link", "missing/out"})
    CHECK_THROWS_AS(write_export(folder.path() / name, k_first), ConfigError);
  CHECK(read_text(folder.path() / "work" / "thesis.tex") == "years");
  CHECK(entries(folder.path()) == 3);
  fs::create_directories(folder.path() / "empty");
  write_export(folder.path() / "empty", k_first);
  CHECK(read_text(folder.path() / "empty" / "src" / "a.cpp") == "first");
}

TEST_CASE("an export of another run, task or kind is not replaced unasked") {
  TemporaryFolder folder;
  const fs::path to = folder.path() / "out";
  const ExportIdentity own{.target = "cpp", .task = "rmsnorm", .run_started = "1700000000"};
  CHECK_NOTHROW(check_same_export(to, own));
  write_export(to, {{"MANIFEST.json",
                     R"({"kernelites_export": 1, "target": "cpp", "task": {"name": "rmsnorm"},
                         "run": {"started_unix_s": "1700000000"}})"}});
  CHECK_NOTHROW(check_same_export(to, own));
  const auto words_for = [&](const ExportIdentity& wanted) {
    try {
      check_same_export(to, wanted);
    } catch (const ConfigError& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  CHECK_THAT(words_for({"cu", "rmsnorm", "1700000000"}), Catch::Contains("this run as cpp"));
  CHECK(export_words(folder.path() / "nothing") == "");
  CHECK(export_words(to) == "an export");
  CHECK_THAT(words_for({"cpp", "rmsnorm", "1700000001"}), Catch::Contains("another run of rmsnorm"));
  CHECK_THAT(words_for({"cpp", "softmax", "1700000000"}),
             Catch::Contains("task rmsnorm") && Catch::Contains("--replace"));
  write_export(to, k_first);  // older programs wrote less
  CHECK_THAT(words_for(own), Catch::Contains("does not say of what"));
}

TEST_CASE("no path leads out of the folder, and none is written twice") {
  TemporaryFolder folder;
  const fs::path to = folder.path() / "out";
  for (const char* path : {"../a", "a/../b", "/etc/x", ".hidden", "a//b", "a/", "", "a b", "a\nb"})
    CHECK_THROWS_AS(write_export(to, {{path, "x"}}), Error);
  CHECK_THROWS_AS(write_export(to, {{"a", "x"}, {"a", "y"}}), Error);
  CHECK(entries(folder.path()) == 0);
}
