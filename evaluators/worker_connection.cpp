// SPDX-License-Identifier: Apache-2.0
// One worker process and what is under way on it: greeting, requests out, replies in, deadlines.
#include "evaluators/worker_connection.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "engine/core/error.h"
#include "engine/core/plain_line.h"
#include "evaluators/protocol/device_unfit.h"

namespace kernelites {
namespace {

std::chrono::steady_clock::duration seconds(double s) {
  return std::chrono::duration_cast<std::chrono::steady_clock::duration>(std::chrono::duration<double>(s));
}

/// A process that closes its output is about to end; so long we wait to learn how.
constexpr std::chrono::milliseconds k_end_wait{50};

std::string excerpt(std::string_view line) {
  constexpr std::size_t k_bytes_max = 80;
  return plain_line(line, '?', k_bytes_max);
}

}  // namespace

WorkerConnection::WorkerConnection(const std::vector<std::string>& command,
                                   const std::filesystem::path& error_log, Time now,
                                   double greeting_deadline_s, double grace_s, bool is_launched)
    : greeting_deadline_(now + seconds(greeting_deadline_s)), grace_s_(grace_s), is_launched_(is_launched) {
  try {
    process_ = std::make_unique<ChildProcess>(command, error_log);
  } catch (const Error& error) {
    fail(error.what());
  }
}

void WorkerConnection::pump(Time now) {
  if (!failure_.empty()) return;
  write_pending();
  if (failure_.empty()) read_available();
  if (!failure_.empty()) return;
  if (!greeting_ && now > greeting_deadline_) {
    fail("the worker did not greet in time");
    return;
  }
  for (const UnderWay& entry : under_way_)
    if (now > entry.deadline) {
      fail(fmt::format("the worker did not answer request {} in time", entry.request.id));
      return;
    }
}

void WorkerConnection::append_poll_descriptors(std::vector<pollfd>& descriptors) const {
  if (!failure_.empty()) return;
  descriptors.push_back({process_->stdout_descriptor(), POLLIN, 0});
  if (!outgoing_.empty()) descriptors.push_back({process_->stdin_descriptor(), POLLOUT, 0});
}

void WorkerConnection::submit(const Request& request, Time now) {
  KERNELITES_ASSERT(is_ready());
  // GPU stages take turns: behind others, a request may have to wait for all of their deadlines as well.
  double wait_s = request.deadline_s + grace_s_;
  for (const UnderWay& entry : under_way_) wait_s += entry.request.deadline_s;
  under_way_.push_back({request, now + seconds(wait_s)});
  outgoing_ += encode(request);
  outgoing_ += '\n';
  write_pending();
}

std::optional<Reply> WorkerConnection::take() {
  if (replies_.empty()) return std::nullopt;
  Reply reply = std::move(replies_.front());
  replies_.pop_front();
  return reply;
}

std::vector<Request> WorkerConnection::unanswered() const {
  std::vector<Request> requests;
  for (const UnderWay& entry : under_way_) requests.push_back(entry.request);
  return requests;
}

void WorkerConnection::write_pending() {
  while (!outgoing_.empty()) {
    const ssize_t written =
        send(process_->stdin_descriptor(), outgoing_.data(), outgoing_.size(), MSG_NOSIGNAL);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0 && errno == EAGAIN) return;
    if (written < 0) {
      read_available();  // what it still said before it died counts
      if (failure_.empty()) fail(fmt::format("cannot write to the worker: {}", std::strerror(errno)));
      return;
    }
    outgoing_.erase(0, static_cast<std::size_t>(written));
  }
}

void WorkerConnection::read_available() {
  char bytes[65536];
  while (failure_.empty()) {
    const ssize_t got = read(process_->stdout_descriptor(), bytes, sizeof bytes);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) {
      fail(fmt::format("the worker ended ({})",
                       process_->wait_for_end(k_end_wait) ? process_->end() : "closed its output"));
      return;
    }
    if (!lines_.append({bytes, static_cast<std::size_t>(got)})) {
      fail(fmt::format("the worker sent a line of more than {} bytes", k_line_bytes_max));
      return;
    }
    while (failure_.empty()) {
      const std::optional<std::string> line = lines_.take();
      if (!line) break;
      on_line(*line);
    }
  }
}

void WorkerConnection::on_line(const std::string& line) {
  if (!greeting_) {
    on_greeting(line);
    return;
  }
  try {
    Reply reply = decode_reply(line);
    const auto entry = std::find_if(under_way_.begin(), under_way_.end(),
                                    [&](const UnderWay& other) { return other.request.id == reply.id; });
    if (entry == under_way_.end()) {
      fail(fmt::format("the worker answered a request that it did not get: \"{}\"", excerpt(reply.id)));
      return;
    }
    if (kernelites::is_device_unfit(reply)) {  // it stays under way: another worker is asked
      is_device_unfit_ = true;
      if (reply.device_s > 0) spoiled_id_ = reply.id;
      fail(reply.error, is_device_disturbed(reply) ? WorkerEnd::disturbed : WorkerEnd::unable);
      return;
    }
    under_way_.erase(entry);
    replies_.push_back(std::move(reply));
  } catch (const std::exception& error) {
    fail(fmt::format("the worker sent a line that is no reply: \"{}\" ({})", excerpt(line), error.what()));
  }
}

void WorkerConnection::on_greeting(const std::string& line) {
  try {
    Greeting greeting = decode_greeting(line);
    if (greeting.version != k_protocol_version) {
      fail(fmt::format("the worker speaks protocol {}, this program {}: both must come from one build",
                       greeting.version, k_protocol_version),
           WorkerEnd::unable);
    } else if (!greeting.problem.empty()) {
      fail(greeting.problem, WorkerEnd::unable);
    } else {
      greeting_ = std::move(greeting);
    }
  } catch (const std::exception& error) {
    fail(fmt::format("the worker's first line is no greeting: \"{}\"", excerpt(line)), WorkerEnd::unable);
  }
}

void WorkerConnection::fail(std::string why, WorkerEnd end) {
  failure_ = std::move(why);
  end_ = end;
  if (is_launched_ && process_) {
    process_->ask_to_end();
    leaving_ = std::move(process_);
  }
  process_.reset();  // kills the whole group: a hung kernel dies with it
}

}  // namespace kernelites
