// SPDX-License-Identifier: Apache-2.0
// Starting the interpreter, asking it, and what its silence is called.
#include "evaluators/worker/pipeline/python_reference.h"

#include <fmt/format.h>
#include <poll.h>
#include <stdlib.h>

#include <chrono>
#include <cstring>
#include <filesystem>
#include <optional>
#include <span>

#include "engine/core/embedded_file.h"
#include "engine/core/error.h"
#include "engine/core/task_reference.h"
#include "engine/jail/jailed_process.h"

namespace kernelites {
extern const std::vector<EmbeddedFile> k_reference_host;  // harness/reference_host.py
}

namespace kernelites::worker {
namespace {

namespace fs = std::filesystem;

/// Importing PyTorch from a cold disk, and one answer at a bench shape.
constexpr double k_start_s_max = 120, k_answer_s_max = 120;
/// All outputs of a shape, in float64.
constexpr std::uint64_t k_answer_bytes_max = std::uint64_t{8} << 30;

/// A folder that is gone at the end.
class Scratch {
 public:
  Scratch() {
    std::string name = (fs::temp_directory_path() / "kernelites-reference-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) throw Error("no scratch folder for reference.py can be made");
    folder_ = name;
  }
  ~Scratch() {
    std::error_code ignored;
    fs::remove_all(folder_, ignored);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  const fs::path& folder() const { return folder_; }

 private:
  fs::path folder_;
};

/// What an interpreter brings along: the prefix that it lies in (bin/ is below it), and that of the one behind it.
std::vector<fs::path> folders_of(const std::string& interpreter) {
  std::vector<fs::path> folders;
  if (interpreter.find('/') == std::string::npos) return folders;  // of the system
  std::error_code problem;
  for (const fs::path& program : {fs::absolute(interpreter), fs::canonical(interpreter, problem)}) {
    const fs::path prefix = program.parent_path().parent_path();
    if (!prefix.empty() && prefix != prefix.root_path()) folders.push_back(prefix);
  }
  return folders;
}

JailedCommand command_of(const std::string& interpreter, const fs::path& scratch) {
  JailedCommand command;
  command.command = {interpreter, "-u", "-c", std::string(k_reference_host.front().text)};
  command.environment = {{"PATH", "/usr/local/bin:/usr/bin:/bin"},
                         {"HOME", scratch.string()},
                         {"TMPDIR", scratch.string()},
                         {"LANG", "C.UTF-8"},
                         {"PYTHONDONTWRITEBYTECODE", "1"}};
  command.scratch = scratch;
  command.readable = folders_of(interpreter);
  command.allows_network = false;
  command.keeps_input = true;
  command.output_bytes_max = k_answer_bytes_max;
  return command;
}

Json shape_of(const Task& task, const PythonOutput& output, const Workload& workload) {
  const auto tensor = std::find_if(task.tensors.begin(), task.tensors.end(), [&](const TensorSpec& spec) {
    return spec.name == output.name || spec.name + "_emulated" == output.name;
  });
  KERNELITES_ASSERT(tensor != task.tensors.end());
  if (output.order.chosen == 0 && output.order.bits == 0) return tensor_shape(*tensor, workload);
  Json shape = Json::array();
  for (int a = 0; a < output.order.row_rank; ++a) shape.push_back(output.order.row[a].extent);
  shape.push_back(output.order.columns);
  return shape;
}

Json question_of(const Task& task, const Workload& workload,
                 const std::vector<std::vector<std::byte>>& tensors, const RowLists& rows,
                 const std::vector<PythonOutput>& outputs) {
  Json question{{"tensors", Json::array()},
                {"dims", workload.dims},
                {"scalars", Json::object()},
                {"rows", Json::array()},
                {"outputs", Json::array()}};
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    if (tensors[i].empty()) continue;
    const TensorSpec& tensor = task.tensors[i];
    question["tensors"].push_back({{"name", tensor.name},
                                   {"dtype", dtype_name(tensor.dtype)},
                                   {"shape", tensor_shape(tensor, workload)},
                                   {"bytes", tensors[i].size()}});
  }
  for (const ScalarSpec& scalar : task.scalars) {  // rounded as a kernel gets it
    const bool is_single = scalar.dtype == Dtype::f32;
    question["scalars"][scalar.name] =
        is_single ? static_cast<double>(static_cast<float>(scalar.value)) : scalar.value;
  }
  const std::vector<RowGroup> groups = row_groups(task);
  for (std::size_t g = 0; g < rows.size(); ++g)
    question["rows"].push_back({{"suffix", groups.at(g).suffix}, {"list", rows[g]}});
  for (const PythonOutput& output : outputs)
    question["outputs"].push_back({{"name", output.name},
                                   {"group", output.group},
                                   {"shape", shape_of(task, output, workload)},
                                   {"columns", output.order.columns}});
  return question;
}

/// The listed rows of an output that came as a whole.
std::vector<double> listed(const PythonOutput& output, std::span<const double> values,
                           const std::vector<std::int64_t>& rows) {
  if (output.order.chosen == 0 && output.order.bits == 0) return listed_rows(output.order, values, rows);
  std::vector<double> chosen;
  for (const std::int64_t row : rows) {
    const auto from = values.subspan(static_cast<std::size_t>(row * output.order.columns),
                                     static_cast<std::size_t>(output.order.columns));
    chosen.insert(chosen.end(), from.begin(), from.end());
  }
  return chosen;
}

}  // namespace

/// The interpreter and its pipes.
class PythonReference::Process {
 public:
  explicit Process(const std::string& interpreter) : process_(command_of(interpreter, scratch_.folder())) {}

