// SPDX-License-Identifier: Apache-2.0
// The command line: wrong input is one sentence and exit code 2, and changes nothing.
#include "tools/command_line.h"

#include <fstream>
#include <sstream>

#include "archive/archive.h"
#include "archive/knowledge.h"
#include "engine/core/task.h"
#include "tests/support/catch.h"
#include "tests/support/sample_effects.h"
#include "tests/support/temporary_folder.h"
#include "tests/unit/search/search_rig.h"
#include "tests/unit/tools/called_program.h"
#include "tools/inspect/text_table.h"

using namespace kernelites;
using test::call;
using test::Called;
namespace fs = std::filesystem;

namespace {

std::size_t files_in(const fs::path& folder) {
  std::size_t count = 0;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) count += entry.is_regular_file() ? 1 : 0;
  return count;
}

}  // namespace

TEST_CASE("wrong input is one clear sentence, exit code 2, and changes nothing") {
  TemporaryFolder folder;
  const std::string run = (folder.path() / "run").string();
  const std::string file = (folder.path() / "k.cu").string();
  const std::string config = (folder.path() / "config.json").string();
  const std::string broken = (folder.path() / "broken.json").string();
  const std::string foreign = (folder.path() / "foreign").string();
  std::ofstream(file) << "__global__ void k() {}\n";
  std::ofstream(config) << "{\"budgte\": 1}";
  std::ofstream(broken) << "{\"task\": ";
  fs::create_directories(foreign);
  std::ofstream(foreign + "/run.db") << "this is no database, and long enough to be looked at as one: "
                                     << std::string(200, 'x');
  struct Row {
    std::vector<std::string> arguments;
    std::string word;
  };
  const Row rows[] = {
      {{}, "subcommand"},
      {{"fly"}, "fly"},
      {{"run"}, "--task"},
      {{"run", "--task"}, "--task"},
      {{"run", "--task", "no_such_task", "--out", run}, "rmsnorm"},
      {{"run", "--task", "../tasks/rmsnorm", "--out", run}, "--task"},
      {{"run", "--task", "rmsnorm", "--out", run, "--speed", "9"}, "--speed"},
      {{"run", "--task", "rmsnorm", "--out", run, "--budget-usd", "many"}, "--budget-usd"},
      {{"run", "--task", "rmsnorm", "--out", run, "--budget-candidates", "-1"}, "candidates"},
      {{"run", "--task", "rmsnorm", "--out", run, "--device", "tpu"}, "auto, gpu or vgpu"},
      {{"run", "--task", "rmsnorm", "--out", run, "--batch"}, "--device"},
      {{"run", "--task", "rmsnorm", "--out", run, "--launch", "ssh host"}, "--worker"},
      {{"run", "--task", "rmsnorm", "--out", run, "--endpoint", "telepathy"}, "telepathy"},
      {{"run", "--task", "rmsnorm", "--out", run, "--endpoint", "openai:m@http://127.0.0.1:1/v1"},
       "127.0.0.1:1"},
      {{"run", "--config", config, "--out", run}, "budgte"},
      {{"run", "--config", broken, "--out", run}, "broken.json"},
      {{"run", "--config", "/no/such/file.json", "--out", run}, "/no/such/file.json"},
      {{"run", "--task", "rmsnorm", "--out", foreign}, "run.db"},
      {{"run", "--task", "rmsnorm", "--data", foreign, "--out", run}, "--data"},
      {{"elites", run}, run},
      {{"elites", foreign}, "is not a database"},
      {{"show", run, "1"}, run},
      {{"dump", run}, run},
      {{"evaluate", file, "--task", "no_such_task"}, "no_such_task"},
      {{"evaluate", "/no/such/file.cu", "--task", "rmsnorm"}, "/no/such/file.cu"},
      {{"evaluate", file, "--task", "rmsnorm", "--tune", "BN=64"}, "BN=64"},
      {{"evaluate", file, "--task", "rmsnorm", "--device", "abacus"}, "--device"},
      {{"tune", file, "--task", "rmsnorm"}, "no tunables"},
      {{"tasks", "no_such_task"}, "task: no_such_task"},
      {{"run", "--task", "rmsnorm", "--out", run, "--knowledge", foreign + "/run.db"}, "run.db"},
      {{"knowledge"}, "subcommand"},
      {{"knowledge", "list", run + ".db"}, run},
      {{"knowledge", "import", run + ".db", foreign + "/run.db"}, "run.db"},
      {{"knowledge", "export", run + ".db", run + "2.db"}, run},
  };
  const std::size_t before = files_in(folder.path());
  for (const Row& row : rows) {
    const Called result = call(row.arguments);
    INFO((row.arguments.empty() ? "" : row.arguments[0]) << ": " << result.err);
    CHECK(result.code == exit_wrong);
    CHECK_THAT(result.err, Catch::Contains(row.word));
    CHECK(std::count(result.err.begin(), result.err.end(), '\n') == 1);
    CHECK(result.out.empty());
    CHECK(files_in(folder.path()) == before);
    CHECK_FALSE(fs::exists(run));
  }
}

