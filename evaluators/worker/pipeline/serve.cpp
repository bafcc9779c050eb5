// SPDX-License-Identifier: Apache-2.0
// The two ways lines reach a supervisor: pipes, and batch files.
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <condition_variable>
#include <cstring>
#include <deque>
#include <fstream>
#include <set>
#include <thread>

#include "engine/core/error.h"
#include "evaluators/worker/pipeline/supervisor.h"

namespace kernelites::worker {
namespace {

/// Requests waiting for a free job.
constexpr std::size_t k_queue_max = 4096;

/// Runs requests on `jobs` threads; replies are handed to `deliver` one at a time.
class Jobs {
 public:
  Jobs(Supervisor& supervisor, std::function<void(const Reply&)> deliver)
      : supervisor_(supervisor), deliver_(std::move(deliver)) {
    for (int i = 0; i < supervisor.jobs(); ++i) threads_.emplace_back([this] { work(); });
  }
  ~Jobs() { finish(); }
  /// Finishes what is queued; nothing can be added afterwards.
  void finish() {
    {
      const std::lock_guard lock(mutex_);
      is_closed_ = true;
    }
    changed_.notify_all();
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
  }

  /// Drops what has not begun: the other side is gone.
  void drop() {
    const std::lock_guard lock(mutex_);
    queue_.clear();
    changed_.notify_all();
  }
  /// Why replies could not be delivered; empty: all were. REQUIRES: `finish` was called.
  const std::string& trouble() const { return trouble_; }

  void add(std::string line) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return queue_.size() < k_queue_max; });
    queue_.push_back(std::move(line));
    changed_.notify_all();
  }

 private:
  void work() {
    for (;;) {
      std::string line;
      {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [this] { return is_closed_ || !queue_.empty(); });
        if (queue_.empty()) return;
        line = std::move(queue_.front());
        queue_.pop_front();
        changed_.notify_all();
      }
      Reply reply;
      try {
        reply = supervisor_.handle(decode_request(line));
      } catch (const std::exception& error) {
        reply.id = request_id_of(line);
        reply.error = error.what();
        reply.provenance = supervisor_.provenance();
      }
      deliver(reply);
    }
  }

  /// A reply that cannot be written ends the work: nobody is listening, or the disk is full.
  void deliver(const Reply& reply) {
    const std::lock_guard lock(deliver_mutex_);
    if (!trouble_.empty()) return;
    try {
      deliver_(reply);
    } catch (const std::exception& error) {
      trouble_ = error.what();
      const std::lock_guard queue_lock(mutex_);
      queue_.clear();
      changed_.notify_all();
    }
  }

  Supervisor& supervisor_;
  std::function<void(const Reply&)> deliver_;
  std::mutex mutex_, deliver_mutex_;
  std::condition_variable changed_;
  std::deque<std::string> queue_;
  bool is_closed_ = false;
  std::string trouble_;
  std::vector<std::thread> threads_;
};

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

/// Calls `take` for every complete line until end of input. A torn last line is ignored. Throws Error on a
/// line that is too long.
void for_each_line(int descriptor, const std::function<void(std::string)>& take) {
  std::string pending;
  std::vector<char> block(1 << 16);
  for (;;) {
    const ssize_t got = ::read(descriptor, block.data(), block.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return;
    pending.append(block.data(), static_cast<std::size_t>(got));
    for (std::size_t end; (end = pending.find('\n')) != std::string::npos; pending.erase(0, end + 1)) {
      if (end > 0) take(pending.substr(0, end));
    }
    if (pending.size() > k_line_bytes_max) throw Error("a request line is too long");
  }
}

std::set<std::string> answered_ids(const std::filesystem::path& out) {
  std::set<std::string> ids;
  std::ifstream stream(out);
  for (std::string line; std::getline(stream, line);) {
    try {
      ids.insert(decode_reply(line).id);
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
  Jobs jobs(*supervisor, [&](const Reply& reply) { write_line(output, encode(reply)); });
  for_each_line(input, [&](std::string line) { jobs.add(std::move(line)); });
  jobs.drop();
  jobs.finish();
  return 0;
}

int serve_batch(const WorkerOptions& options, const std::filesystem::path& in,
                const std::filesystem::path& out) {
  const int input = ::open(in.c_str(), O_RDONLY | O_CLOEXEC);
  if (input < 0) throw ConfigError(in.string(), "", "the batch cannot be read");
  const int output = ::open(out.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (output < 0) throw ConfigError(out.string(), "", "the replies cannot be written");
  mend_tail(output);
  const std::set<std::string> answered = answered_ids(out);
  WorkerOptions patient = options;
  patient.waits_for_turn = true;
  Supervisor supervisor(patient);
  Jobs jobs(supervisor, [&](const Reply& reply) { write_line(output, encode(reply)); });
  for_each_line(input, [&](std::string line) {
    if (!answered.contains(request_id_of(line))) jobs.add(std::move(line));
  });
  jobs.finish();
  ::close(input);
  ::close(output);
  if (!jobs.trouble().empty()) throw Error(jobs.trouble());
  return 0;
}

}  // namespace kernelites::worker
