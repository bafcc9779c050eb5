// SPDX-License-Identifier: Apache-2.0
// kernelites run: starts a run, or goes on with the one that is in the folder.
#include <fmt/format.h>

#include <ctime>
#include <memory>

#include "engine/core/device_names.h"
#include "engine/core/error.h"
#include "engine/core/fresh_folder.h"
#include "engine/llm/http_loop.h"
#include "engine/llm/record.h"
#include "engine/search/console_sink.h"
#include "engine/search/event_log.h"
#include "engine/search/lesson_book.h"
#include "engine/search/loop.h"
#include "engine/search/recorded_config.h"
#include "engine/search/recordings.h"
#include "engine/search/run_folder.h"
#include "engine/search/run_knowledge.h"
#include "engine/variation/operator_table.h"
#include "evaluators/batch_evaluator.h"
#include "tools/command_line.h"
#include "tools/data_root.h"
#include "tools/export_lessons.h"
#include "tools/live/live_screen.h"
#include "tools/model_key.h"
#include "tools/new_run.h"
#include "tools/option_checks.h"
#include "tools/run_endpoints.h"
#include "tools/run_session.h"
#include "tools/stop_signals.h"
#include "tools/terminal.h"
#include "tools/worker_setup.h"

namespace kernelites {
namespace {

struct RunOptions {
  std::string config_file;
  std::string out;
  std::string data;
  std::vector<std::string> launch;
  std::vector<std::string> endpoints;
  std::string fork;
  std::vector<std::string> operators;
  RunConfig given;  ///< what options said; which ones is asked of CLI11
  bool is_json = false;
  bool is_plain = false;
};

/// Every event as a line of JSON on stdout, for --json.
class JsonSink : public EventSink {
 public:
  explicit JsonSink(std::ostream& out) : out_(out) {}
  void on_event(const Json& event) override {
    out_ << event.dump(-1, ' ', false, Json::error_handler_t::replace) << std::endl;
  }