TEST_CASE("counters that cannot be read are trouble with a reason, not a table without rows") {
  const Called result = call({"profile", "--task", "softmax_row", "--device", "vgpu"});
  CHECK(result.code == exit_trouble);
  CHECK_THAT(result.err, Catch::Contains("on a GPU"));
  CHECK(result.out.empty());
}

TEST_CASE("a slip of the hand, a missing thing and a word too many are told as such") {
  const TemporaryFolder folder;
  const std::string run = (folder.path() / "run").string();
  const std::string file = (folder.path() / "k.cu").string();
  std::ofstream(file) << "__global__ void k() {}\n";
  const std::pair<std::vector<std::string>, std::string> rows[] = {
      {{"elite"}, "did you mean \"elites\"?"},
      {{"archive", "verfy", run}, "did you mean \"verify\"?"},
      {{"archive", "frob", run}, "frob"},
      {{"rank", file, "--min", "2"}, "not expected: --min 2"},
      {{"run", "--budget-candidate", "3"}, "--budget-candidate 3, did you mean \"--budget-candidates\"?"},
      {{"bench", "--tsk", "rmsnorm"}, "--task is required; not expected: --tsk, did you mean \"--task\"?"},
      {{"evaluate", run + ".cu", "--task", "rmsnorm"}, "there is no such file"},
      {{"rank", "/no/such/trace.json"}, "no such file"},
      {{"evaluate", file, "--task", "rmsnormm"}, "did you mean \"rmsnorm\"?"},
      {{"new-task", run, "--like", "nope"}, "--like"},
      {{"new-task", run, "--like", "rmsnrom"}, "did you mean \"rmsnorm\"?"},
      {{"diff", run, "2"}, "AFTER"},
      {{"profile", file, "--task", "rmsnorm", "--tune", "BN=64"}, "BN=64"},
      {{"report", run, "--out", run + "/no/such.html"}, "no folder"},
      {{"bench", "--task", "softmax"}, "did you mean softmax_row?"},
      {{"run", "--budget-candidates", "abc"}, "--budget-candidates: abc: expected a whole number"},
      {{"compare", run, "--at", "-3"}, "--at: Value -3 not in range 1 to 1000000000"},
      {{"run", "--task", "rmsnorm", "--out", run, "--seed", "-1"}, "--seed: -1: expected 0 or more"},
      {{"explain", run, "2", "--width", "-1"}, "--width: -1: expected 0 or more"},
      {{"bench", file, file, "--task", "rmsnorm"}, "k.cu: is given twice"},
      {{"run", "--budget-usd", "much"}, "--budget-usd: much: expected a number"},
      {{"evaluate", (fs::path(KERNELITES_SOURCE_DIR) / "kernels_seed/softmax_row/vectorised.cu").string(),
        "--task", "softmax_row", "--tune", "BLOCK_MIN=77"},
       "the file declares"},
      {{"evaluate", (fs::path(KERNELITES_SOURCE_DIR) / "kernels_seed/softmax_row/vectorised.cu").string(),
        "--task", "softmax_row", "--tune", "BLOCK=128"},
       "of the file: BLOCK_MIN, VECTORS_WANTED"},
  };
  for (const auto& [arguments, words] : rows) {
    const Called result = call(arguments);
    INFO(arguments[0] << ": " << result.err);
    CHECK(result.code == exit_wrong);
    CHECK(result.err.find(words) != std::string::npos);
  }
}

TEST_CASE("every command has help with an example") {
  for (const char* name : {"run", "elites", "show", "lineage", "diff", "explain", "log", "evaluate", "tune",
                           "tasks", "knowledge", "rank", "dump"}) {
    const Called result = call({name, "--help"});
    CHECK(result.code == exit_done);
    CHECK_THAT(result.out,
               Catch::Contains("Example: kernelites " + std::string(name)) && Catch::Contains("--json"));
  }
  CHECK_THAT(call({"--help"}).out, Catch::Contains("evaluate") && Catch::Contains("Exit codes"));
}

