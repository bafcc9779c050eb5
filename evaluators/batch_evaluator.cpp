// SPDX-License-Identifier: Apache-2.0
// The evaluator without a live connection: requests go into a file, replies come out of another, hours later.
#include "evaluators/batch_evaluator.h"

#include <fmt/format.h>

#include "engine/core/error.h"
#include "evaluators/protocol/device_unfit.h"

namespace kernelites {
namespace {

namespace fs = std::filesystem;

/// The whole lines of a file; what follows the last newline is torn and left out.
std::vector<std::string> whole_lines(const fs::path& file) {
  const std::string text = read_text(file);
  std::vector<std::string> lines;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = text.find('\n', at);
    if (end == std::string::npos) break;
    lines.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return lines;
}

bool is_greeting(const std::string& line) { return line.rfind("{\"kernelites_worker\"", 0) == 0; }

}  // namespace

BatchEvaluator::BatchEvaluator(fs::path folder, Provenance until_known)
    : folder_(std::move(folder)), provenance_(std::move(until_known)) {
  std::error_code ignored;
  fs::create_directories(folder_, ignored);
  if (!fs::is_directory(folder_)) throw Error(fmt::format("cannot make the folder {}", folder_.string()));
  while (fs::exists(in_file(last_batch_ + 1))) read_batch(++last_batch_);
}

void BatchEvaluator::submit(const Request& request) {
  if (const auto found = answered_.find(request.id); found != answered_.end()) {
    replies_.push_back(std::move(found->second));
    answered_.erase(found);
    return;
  }
  waiting_.insert(request.id);
  if (batch_of_.count(request.id) == 0) collected_.push_back(request);
}

std::optional<Reply> BatchEvaluator::take() {
  if (replies_.empty()) return std::nullopt;
  Reply reply = std::move(replies_.front());
  replies_.pop_front();
  return reply;
}

bool BatchEvaluator::write() {
  if (collected_.empty()) return false;
  std::string text;
  ++last_batch_;
  for (const Request& request : collected_) {
    text += encode(request) + "\n";
    batch_of_[request.id] = last_batch_;
  }
  collected_.clear();
  write_text_atomically(in_file(last_batch_), text);
  return true;
}

std::vector<std::pair<fs::path, fs::path>> BatchEvaluator::unanswered() const {
  std::set<int> numbers;
  for (const std::string& id : waiting_)
    if (const auto found = batch_of_.find(id); found != batch_of_.end()) numbers.insert(found->second);
  std::vector<std::pair<fs::path, fs::path>> files;
  for (int number : numbers) files.emplace_back(in_file(number), out_file(number));
  return files;
}

void BatchEvaluator::read_batch(int number) {
  for (const std::string& line : whole_lines(in_file(number))) batch_of_[decode_request(line).id] = number;
  if (!fs::exists(out_file(number))) return;
  for (const std::string& line : whole_lines(out_file(number))) {
    if (is_greeting(line)) {
      const Greeting greeting = decode_greeting(line);
      if (greeting.version != k_protocol_version)
        throw Error(fmt::format("{}: written by a worker of protocol {}, this program speaks {}",
                                out_file(number).string(), greeting.version, k_protocol_version));
      if (!greeting.problem.empty())
        throw Error(
            fmt::format("{}: the worker could not work: {}", out_file(number).string(), greeting.problem));
      provenance_ = greeting.provenance;
      continue;
    }
    Reply reply = decode_reply(line);
    if (is_device_unfit(reply)) continue;  // of an older worker: it is still unanswered
    // A batch that was run twice has two replies to one request; the first counts, as it does in the archive.
    answered_.emplace(reply.id, std::move(reply));
  }
}

fs::path BatchEvaluator::in_file(int number) const { return folder_ / fmt::format("{}.in.jsonl", number); }
fs::path BatchEvaluator::out_file(int number) const { return folder_ / fmt::format("{}.out.jsonl", number); }

}  // namespace kernelites
