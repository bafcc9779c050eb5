// SPDX-License-Identifier: Apache-2.0
// What a run is, fixed at its start.
#include "tools/new_run.h"

#include <ctime>

#include "engine/core/axes.h"
#include "engine/llm/record.h"
#include "engine/search/recordings.h"

namespace kernelites {

Archive begin_run(RunConfig config, const Task& task, const RunFolder& folder, const std::string& fork,
                  const Key& model_key) {
  if (config.axes.empty()) config.axes = axis_names_of_family(task.family);
  RunRecord run;
  run.seed = config.seed;
  run.task = task.name;
  run.task_digest = task.digest;
  run.task_document = task.document;
  run.reference_source = task.reference_source;
  run.configuration = run_config_json(config);
  run.model_key = model_key.hex();
  run.started_unix_s = static_cast<double>(std::time(nullptr));
  if (!fork.empty()) write_recording(folder.replies(), recording_of(Archive::open_read_only(fork), false));
  return Archive::create(folder.root, run);
}

}  // namespace kernelites
