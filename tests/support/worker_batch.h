// SPDX-License-Identifier: Apache-2.0
// Requests through the real worker, as a user would send them: a batch file in, a batch file out.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "engine/core/error.h"
#include "engine/core/task.h"
#include "evaluators/protocol/protocol.h"

namespace kernelites::test {

inline std::filesystem::path source_dir() { return KERNELITES_SOURCE_DIR; }
inline std::filesystem::path build_dir() { return KERNELITES_BUILD_DIR; }

inline Task task_named(const std::string& name) { return load_task(source_dir() / "tasks" / name); }

inline std::string seed_named(const std::string& task, const std::string& file) {
  return read_text(source_dir() / "kernels_seed" / task / file);
}

/// A request on the virtual GPU with a key that repeats.
inline Request request_for(const Task& task, std::string id) {
  return {.id = std::move(id),
          .device = "vgpu",
          .task_document = task.document,
          .reference_source = task.reference_source,
          .deadline_s = 300};
}

inline Request examine_request(const Task& task, const std::string& id, const std::string& source) {
  Request request = request_for(task, id);
  request.examine = ExamineRequest{.candidate = {.source = source}, .key = Key::fixed(id)};
  for (const Tunable& tunable : parse_tunables(source)) {
    request.examine->candidate.tuning[tunable.name] = tunable.values.front();
  }
  return request;
}

/// Replies by id. Throws Error if the worker does not end with exit code 0.
inline std::map<std::string, Reply> run_worker(const std::vector<Request>& requests) {
  char pattern[] = "/tmp/kernelites_batch_XXXXXX";
  const std::filesystem::path folder = ::mkdtemp(pattern);
  {
    std::ofstream in(folder / "in.jsonl");
    for (const Request& request : requests) in << encode(request) << "\n";
  }
  const std::string command = (build_dir() / "evaluators/worker/kernelites-worker").string() +
                              " --device vgpu --batch " + (folder / "in.jsonl").string() + " " +
                              (folder / "out.jsonl").string();
  if (const int code = std::system(command.c_str()); code != 0)
    throw Error("worker ended with " + std::to_string(code));
  std::map<std::string, Reply> replies;
  std::ifstream out(folder / "out.jsonl");
  for (std::string line; std::getline(out, line);) {
    Reply reply = decode_reply(line);
    replies[reply.id] = reply;
  }
  std::filesystem::remove_all(folder);
  return replies;
}

}  // namespace kernelites::test