 private:
  std::ostream& out_;
};

/// NAME=SHARE words.
std::map<std::string, double> read_operators(const std::vector<std::string>& words) {
  std::map<std::string, double> operators;
  for (const std::string& word : words) {
    const std::size_t equals = word.find('=');
    try {
      operators[word.substr(0, equals)] =
          equals == std::string::npos ? 1 : std::stod(word.substr(equals + 1));
    } catch (const std::exception&) {
      throw ConfigError("--operators", word, "expected NAME or NAME=SHARE");
    }
  }
  return operators;
}

/// Those that may have a share, as words.
std::string shared_operators() {
  std::string names;
  for (const OperatorRow& row : operator_table())
    if (!row.is_scheduled) names += fmt::format("{}{}", names.empty() ? "" : ", ", row.name);
  return names;
}

/// A new run with the configuration and the replies of another: recorded replies where a prompt is the same; where it
/// is not, the endpoint that is given, or without one the recorded replies in turn.
RunConfig forked_config(const RunOptions& options, const std::filesystem::path& replies) {
  if (options.out.empty()) throw ConfigError("--fork", options.fork, "needs --out: the new run's folder");
  const Archive source = Archive::open_read_only(options.fork);
  RunConfig config = recorded_run_config(source.run().configuration, options.fork + ": configuration");
  config.endpoint = nullptr;
  if (config.seeds.empty()) config.seeds = seed_names(source);
  config.replies = std::filesystem::absolute(replies).string();
  return config;
}

/// Defaults, then what the run was started with, then the configuration file, then the options that were given.
RunConfig effective_config(const RunOptions& options, const CLI::App& command,
                           const std::optional<RunRecord>& resumed) {
  RunConfig config;
  if (!resumed && !options.fork.empty()) config = forked_config(options, RunFolder{options.out}.replies());
  if (resumed) config = recorded_run_config(resumed->configuration, options.out + ": configuration");
  if (!options.config_file.empty())
    config = parse_run_config(read_json(options.config_file), options.config_file, config);
  const auto given = [&](const char* name) { return command.count(name) > 0; };
  const RunConfig& said = options.given;
  if (given("--task")) config.task = said.task;
  if (given("--device")) config.device = said.device;
  if (given("--seed")) config.seed = said.seed;
  if (given("--endpoint"))
    config.endpoint =
        options.endpoints.size() == 1 ? Json(options.endpoints.front()) : Json(options.endpoints);
  if (given("--operators")) config.operators = read_operators(options.operators);
  if (given("--strategy")) config.strategy = said.strategy;
  if (given("--seeds")) config.seeds = said.seeds;
  if (given("--knowledge")) config.knowledge = said.knowledge;
  if (given("--batch")) config.is_batch = said.is_batch;
  if (given("--end-when-waiting")) config.ends_when_waiting = said.ends_when_waiting;
  if (given("--deterministic")) config.is_deterministic = said.is_deterministic;
  if (given("--patience")) {
    config.stagnation.is_on = said.stagnation.patience > 0;
    if (config.stagnation.is_on) config.stagnation.patience = said.stagnation.patience;
  }
  if (given("--in-flight")) config.in_flight = said.in_flight;
  if (given("--rounds")) config.rounds = said.rounds;
  if (given("--triage")) config.triage.mode = said.triage.mode;
  if (given("--budget-candidates")) config.budget.candidates = said.budget.candidates;
  if (given("--budget-minutes")) config.budget.minutes = said.budget.minutes;
  if (given("--budget-usd")) config.budget.usd = said.budget.usd;
  if (given("--budget-tokens")) config.budget.tokens = said.budget.tokens;
  if (given("--budget-device-s")) config.budget.device_s = said.budget.device_s;
  if (given("--workers")) config.workers.count = said.workers.count;
  if (given("--worker")) config.workers.program = said.workers.program;
  if (given("--launch")) set_launch(options.launch, config.workers);
  for (std::string& seed : config.seeds)  // a path holds from wherever the run goes on
    if (seed.find('/') != std::string::npos) seed = std::filesystem::absolute(seed).string();
  if (resumed && given("--seeds") &&
      config.seeds != recorded_run_config(resumed->configuration, options.out + ": configuration").seeds)
    throw ConfigError("--seeds", "", fmt::format("the run in {} keeps the seeds it began with", options.out));
  use_knowledge(config, !resumed);
  check_run_config(config, "command line");
  if (resumed && config.seed != resumed->seed)
    throw ConfigError(
        "--seed", "",
        fmt::format("the run in {} has seed {}; a run keeps its seed", options.out, resumed->seed));
  return config;
}

/// The task of a resumed run must be the one it began with.
void check_same_task(const std::string& folder, const RunRecord& run, const Task& task) {
  if (run.task_digest != task.digest)
    throw ConfigError(
        "--out", folder,
        fmt::format("holds a run of task {} as it was then (digest {}), not of {} (digest {}): "
                    "choose another folder",
                    run.task, run.task_digest.substr(0, 12), task.name, task.digest.substr(0, 12)));
}

std::string default_folder(const std::string& task) {
  const std::time_t now = std::time(nullptr);
  std::tm local{};
  localtime_r(&now, &local);
  char text[32];
  std::strftime(text, sizeof text, "%Y%m%d-%H%M%S", &local);
  return fmt::format("runs/{}-{}", std::filesystem::path(task).filename().string(), text);
}

/// Workers here or far away, or batch files: one of them is set.
struct Workers {
  std::unique_ptr<WorkerPool> pool;
  std::unique_ptr<BatchEvaluator> batch;
  Evaluator& evaluator() { return pool ? static_cast<Evaluator&>(*pool) : *batch; }
};

Workers open_workers(const RunConfig& config, const RunFolder& folder, const std::filesystem::path& program,
                     int stop_descriptor, const std::string& wanted_kind) {
  Workers workers;
  if (config.is_batch) {
    Provenance until_known;
    until_known.device.kind = "a device that batches are run on";
    workers.batch = std::make_unique<BatchEvaluator>(folder.batches(), until_known);
  } else {
    workers.pool = start_workers(config.workers, config.device, program, folder.worker_log(), stop_descriptor,
                                 wanted_kind);
  }
  return workers;
}

/// Elites of another harness, task or device prove nothing here.
void check_fresh(const Archive& archive, const Provenance& now, const std::string& folder) {
  for (const Elite& elite : archive.grid().elites())
    if (is_stale(elite, now))
      throw ConfigError(
          "--out", folder,
          fmt::format("holds elites proven on {} by harness {}; this is {} with harness {}: "
                      "start a new run",
                      elite.device, elite.harness_version, now.device.kind, now.harness_version));
}

/// What to do next, in words or as one more line of JSON.
void report_end(const LoopEnd& end, const Workers& workers, const RunConfig& config, const RunFolder& folder,
                bool is_json, Program& program) {
  const bool is_waiting = end.reason == StopReason::waiting && workers.batch;
  const auto files = is_waiting ? workers.batch->unanswered() : decltype(workers.batch->unanswered()){};
  for (const auto& [in, out] : files) {
    if (is_json)
      program.out << Json{{"event", "batch_written"}, {"in", in.string()}, {"out", out.string()}}.dump()
                  << "\n";
    else
      program.out << fmt::format(
          "batch written: run `kernelites-worker --device {} --batch {} {}` there and start the "
          "same run again\n",
          config.device, in.string(), out.string());
  }
  if (is_json) return;
  if (is_waiting && files.empty())
    program.out << "waiting for replies in " << folder.spool().string() << "\n";
  program.out << fmt::format("kernelites elites {} shows the result; {}\n", folder.root.string(),
                             way_on(end.reason));
}

/// How the run is shown: `live` is the sink where it is a picture that is redrawn.
struct Shown {
  std::unique_ptr<EventSink> sink;
  LiveScreen* live = nullptr;
};

Shown shown_as(const RunOptions& options, const RunConfig& config, const Archive& archive, const Clock& clock,
               Program& program) {
  if (options.is_json) return {.sink = std::make_unique<JsonSink>(program.out)};
  if (!program.is_terminal || options.is_plain)
    return {.sink = std::make_unique<ConsoleSink>(program.out, program.has_color && !options.is_plain)};
  auto live = std::make_unique<LiveScreen>(LiveScreen::Parts{.out = program.out,
                                                             .limits = config.budget,
                                                             .has_color = program.has_color,
                                                             .grid = [&archive] { return archive.grid(); },
                                                             .size = terminal_size,
                                                             .clock = clock});
  LiveScreen* const screen = live.get();
  return {.sink = std::move(live), .live = screen};
}

void make_folder(const RunFolder& folder) {
  std::error_code problem;
  make_private_folder(folder.root, problem);
  if (problem)
    throw ConfigError(folder.root.string(), "", "this folder cannot be made: " + problem.message());
}

/// Of the workers, or of the batch that they will read.
std::string kind_of_device(const Workers& workers, const RunConfig& config, const Provenance& now) {
  return workers.pool ? device_of(now) : device_kind(config.device);
}

void run(RunOptions& options, const CLI::App& command, Program& program) {
  const StopSignals stop;
  const DataRoot data = find_data_root(options.data, program.executable);
  // Everything that can be wrong is found before anything is made: wrong input changes nothing.
  std::optional<Archive> archive;
  if (!options.out.empty() && Archive::exists(options.out)) archive.emplace(Archive::open(options.out));
  const std::optional<RunRecord> resumed = archive ? std::optional(archive->run()) : std::nullopt;
  RunConfig config = effective_config(options, command, resumed);
  const Task task = find_task(config.task, data);
  if (resumed) check_same_task(options.out, *resumed, task);
  const bool is_answered = choose_endpoint(config, data.recording(task.name), resumed.has_value());
  const PromptLibrary prompts = PromptLibrary::load(data.prompts());
  const std::vector<Seed> seeds = find_seeds(task, data, config.seeds);
  if (config.is_batch && config.device == "auto")
    throw ConfigError("--device", "", "must be gpu or vgpu with --batch: nobody can look from here");
  const std::filesystem::path worker =
      config.is_batch ? std::filesystem::path() : worker_program(config.workers, program.executable);
  const Clock clock;
  HttpLoop http({}, clock);
  const RunFolder folder{options.out.empty() ? default_folder(task.name) : options.out};
  const EndpointContext context{
      .http = http, .clock = clock, .seed = config.seed, .run_folder = folder.root, .recordings = {}};
  const std::vector<EndpointConfig> wanted = endpoint_configs(config.endpoint);
  for (const EndpointConfig& one : wanted) probe_endpoint(one, context);

  make_folder(folder);
  Workers workers = open_workers(config, folder, worker, stop.descriptor(), kind_of_results(archive));
  Provenance now = workers.evaluator().provenance();
  now.task_digest = task.digest;
  if (archive && workers.pool) check_fresh(*archive, now, folder.root.string());
  const Key model_key = run_model_key(resumed, options.fork, wanted, config.is_deterministic);
  if (!archive) archive.emplace(begin_run(config, task, folder, options.fork, model_key));
  if (resumed && resumed->model_key.empty()) archive->set_model_key(model_key);
  if (!config.knowledge.empty()) import_knowledge(*archive, config.knowledge);
  if (resumed) archive->set_budget(run_config_json(config).at("budget"));
  const RunEndpoints endpoints(wanted, config.replies, context);

  program.err << model_key_warning(model_key, wanted, kind_of_device(workers, config, now) == "vgpu")
              << (resumed ? "" : begin_words(config, task.name, is_answered, command.count("--seeds") > 0));
  EventLog log(folder.events());
  const Shown shown = shown_as(options, config, *archive, clock, program);
  RunParts parts{
      .task = task,
      .config = config,
      .prompts = prompts,
      .seeds = seeds,
      .archive = *archive,
      .evaluator = workers.evaluator(),
      .endpoints = endpoints.set(),
      .device = kind_of_device(workers, config, now),
      .run_key = config.is_deterministic ? Key::fixed(fmt::format("golden {}", config.seed)) : Key::random(),
      .model_key = model_key,
      .clock = clock,
      .sinks = {&log, shown.sink.get()},
      .stop_descriptor = stop.descriptor(),
      .incidents = {},
      .steering = folder.steering()};
  LessonBook book(*archive, task, config.effect_min);
  if (!config.knowledge.empty()) parts.lessons = book.reader();
  // The loop asks between any two waits, which is also when a picture may be due.
  parts.incidents = [&] {
    if (shown.live) shown.live->tick();
    return workers.pool ? workers.pool->take_incidents() : std::vector<std::string>();
  };
  const LoopEnd end = run_to_its_end(parts, folder, data);
  if (workers.batch) workers.batch->write();
  if (!config.knowledge.empty()) export_lessons(*archive, task, config, options.is_json, program);
  report_end(end, workers, config, folder, options.is_json, program);
  program.exit_code = end.reason == StopReason::barren ? exit_trouble : exit_done;
}

}  // namespace

void add_run_command(CLI::App& command, Program& program) {
  auto options = std::make_shared<RunOptions>();
  RunConfig& given = options->given;
  command.add_option("--task", given.task, "Task name or folder");
  command.add_option("--config", options->config_file, "JSON file with comments; options win over it");
  command.add_option("--out", options->out,
                     "The run folder; an existing run goes on (default runs/TASK-TIME)");
  command.add_option("--device", given.device, "auto, gpu, vgpu or vgpu:rtx4090");
  command.add_option("--seed", given.seed, "Seed of every random decision")->check(check_not_negative);
  command.add_option("--seeds", given.seeds,
                     "Kernels to start from: names in the task's seed folder, or paths (default: all of the "
                     "folder; with recorded replies those that the recording began with)");
  command.add_option("--knowledge", given.knowledge,
                     "Knowledge file: lessons of earlier runs go into prompts, effects of this one into it");
  command
      .add_option("--endpoint", options->endpoints,
                  "openai:MODEL[@URL], spool[:FOLDER], replay:PATH, FILE.json, or none: the tuner alone "
                  "(default: replies recorded in the project's own run of the task, if there are); several "
                  "times: the bandit finds out whom to ask")
      ->allow_extra_args(false);
  command.add_option("--operators", options->operators,
                     "Shares of the operators that vary: NAME=SHARE words, of " + shared_operators());
  command.add_option(
      "--fork", options->fork,
      "Start a new run with the configuration and the recorded replies of this one; --endpoint answers "
      "prompts that it did not have (default: its replies in turn)");
  command.add_option("--budget-candidates", given.budget.candidates,
                     "Stop after so many candidates beyond the seeds");
  command.add_option("--budget-minutes", given.budget.minutes, "Stop after so many minutes");
  command.add_option("--budget-usd", given.budget.usd, "Stop before more is spent");
  command.add_option("--budget-tokens", given.budget.tokens, "Stop before more tokens are used");
  command.add_option("--budget-device-s", given.budget.device_s, "Stop after so many seconds of the device");
  command.add_option("--workers", given.workers.count,
                     "Worker processes, one per device; with several --launch: of each");
  command.add_option("--worker", given.workers.program, "The worker program, where it runs");
  command
      .add_option(
          "--launch", options->launch,
          "Words before the worker's command: \"ssh host\", \"srun -n1 --gpus=1\"; several times: workers of "
          "each (docs/cluster.md)")
      ->allow_extra_args(false);
  command.add_option("--in-flight", given.in_flight,
                     "Variations under way together; with --batch a generation");
  command.add_option("--patience", given.stagnation.patience,
                     "Variations without a faster elite that end the run; 0: nothing ends it");
  command.add_option("--rounds", given.rounds, "Paired rounds of a duel");
  command.add_option("--triage", given.triage.mode,
                     "What modelled times do to duels on a GPU: off, order, or skip those far behind");
  command.add_option("--strategy", given.strategy,
                     "How parents are chosen: map-elites, or a control: best-of-n, hill-climb, random");
  command.add_flag("--batch", given.is_batch, "Evaluate through batch files in RUN/batches");
  command.add_flag("--end-when-waiting", given.ends_when_waiting,
                   "End when only replies in the spool can bring the run on; started again it takes them");
  command.add_flag("--deterministic", given.is_deterministic,
                   "Golden run: fixed key, results told in the order asked");
  command.add_option("--data", options->data, "Folder that holds tasks/, kernels_seed/ and prompts/");
  command.add_flag("--plain", options->is_plain,
                   "Lines of text, on a terminal too, instead of a picture that is redrawn");
  command.add_flag("--json", options->is_json, "Print every event as a line of JSON");
  command.footer("Example: kernelites run --task gqa_decode_splitkv --out runs/first --budget-candidates 40");
  command.callback([options, &command, &program] { run(*options, command, program); });
}

}  // namespace kernelites