  void send(std::string_view bytes) { process_.send(bytes); }
  /// The next line of JSON. Empty: none came; `trouble` says why.
  std::optional<Json> line(double deadline_s) {
    std::size_t end = std::string::npos;
    if (!wait_for([&] { return (end = arrived_.find('\n')) != std::string::npos; }, deadline_s)) return {};
    Json head = Json::parse(arrived_.substr(0, end), nullptr, /*allow_exceptions=*/false);
    arrived_.erase(0, end + 1);
    if (head.is_object()) return head;
    trouble_ = "its interpreter wrote what is no answer";
    return {};
  }
  /// So many float64 values behind a line.
  std::optional<std::vector<double>> values(std::size_t count, double deadline_s) {
    if (!wait_for([&] { return arrived_.size() / sizeof(double) >= count; }, deadline_s)) return {};
    std::vector<double> values(count);
    std::memcpy(values.data(), arrived_.data(), count * sizeof(double));
    arrived_.erase(0, count * sizeof(double));
    return values;
  }
  const std::string& trouble() const { return trouble_; }

 private:
  template <typename Condition>
  bool wait_for(Condition is_there, double deadline_s) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::duration<double>(deadline_s);
    for (;;) {
      process_.pump();
      arrived_ += process_.take_output();
      if (is_there()) return true;
      if (process_.has_ended()) {
        const std::string last = process_.errors();
        trouble_ =
            fmt::format("its interpreter ended ({}){}{}", process_.end().words(), last.empty() ? "" : ": ",
                        last.substr(last.size() - std::min<std::size_t>(last.size(), 600)));
        return false;
      }
      if (std::chrono::steady_clock::now() > deadline) {
        trouble_ = fmt::format(
            "it did not answer within {:.0f} s (a reference_rows(p) need only give the rows p.rows)",
            deadline_s);
        return false;
      }
      std::vector<pollfd> descriptors;
      process_.add_descriptors(descriptors);
      ::poll(descriptors.data(), descriptors.size(), 100);
    }
  }

  Scratch scratch_;
  JailedProcess process_;
  std::string arrived_;
  std::string trouble_;
};

PythonReference::PythonReference(const Task& task)
    : file_(task.name + "/reference.py"),
      interpreter_(python_of(task)),
      source_(task.reference_source),
      digest_(task.digest) {
  KERNELITES_ASSERT(!interpreter_.empty());
}

PythonReference::~PythonReference() = default;

void PythonReference::fail(std::string problem) {
  process_.reset();
  throw ConfigError(file_, "", problem);
}

std::vector<std::vector<double>> PythonReference::answer(const Task& task, const Workload& workload,
                                                         const std::vector<std::vector<std::byte>>& tensors,
                                                         const RowLists& rows,
                                                         const std::vector<PythonOutput>& outputs) {
  if (!process_) {
    process_ = std::make_unique<Process>(interpreter_);
    process_->send(Json{{"source", source_}}.dump() + "\n");
    const auto ready = process_->line(k_start_s_max);
    if (!ready) fail(fmt::format("'{}' cannot run it: {}", interpreter_, process_->trouble()));
    if (ready->value("is_missing", false))
      fail(ready->at("error").get<std::string>() +
           "; name an interpreter that has it: \"python\": \"/path/to/python3\" in task.json");
    if (ready->contains("error")) fail(ready->at("error").get<std::string>());
  }
  process_->send(question_of(task, workload, tensors, rows, outputs).dump() + "\n");
  for (const auto& bytes : tensors)
    process_->send({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  const auto head = process_->line(k_answer_s_max);
  if (!head) fail(fmt::format("at '{}': {}", workload.name, process_->trouble()));
  if (head->contains("error"))  // of this question: the process lives on
    throw ConfigError(file_, "",
                      fmt::format("at '{}': {}", workload.name, head->at("error").get<std::string>()));
  std::vector<std::vector<double>> gold;
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    const Json& part = head->at("outputs").at(i);
    auto values = process_->values(part.at("values").get<std::size_t>(), k_answer_s_max);
    if (!values) fail(process_->trouble());
    const bool is_listed = part.at("is_listed").get<bool>();
    gold.push_back(is_listed ? std::move(*values) : listed(outputs[i], *values, rows.at(outputs[i].group)));
  }
  return gold;
}

}  // namespace kernelites::worker
