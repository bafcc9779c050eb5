// SPDX-License-Identifier: Apache-2.0
// One thread looks for changes and reads; it rests longer than it read, so that a large run is not read all day.
#include "tools/report/live_facts.h"

#include <fmt/format.h>

#include <filesystem>

#include "archive/brief_rows.h"
#include "engine/core/error.h"
#include "engine/search/run_folder.h"

namespace kernelites {

LiveFacts::LiveFacts(std::string folder, PageOptions options, std::chrono::milliseconds poll)
    : folder_(std::move(folder)),
      options_(options),
      poll_(poll),
      database_((Archive::open_read_only(folder_), RunFolder{folder_}.database()),
                Database::Mode::read_only) {
  seen_ = stamp();  // before it is read: what is written meanwhile shows at the first look
  state_.revision = 1;
  state_.data = std::make_shared<const Json>(page_data(run_facts(folder_), options_));
  asked_ = std::chrono::steady_clock::now();
  watcher_ = std::thread([this] { watch(); });
}

LiveFacts::~LiveFacts() {
  stop();
  watcher_.join();
}

LiveState LiveFacts::now() {
  std::unique_lock lock(mutex_);
  asked_ = std::chrono::steady_clock::now();
  changed_.wait_for(lock, k_idle_after, [this] { return is_stopped_ || !is_idle_; });
  return state_;
}

std::optional<LiveState> LiveFacts::newer(std::int64_t revision, std::chrono::milliseconds wait) {
  std::unique_lock lock(mutex_);
  asked_ = std::chrono::steady_clock::now();
  changed_.wait_for(lock, wait, [&] { return is_stopped_ || state_.revision > revision; });
  if (is_stopped_ || state_.revision <= revision) return std::nullopt;
  return state_;
}

bool LiveFacts::is_stopped() const {
  const std::lock_guard lock(mutex_);
  return is_stopped_;
}

void LiveFacts::stop() {
  const std::lock_guard lock(mutex_);
  is_stopped_ = true;
  changed_.notify_all();
}

std::string LiveFacts::stamp() {
  std::error_code none;
  const auto steered = std::filesystem::last_write_time(RunFolder{folder_}.steering(), none);
  return fmt::format("{} {}", run_revision(database_), none ? 0 : steered.time_since_epoch().count());
}

bool LiveFacts::read() {
  std::shared_ptr<const Json> data;
  std::string problem;
  try {
    data = std::make_shared<const Json>(page_data(run_facts(folder_), options_));
  } catch (const std::exception& error) {
    problem = error.what();
  }
  const std::lock_guard lock(mutex_);
  // What failed is tried again and again: the same words are told once.
  if (data == nullptr && problem == state_.problem) return false;
  if (data != nullptr) state_.data = std::move(data);
  state_.problem = std::move(problem);
  ++state_.revision;
  changed_.notify_all();
  return state_.problem.empty();
}

bool LiveFacts::is_wanted() const { return std::chrono::steady_clock::now() - asked_ < k_idle_after; }

void LiveFacts::watch() {
  auto not_before = std::chrono::steady_clock::now();
  for (;;) {
    {
      std::unique_lock lock(mutex_);
      if (changed_.wait_for(lock, poll_, [this] { return is_stopped_; })) return;
      if (!is_wanted()) is_idle_ = true;
      if (!is_wanted()) continue;
    }
    const auto begin = std::chrono::steady_clock::now();
    if (begin < not_before) continue;
    try {
      if (std::string now = stamp(); now != seen_) {
        if (read()) seen_ = std::move(now);
      }
    } catch (const Error&) {
      continue;  // busy; the next look tells
    }
    const auto end = std::chrono::steady_clock::now();
    not_before = end + 2 * (end - begin);
    const std::lock_guard lock(mutex_);
    is_idle_ = false;
    changed_.notify_all();
  }
}

}  // namespace kernelites
