// SPDX-License-Identifier: Apache-2.0
// Reads the logs of NVRTC's front end and of ptxas.
#include "evaluators/worker/nvrtc/compile_log.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <functional>
#include <optional>

#include "engine/core/plain_line.h"
#include "evaluators/worker/contract/problem_source.h"

namespace kernelites::worker {
namespace {

constexpr std::size_t k_message_bytes_max = 400;
constexpr std::size_t k_diagnostics_max = 16;

void for_each_line(std::string_view text, const std::function<void(std::string_view)>& visit) {
  while (!text.empty()) {
    const auto end = std::min(text.find('\n'), text.size());
    visit(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
}

std::string_view trimmed(std::string_view text) {
  const auto first = text.find_first_not_of(" \t\r");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r") - first + 1);
}

int leading_number(std::string_view text) {
  int value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

/// Printable ASCII and at most a few hundred bytes: messages repeat what the source contains.
std::string plain(std::string_view text) { return ascii_line(text, '?', k_message_bytes_max); }

/// What the compiler says in the candidate's own words is the candidate's to say: only the kind of message is kept.
std::string without_quotation(std::string_view text) {
  if (text.starts_with("cannot open source file") || text.starts_with("could not open source file"))
    return "a file that the source includes cannot be read";  // whether there is one is no answer for a candidate
  static constexpr std::string_view k_quoting[] = {
      "static assertion failed with ", "#error directive: ", "#warning directive: ", "#pragma message: "};
  for (const std::string_view opening : k_quoting) {
    if (text.starts_with(opening)) return std::string(opening) + "...";
  }
  // Attributes carry reasons: was declared deprecated ("..."), with "nodiscard" attribute ("...").
  if (const auto at = text.find("(\""); at != std::string_view::npos)
    return plain(text.substr(0, at)) + "(...)";
  return plain(text);
}

/// The part of the log that ptxas wrote. The front end comes first, and after each of its messages shows the line and
/// a caret, so that only the last lines that all begin with "ptxas" are out of the candidate's reach.
std::string_view ptxas_part(std::string_view log) {
  std::size_t begin = log.size();
  for (std::size_t at = 0; at < log.size();) {
    const std::size_t end = std::min(log.find('\n', at), log.size());
    const std::string_view line = log.substr(at, end - at);
    if (line.starts_with("ptxas")) {
      begin = std::min(begin, at);
    } else if (!trimmed(line).empty()) {
      begin = log.size();
    }
    at = end + 1;
  }
  return log.substr(begin);
}

/// "file(12): error: words" or "file(12): warning #177-D: words".
std::optional<CompilerMessage> read_located(std::string_view line) {
  const auto close = line.find("): ");
  const auto open = close == std::string_view::npos ? close : line.rfind('(', close);
  if (open == std::string_view::npos) return std::nullopt;
  const std::string_view file = line.substr(0, open);
  std::string_view rest = line.substr(close + 3);
  const auto colon = rest.find(": ");
  if (colon == std::string_view::npos) return std::nullopt;
  const std::string_view kind = rest.substr(0, colon);
  const bool is_error = kind.starts_with("error") || kind.starts_with("catastrophic error") ||
                        kind.starts_with("internal error");
  const bool is_other = kind.starts_with("warning") || kind.starts_with("note") || kind.starts_with("remark");
  if (!is_error && !is_other) return std::nullopt;
  CompilerMessage message{.is_error = is_error, .is_in_suffix = file == k_suffix_file, .line = 0, .text = ""};
  rest.remove_prefix(colon + 2);
  if (file == k_candidate_file) {
    message.line = leading_number(line.substr(open + 1));
    message.text = without_quotation(rest);
  } else if (file == k_suffix_file) {
    message.text = without_quotation(rest);
  } else if (file == "__nv_name_map") {
    message.is_kernel_name = true;
    message.text = plain(rest);
  } else if (file.starts_with("kernelites/") || file.find("/include/") != std::string_view::npos) {
    message.text =
        fmt::format("in header {}: {}", plain(file.substr(file.rfind('/') + 1)), without_quotation(rest));
  } else {
    message.text =
        "an error in a file that a candidate may not include";  // what it says could quote the file
  }
  if (!is_error) message.text = fmt::format("{}: {}", kind.substr(0, kind.find(' ')), message.text);
  return message;
}

/// "          detected during instantiation of ... at line 10 of candidate.cu", and the evaluator's "called
/// from".
bool is_context(std::string_view line) {
  const std::string_view words = trimmed(line);
  return words.starts_with("detected during") || words.starts_with("instantiation of") ||
         words.starts_with("called from") || words.starts_with("implicit generation of") ||
         words.starts_with("processing of");
}

std::string source_line(std::string_view source, int number) {
  for (int i = 1; i < number && !source.empty(); ++i) {
    source.remove_prefix(std::min(source.find('\n'), source.size() - 1) + 1);
  }
  return std::string(trimmed(source.substr(0, std::min(source.find('\n'), source.size())))).substr(0, 160);
}

}  // namespace

std::vector<CompilerMessage> read_messages(std::string_view log) {
  std::vector<CompilerMessage> messages;
  for_each_line(log, [&](std::string_view line) {
    if (auto message = read_located(line)) {
      CompilerMessage* last = messages.empty() ? nullptr : &messages.back();
      if (last != nullptr && last->is_error && last->is_in_suffix && !message->is_error) {
        // The evaluator reports at its table and explains in notes; the first that lies in the candidate counts.
        if (last->line == 0 && message->text.find("called from") == std::string::npos)
          last->text += "; " + message->text;
        if (last->line == 0) last->line = message->line;
      } else {
        messages.push_back(std::move(*message));
      }
    } else if (!messages.empty() && is_context(line)) {
      // Template and function arguments in these lines could be a hidden shape's extents: only the place is kept.
      CompilerMessage& last = messages.back();
      // The candidate's line, if the error itself lies in a header.
      const auto at = line.rfind("at line ");
      const bool is_elsewhere = line.find(" of ") != std::string_view::npos &&
                                line.find(k_candidate_file) == std::string_view::npos;
      if (last.line == 0 && at != std::string_view::npos && !is_elsewhere)
        last.line = leading_number(line.substr(at + 8));
    }
  });
  return messages;
}

std::string clean_log(std::string_view log, std::string_view source) {
  std::string text;
  const auto add = [&](const std::string& line) {
    if (text.size() + line.size() < k_clean_log_bytes_max) text += line + "\n";
  };
  for (const CompilerMessage& message : read_messages(log)) {
    if (message.line > 0) {
      add(fmt::format("line {}: {}", message.line, message.text));
      add(fmt::format("    {}", source_line(source, message.line)));
    } else {
      add(message.text);
    }
  }
  for (const std::string& advisory : read_advisories(log)) add(advisory);
  for (const PtxComplaint& complaint : read_ptx_complaints(log)) add(complaint.text);
  return text;
}

std::vector<Diagnostic> error_diagnostics(const std::vector<CompilerMessage>& messages,
                                          const std::string& code) {
  std::vector<Diagnostic> diagnostics;
  for (const CompilerMessage& message : messages) {
    if (message.is_error && diagnostics.size() < k_diagnostics_max)
      diagnostics.push_back({code, message.text, message.line});
  }
  return diagnostics;
}

std::map<std::string, SpillFigures> read_spills(std::string_view log) {
  std::map<std::string, SpillFigures> spills;
  std::string kernel;
  for_each_line(ptxas_part(log), [&](std::string_view line) {
    constexpr std::string_view properties = "Function properties for ";
    if (const auto at = line.find(properties); at != std::string_view::npos && line.starts_with("ptxas")) {
      kernel = std::string(trimmed(line.substr(at + properties.size())));
    }
    const auto stores = line.find(" bytes spill stores"), loads = line.find(" bytes spill loads");
    if (kernel.empty() || stores == std::string_view::npos || loads == std::string_view::npos) return;
    const auto number_before = [&](std::size_t end) {
      const auto begin = line.find_last_not_of("0123456789", end - 1);
      return leading_number(line.substr(begin == std::string_view::npos ? 0 : begin + 1));
    };
    spills[kernel] = {number_before(stores), number_before(loads)};
  });
  return spills;
}

std::vector<std::string> read_advisories(std::string_view log) {
  std::vector<std::string> advisories;
  for_each_line(ptxas_part(log), [&](std::string_view line) {
    constexpr std::string_view mark = "Potential Performance Loss: ";
    const auto at = line.find(mark);
    if (at == std::string_view::npos || !line.starts_with("ptxas")) return;
    std::string words = "ptxas: " + plain(line.substr(at + mark.size()));
    if (std::find(advisories.begin(), advisories.end(), words) == advisories.end() &&
        advisories.size() < 16) {
      advisories.push_back(std::move(words));
    }
  });
  return advisories;
}

std::vector<PtxComplaint> read_ptx_complaints(std::string_view log) {
  std::vector<PtxComplaint> complaints;
  for_each_line(ptxas_part(log), [&](std::string_view line) {
    if (!line.starts_with("ptxas")) return;
    const bool is_error =
        line.find("error") != std::string_view::npos || line.find("fatal") != std::string_view::npos;
    if (!is_error || complaints.size() >= k_diagnostics_max) return;
    PtxComplaint complaint;
    if (const auto at = line.find("line "); at != std::string_view::npos) {
      complaint.ptx_line = leading_number(line.substr(at + 5));
    }
    const auto colon = line.rfind(" : ");
    complaint.text =
        "ptxas: " + plain(colon == std::string_view::npos ? line.substr(5) : line.substr(colon + 3));
    complaints.push_back(std::move(complaint));
  });
  return complaints;
}

int source_line_of(std::string_view ptx, int ptx_line) {
  int number = 0, line = 0;
  std::string_view candidate_index = "1";
  for_each_line(ptx, [&](std::string_view text) {
    if (++number > ptx_line) return;
    text = trimmed(text);
    if (!text.starts_with(".loc")) return;
    std::string_view rest = trimmed(text.substr(4));
    const auto blank = rest.find_first_of(" \t");
    if (blank == std::string_view::npos) return;
    // An inlined place names its caller behind "inlined_at": "1 12 3".
    if (const auto inlined = rest.find("inlined_at "); inlined != std::string_view::npos) {
      line = leading_number(trimmed(rest.substr(std::min(rest.find(' ', inlined + 11), rest.size()))));
    } else if (rest.substr(0, blank) == candidate_index) {
      line = leading_number(trimmed(rest.substr(blank)));
    }
  });
  return line;
}

}  // namespace kernelites::worker