TEST_CASE("a worker that cannot work is trouble of the machine, with its words") {
  TemporaryFolder folder;
  const fs::path worker = folder.path() / "worker.sh";
  std::ofstream(worker) << "#!/bin/sh\nexec python3 " KERNELITES_SOURCE_DIR
                           "/tests/support/fake_worker.py problem "
                        << folder.path().string() << "\n";
  fs::permissions(worker, fs::perms::owner_all);
  const Called result = call(
      {"run", "--task", "rmsnorm", "--out", (folder.path() / "run").string(), "--worker", worker.string()});
  CHECK(result.code == exit_trouble);
  CHECK_THAT(result.err, Catch::Contains("no CUDA driver"));
  CHECK_FALSE(fs::exists(folder.path() / "run" / "run.db"));
}

TEST_CASE("tasks lists every task and shows one in detail") {
  const Called all = call({"tasks"});
  CHECK(all.code == exit_done);
  CHECK_THAT(all.out, Catch::Contains("rmsnorm") && Catch::Contains("gqa_decode_splitkv"));
  CHECK_THAT(call({"tasks", "rmsnorm"}).out, Catch::Contains("llama3_8b_prefill"));
  CHECK(Json::parse(call({"tasks", "--json"}).out).size() >= 2);
}

TEST_CASE("elites, show and dump explain a run") {
  SearchRig rig;
  FakeEvaluator evaluator;
  FakeModel model;
  rig.run(evaluator, &model);
  const std::string folder = rig.folder.path().string();
  const Called elites = call({"elites", folder});
  CHECK(elites.code == exit_done);
  CHECK_THAT(elites.out,
             Catch::Contains("shared/fma/tile") && Catch::Contains("modelled") && Catch::Contains("wide"));
  const Json grid = Json::parse(call({"elites", folder, "--json"}).out);
  CHECK(grid.at("elites").size() > 2);
  const std::string id = grid.at("elites").at(0).at("id").get<std::string>();

  const Called shown = call({"show", folder, id.substr(0, 10), "--prompt"});
  CHECK(shown.code == exit_done);
  CHECK_THAT(shown.out, Catch::Contains("__global__") && Catch::Contains("lineage") &&
                            Catch::Contains("speed-up over the baseline"));
  CHECK(Json::parse(call({"show", folder, "1", "--json"}).out).at("operator") == "seed");
  CHECK(call({"show", folder, "2", "--source"}).out == rig.seeds[1].candidate.source);
  CHECK(call({"show", folder, "999"}).code == exit_wrong);
  CHECK(call({"show", folder, "zz"}).code == exit_wrong);

  const Called tree = call({"lineage", folder});
  CHECK_THAT(tree.out, Catch::Contains("#1 seed") && Catch::Contains("`- #") && Catch::Contains("elite of"));
  const Json nodes = Json::parse(call({"lineage", folder, "--all", "--json"}).out);
  CHECK(nodes.size() == rig.sink.count("told"));
  CHECK(nodes.at(0).at("parent").is_null());
  CHECK(call({"lineage", folder, "999"}).code == exit_wrong);

  const Called log = call({"log", folder, "--follow"});  // of a run that has stopped: it ends
  CHECK_THAT(log.out, Catch::Contains("stopped: ") && Catch::Contains("#1 seed"));
  const std::string lines = call({"log", folder, "--json"}).out;
  CHECK(static_cast<std::size_t>(std::count(lines.begin(), lines.end(), '\n')) == rig.sink.events.size());

  CHECK(call({"dump", folder}).out == rig.dump_text());
  CHECK(call({"dump", folder, "--signature"}).out.size() == 65);
}

TEST_CASE("status, prompt and recorded replies show what a run asked and paid") {
  SearchRig rig;
  rig.config.operators = {{"refine", 1}};
  rig.config.budget.candidates = 3;
  FakeEvaluator evaluator;
  FakeModel model;
  rig.run(evaluator, &model);
  const std::string run = rig.folder.path().string();
  const Called status = call({"status", run});
  CHECK(status.code == exit_done);
  CHECK_THAT(status.out, Catch::Contains("refine") && Catch::Contains("3 of 3") && Catch::Contains("elites"));
  const Json json = Json::parse(call({"status", run, "--json"}).out);
  CHECK(json.at("arms").size() == 2);
  CHECK(json.at("spent").at("usd").get<double>() > 0);

  Archive archive = Archive::open_read_only(rig.folder.path());
  const ModelCallRecord sent = archive.model_calls(3).at(0);
  const Json calls = Json::parse(call({"prompt", run, "3", "--json"}).out);
  CHECK(calls.at(0).at("messages") == sent.prompt);
  CHECK(calls.at(0).at("digest") == sent.prompt_digest);
  const Json next = Json::parse(call({"prompt", run, "1", "--as-parent-of", "agent", "--json"}).out);
  CHECK(next.at("tools").size() == 9);
  CHECK_THAT(call({"prompt", run, "1"}).err, Catch::Contains("--as-parent-of"));
  CHECK_THAT(call({"dump", run, "--replies"}).out, Catch::Contains(sent.prompt_digest));
}

