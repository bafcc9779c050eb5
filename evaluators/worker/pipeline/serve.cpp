// SPDX-License-Identifier: Apache-2.0
// The two ways lines reach a supervisor: pipes, and batch files.
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <fstream>
#include <set>
#include <thread>

#include "engine/core/error.h"
#include "evaluators/protocol/device_unfit.h"
#include "evaluators/worker/pipeline/request_jobs.h"
#include "evaluators/worker/pipeline/serve_batch.h"
#include "evaluators/worker/pipeline/supervisor.h"

namespace kernelites::worker {
namespace {

void write_line(int descriptor, const std::string& text) {
  const std::string line = text + "\n";
  std::size_t done = 0;
  while (done < line.size()) {
    const ssize_t wrote = ::write(descriptor, line.data() + done, line.size() - done);
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote <= 0) throw Error(fmt::format("the reply cannot be written: {}", std::strerror(errno)));
    done += static_cast<std::size_t>(wrote);
  }
}

/// Calls `take` for every complete line until end of input or its first false. A torn last line is ignored. Throws
/// Error on a line that is too long.
void for_each_line(int descriptor, const std::function<bool(std::string)>& take) {
  std::string pending;
  std::vector<char> block(1 << 16);
  for (;;) {
    const ssize_t got = ::read(descriptor, block.data(), block.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return;
    pending.append(block.data(), static_cast<std::size_t>(got));
    for (std::size_t end; (end = pending.find('\n')) != std::string::npos; pending.erase(0, end + 1)) {
      if (end > 0 && !take(pending.substr(0, end))) return;
    }
    if (pending.size() > k_line_bytes_max) throw Error("a request line is too long");
  }
}

constexpr int k_pauses_max = 12 * 60, k_spoiled_max = 20;

std::set<std::string> answered_ids(const std::filesystem::path& out) {
  std::set<std::string> ids;
  std::ifstream stream(out);
  for (std::string line; std::getline(stream, line);) {
    try {
      const Reply reply = decode_reply(line);
      if (!is_device_unfit(reply)) ids.insert(reply.id);  // older workers wrote such replies
    } catch (const Error&) {
      // A torn tail of an earlier, interrupted batch: that request is evaluated again.
    }
  }
  return ids;
}

/// Ends a torn last line, so that the next reply starts on its own.
void mend_tail(int descriptor) {
  char last = '\n';
  const off_t size = ::lseek(descriptor, 0, SEEK_END);
  if (size > 0 && ::pread(descriptor, &last, 1, size - 1) == 1 && last != '\n') write_line(descriptor, "");
}

std::function<Reply(const std::string&)> handler_of(Supervisor& supervisor) {
  return [&supervisor](const std::string& line) {
    try {
      return supervisor.handle(decode_request(line));
    } catch (const std::exception& error) {
      return Reply{.id = request_id_of(line), .error = error.what(), .provenance = supervisor.provenance()};
    }
  };
}

/// A batch may wait for its device all night; a line that disturbs its device itself is not waited for so long.
Reply handle_patiently(const BatchWorker& worker, const std::string& line) {
  Reply reply;
  for (int pauses = 0, spoiled = 0; pauses < k_pauses_max && spoiled < k_spoiled_max; ++pauses) {
    reply = worker.handle(line);
    if (!is_device_disturbed(reply)) break;
    if (reply.device_s > 0) ++spoiled;
    if (worker.pause)
      worker.pause();
    else
      std::this_thread::sleep_for(std::chrono::minutes(1));
  }
  return reply;
}

}  // namespace

int serve_lines(const WorkerOptions& options, int input, int output) {
  std::optional<Supervisor> supervisor;
  try {
    supervisor.emplace(options);
  } catch (const Error& error) {
    write_line(output, encode(Greeting{.problem = error.what()}));
    return 3;
  }
  write_line(output, encode(Greeting{.provenance = supervisor->provenance()}));
  RequestJobs jobs(supervisor->jobs(), handler_of(*supervisor),
                   [&](const Reply& reply) { write_line(output, encode(reply)); });
  for_each_line(input, [&](std::string line) { return jobs.add(std::move(line)); });
  jobs.stop();
  jobs.finish();
  return 0;
}

int serve_batch(const WorkerOptions& options, const std::filesystem::path& in,
                const std::filesystem::path& out) {
  std::optional<Supervisor> supervisor;
  return serve_batch(in, out, [&] {
    WorkerOptions patient = options;
    patient.waits_for_turn = true;
    supervisor.emplace(patient);
    return BatchWorker{.jobs = supervisor->jobs(), .handle = handler_of(*supervisor)};
  });
}

int serve_batch(const std::filesystem::path& in, const std::filesystem::path& out,
                const std::function<BatchWorker()>& start) {
  const int input = ::open(in.c_str(), O_RDONLY | O_CLOEXEC);
  if (input < 0) throw ConfigError(in.string(), "", "the batch cannot be read");
  const int output = ::open(out.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (output < 0) throw ConfigError(out.string(), "", "the replies cannot be written");
  mend_tail(output);
  const std::set<std::string> answered = answered_ids(out);
  const BatchWorker worker = start();
  std::string unfit;
  RequestJobs jobs(
      worker.jobs, [&](const std::string& line) { return handle_patiently(worker, line); },
      [&](const Reply& reply) {
        if (!is_device_unfit(reply)) return write_line(output, encode(reply));
        // No reply: whoever serves this batch again, on a device that is fit, evaluates the request.
        unfit = reply.error;
        jobs.stop();
      });
  for_each_line(input, [&](std::string line) {
    return answered.contains(request_id_of(line)) || jobs.add(std::move(line));
  });
  jobs.finish();
  ::close(input);
  ::close(output);
  if (!jobs.trouble().empty()) throw Error(jobs.trouble());
  if (!unfit.empty())
    throw Error(fmt::format("{}; the batch goes on where it stopped when it is served again", unfit));
  return 0;
}

}  // namespace kernelites::worker
