// SPDX-License-Identifier: Apache-2.0
// A Chrome trace event by event, as the parser meets its parts; nothing of an event outlives it but its row.
#include "tools/rank/chrome_trace.h"

#include <fmt/format.h>

#include <istream>

#include "engine/core/error.h"
#include "engine/core/json.h"
#include "tools/rank/gzip_stream.h"
#include "tools/rank/launch_table.h"

namespace kernelites {
namespace {

constexpr std::size_t k_shapes_bytes_max = 512;

/// One event, as far as anything is read of it.
struct TraceEvent {
  std::string phase, category, name;
  double start_us = 0, duration_us = 0;
  std::uint64_t operation = 0;  // "External id", "external id"
  std::uint32_t gpu = 0;        // "device"
  std::string shapes, types;
};

/// Receives the parser's events. Depths: 1 inside the root (an object, or directly the list of events), then the list,
/// an event, its "args", and what is in there.
class TraceReader : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit TraceReader(std::string file) : file_(file), table_(std::move(file)) {}

  bool null() override { return scalar("null"); }
  bool boolean(bool value) override { return scalar(value ? "true" : "false"); }
  bool number_integer(number_integer_t value) override { return number(static_cast<double>(value)); }
  bool number_unsigned(number_unsigned_t value) override { return number(static_cast<double>(value), value); }
  bool number_float(number_float_t value, const string_t&) override { return number(value); }
  bool string(string_t& value) override {
    if (is_member_of_event()) {
      if (key_ == "ph") event_.phase = value;
      if (key_ == "cat") event_.category = value;
      if (key_ == "name") event_.name = value;
    } else if (is_member_of_args() && (key_ == "External id" || key_ == "external id")) {
      event_.operation = std::strtoull(value.c_str(), nullptr, 10);
    } else if (is_in_device() && key_ == "name" && device_.empty()) {
      device_ = value;
    }
    return scalar(value);
  }
  bool binary(binary_t&) override { return true; }
  bool start_object(std::size_t) override {
    if (in_list(1)) event_ = {};
    if (is_member_of_event() && key_ == "args") args_depth_ = depth_ + 1;
    ++depth_;
    return true;
  }
  bool end_object() override {
    if (depth_ == args_depth_) args_depth_ = 0;
    --depth_;
    if (in_list(1)) end_event();
    return true;
  }
  bool start_array(std::size_t) override {
    if (depth_ == 0 || (depth_ == 1 && list_depth_ == 0 && key_ == "traceEvents")) {
      list_depth_ = depth_ + 1;
      has_list_ = true;
    }
    if (depth_ == 1 && list_depth_ == 0 && key_ == "deviceProperties") device_depth_ = 2;
    if (is_member_of_args() && capture_ == nullptr) {
      capture_ = key_ == "Input Dims" || key_ == "Input dims" ? &event_.shapes
                 : key_ == "Input type"                       ? &event_.types
                                                              : nullptr;
      capture_depth_ = depth_ + 1;
    }
    if (capture_ == &event_.shapes) open_bracket();
    ++depth_;
    return true;
  }
  bool end_array() override {
    if (capture_ == &event_.shapes && capture_->size() < k_shapes_bytes_max) *capture_ += ']';
    if (depth_ == list_depth_) list_depth_ = 0;
    if (depth_ == device_depth_) device_depth_ = 0;
    if (capture_ && depth_ == capture_depth_) capture_ = nullptr;
    --depth_;
    return true;
  }
  bool key(string_t& value) override {
    key_ = value;
    return true;
  }
  bool parse_error(std::size_t position, const std::string& token,
                   const nlohmann::json::exception& error) override {
    position_ = position;
    is_cut_ = token.empty() || std::string(error.what()).find("unexpected end of input") != std::string::npos;
    return false;
  }

  bool has_list() const { return has_list_; }
  bool is_cut() const { return is_cut_; }
  std::size_t position() const { return position_; }
  KernelTrace trace() {
    KernelTrace trace = table_.summed();
    trace.format = "Chrome trace";
    trace.device = device_;
    return trace;
  }

 private:
  /// Directly inside the list of events (`inside` 1), or that much deeper less one.
  bool in_list(int inside) const { return list_depth_ > 0 && depth_ == list_depth_ + inside - 1; }
  bool is_member_of_event() const { return in_list(2); }
  bool is_member_of_args() const { return args_depth_ > 0 && depth_ == args_depth_; }
  bool is_in_device() const { return device_depth_ > 0 && depth_ == device_depth_ + 1; }

  void open_bracket() {
    if (capture_->size() >= k_shapes_bytes_max) return;
    if (!capture_->empty() && capture_->back() != '[') *capture_ += ',';
    *capture_ += '[';
  }
  bool scalar(const std::string& text) {
    if (!capture_ || capture_->size() >= k_shapes_bytes_max) return true;
    if (!capture_->empty() && capture_->back() != '[') *capture_ += ',';
    *capture_ += text;
    return true;
  }
  bool number(double value, std::uint64_t whole = 0) {
    if (is_member_of_event()) {
      if (key_ == "ts") event_.start_us = value;
      if (key_ == "dur") event_.duration_us = value;
    } else if (is_member_of_args() && (key_ == "External id" || key_ == "external id")) {
      event_.operation = whole;
    } else if (is_member_of_args() && key_ == "device") {
      event_.gpu = static_cast<std::uint32_t>(whole);
    }
    return capture_ ? scalar(fmt::format("{}", value)) : true;
  }
  void end_event() {
    if (event_.phase != "X") return;
    const std::string& category = event_.category;
    if (category == "kernel" || category == "Kernel")
      table_.add_launch(event_.name, event_.operation, event_.start_us, event_.duration_us, event_.gpu);
    else if (category == "gpu_memcpy" || category == "gpu_memset" || category == "Memcpy" ||
             category == "Memset")
      table_.add_copy(event_.duration_us);
    else if ((category == "cpu_op" || category == "Operator") && event_.operation != 0)
      table_.add_operation(event_.operation, {event_.name, event_.shapes, event_.types});
  }

  std::string file_;
  LaunchTable table_;
  TraceEvent event_;
  std::string key_, device_;
  int depth_ = 0, list_depth_ = 0, args_depth_ = 0, device_depth_ = 0, capture_depth_ = 0;
  std::string* capture_ = nullptr;  // of event_
  bool has_list_ = false, is_cut_ = false;
  std::size_t position_ = 0;
};

}  // namespace

KernelTrace read_chrome_trace(const std::filesystem::path& file) {
  GzipBuffer buffer(file);
  std::istream in(&buffer);
  TraceReader reader(file.string());
  const bool is_whole = nlohmann::json::sax_parse(in, &reader);
  if (!buffer.problem().empty())
    throw ConfigError(file.string(), "", "is gzipped and cannot be unpacked: " + buffer.problem());
  if (!is_whole && reader.is_cut())
    throw ConfigError(
        file.string(), "",
        fmt::format("ends in the middle, after {} bytes: the profiler was stopped while it wrote",
                    reader.position()));
  if (!is_whole)
    throw ConfigError(
        file.string(), "",
        fmt::format("is neither JSON nor a SQLite database (wrong at byte {}); expected a Chrome "
                    "trace of torch.profiler or a SQLite export of Nsight Systems",
                    reader.position()));
  if (!reader.has_list())
    throw ConfigError(file.string(), "traceEvents", "is missing; expected a Chrome trace");
  return reader.trace();
}

}  // namespace kernelites