TEST_CASE("show of a variation that gave no candidate tells why, with what was asked") {
  SearchRig rig;
  rig.config.operators = {{"refine", 1}};
  rig.config.barren_max = 2;
  FakeEvaluator evaluator;
  FakeModel model;
  model.always = "I would rather not.";
  rig.run(evaluator, &model);
  const std::string run = rig.folder.path().string();
  const auto refused = Archive::open_read_only(rig.folder.path()).rejections();
  REQUIRE_FALSE(refused.empty());
  const std::string number = std::to_string(refused.front().ordinal);
  CHECK_THAT(call({"explain", run, number}).err,
             Catch::Contains("gave no candidate (" + refused.front().reason));
  CHECK_THAT(call({"diff", run, "1", number}).err, Catch::Contains("gave no candidate"));
  CHECK_THAT(call({"show", run, "5d"}).err, Catch::Contains("too short for an id"));
  const Called shown = call({"show", run, "#" + number});
  CHECK(shown.code == exit_done);
  CHECK_THAT(shown.out, Catch::Contains(refused.front().reason) && Catch::Contains(refused.front().message) &&
                            Catch::Contains("from #") && Catch::Contains("--prompt"));
  CHECK_THAT(call({"show", run, number, "--prompt"}).out, Catch::Contains("I would rather not."));
  const Json json = Json::parse(call({"show", run, number, "--json"}).out);
  CHECK(json.at("rejection").at("reason") == refused.front().reason);
  CHECK_THAT(call({"show", run, number, "--source"}).err, Catch::Contains("no source"));
}

TEST_CASE("judge names its own option where the model is none") {
  SearchRig rig;
  rig.open();
  const Called result = call({"judge", rig.folder.path().string(), "--judge", "none"});
  CHECK(result.code == exit_wrong);
  CHECK_THAT(result.err,
             Catch::Contains("--judge: none: expected openai:MODEL") && !Catch::Contains("--endpoint"));
}

TEST_CASE("adopt refuses a copy of a seed, whatever its name") {
  TemporaryFolder folder;
  const fs::path copy = folder.path() / "mine.cu";
  fs::copy_file(fs::path(KERNELITES_SOURCE_DIR) / "kernels_seed" / "rmsnorm" / "naive.cu", copy);
  const Called result = call({"adopt", copy.string(), "--task", "rmsnorm", "--data", KERNELITES_SOURCE_DIR});
  CHECK(result.code == exit_wrong);
  CHECK_THAT(result.err, Catch::Contains("is the seed naive.cu, byte for byte"));
}

TEST_CASE("a copy of a task keeps the comments of task.json, under its own name") {
  TemporaryFolder folder;
  const fs::path task = folder.path() / "copy";
  REQUIRE(call({"new-task", task.string(), "--like", "rmsnorm", "--data", KERNELITES_SOURCE_DIR}).code ==
          exit_done);
  const std::string text = read_text(task / "task.json");
  const std::string origin = read_text(fs::path(KERNELITES_SOURCE_DIR) / "tasks" / "rmsnorm" / "task.json");
  CHECK_THAT(text, Catch::Contains("\"name\": \"copy\""));
  CHECK(std::count(text.begin(), text.end(), '\n') == std::count(origin.begin(), origin.end(), '\n'));
  CHECK_THAT(text, Catch::Contains("\n  // "));
}

TEST_CASE("knowledge files are listed, shown, joined and forgotten from") {
  TemporaryFolder folder;
  const std::string file = (folder.path() / "a.db").string(), other = (folder.path() / "b.db").string();
  EffectSet set;
  Knowledge::open(file).join(set);
  CHECK_THAT(call({"knowledge", "list", file}).out,
             Catch::Contains("0 effects") && Catch::Contains("none: "));
  for (int change = 0; change < 4; ++change) set.add(sample_effect(change));
  Knowledge::open(file).join(set);
  CHECK_THAT(call({"knowledge", "list", file, "--arch", "sm_90"}).out,
             Catch::Contains("use_async_copies") && Catch::Contains("4 effects"));
  const Json list = Json::parse(call({"knowledge", "list", file, "--json"}).out);
  CHECK(list.at("lessons").at(0).at("helped") == 4);
  const std::string shown = call({"knowledge", "show", file, "use_async_copies"}).out;
  CHECK_THAT(shown, Catch::Contains("op_async_copies 0 -> 12") && Catch::Contains("measured, n = 60"));
  CHECK(Json::parse(call({"knowledge", "show", file, sample_effect(2).id, "--json"}).out).size() == 1);
  CHECK(call({"knowledge", "show", file, "no_such_technique"}).code == exit_wrong);
  CHECK_THAT(call({"knowledge", "export", file, other}).out, Catch::Contains("4 effects added"));
  CHECK(Json::parse(call({"knowledge", "import", other, file, "--json"}).out).at("added") == 0);
  CHECK(call({"knowledge", "forget", file}).code == exit_wrong);
  CHECK_THAT(call({"knowledge", "forget", file, sample_effect(1).id.substr(0, 12)}).out,
             Catch::Contains("1 effects forgotten"));
  call({"knowledge", "import", file, other});
  CHECK(Knowledge::open_read_only(file).read().effects.size() == 3);
  CHECK_THAT(call({"knowledge", "list", "--help"}).out, Catch::Contains("--shape-class"));
}

TEST_CASE("a run's effects are imported from its folder") {
  SearchRig rig;
  FakeEvaluator evaluator;
  FakeModel model;
  rig.run(evaluator, &model);
  const std::string file = (rig.folder.path() / "k.db").string();
  CHECK(call({"knowledge", "import", file, rig.folder.path().string()}).code == exit_done);
  CHECK(Knowledge::open_read_only(file).read().effects.empty());  // the fake compiles nothing: no measures
}

TEST_CASE("a run that another process writes is refused") {
  SearchRig rig;
  rig.task = load_task(fs::path(KERNELITES_SOURCE_DIR) / "tasks" / "rmsnorm");
  Archive archive = rig.open();
  const Called result = call({"run", "--task", "rmsnorm", "--out", rig.folder.path().string()});
  CHECK(result.code == exit_wrong);
  CHECK_THAT(result.err, Catch::Contains(rig.folder.path().string()));
}

TEST_CASE("a run keeps its task and its seed") {
  SearchRig rig;
  rig.open();
  const std::string folder = rig.folder.path().string();
  CHECK_THAT(call({"run", "--task", "rmsnorm", "--out", folder}).err, Catch::Contains("scaled_rows"));
  CHECK_THAT(call({"run", "--task", "rmsnorm", "--seed", "9", "--out", folder}).err,
             Catch::Contains("keeps its seed"));
}

TEST_CASE("a table aligns numbers right and words left") {
  CHECK(text_table({{"name", "n"}, {"a", "1"}, {"long", "100"}}) ==
        "name    n\n----  ---\na       1\nlong  100\n");
}

TEST_CASE("new-task writes tasks that load: a skeleton in either language, a copy of another task") {
  TemporaryFolder folder;
  struct Row {
    std::string name;
    std::vector<std::string> further;
    bool is_python;
  };
  const Row rows[] = {
      {"plain", {}, false}, {"python", {"--python"}, true}, {"copy", {"--like", "rmsnorm"}, false}};
  for (const Row& row : rows) {
    INFO(row.name);
    const fs::path task = folder.path() / row.name;
    std::vector<std::string> arguments{"new-task", task.string(), "--data", KERNELITES_SOURCE_DIR};
    arguments.insert(arguments.end(), row.further.begin(), row.further.end());
    const Called result = call(arguments);
    INFO(result.err);
    CHECK(result.code == exit_done);
    const Task loaded = load_task(task);
    CHECK(loaded.name == row.name);
    CHECK(fs::exists(task / "reference.py") == row.is_python);
    CHECK(fs::exists(task / "seeds" / "naive.cu"));
    CHECK(fs::exists(task / "negative" / "controls.json"));
  }
  CHECK(call({"new-task", (folder.path() / "copy").string(), "--like", "rmsnorm"}).code == exit_wrong);
  const Called nothing =
      call({"new-task", (folder.path() / "other").string(), "--from-flashinfer", "no_such_file.json"});
  CHECK(nothing.code == exit_wrong);
  CHECK_FALSE(fs::exists(folder.path() / "other"));
}
