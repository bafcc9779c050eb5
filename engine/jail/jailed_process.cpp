// SPDX-License-Identifier: Apache-2.0
// The outside of a jail: pipes, limits on what comes out of them, and the wait until nothing is left.
#include "engine/jail/jailed_process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>
#include <utility>

#include "engine/core/error.h"
#include "engine/jail/jail_entry.h"
#include "engine/jail/landlock.h"

namespace kernelites {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t k_error_bytes = 16 * 1024;
constexpr int k_landlock_least = 3;  // before it, files outside could be truncated

/// What programs need of a system: themselves, libraries, certificates, names; nothing with secrets in it.
constexpr const char* k_executable[] = {"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"};
constexpr const char* k_readable[] = {
    "/etc/ssl",         "/etc/ca-certificates", "/etc/pki",          "/etc/resolv.conf",  "/etc/hosts",
    "/etc/host.conf",   "/etc/nsswitch.conf",   "/etc/gai.conf",     "/etc/passwd",       "/etc/group",
    "/etc/ld.so.cache", "/etc/ld.so.conf",      "/etc/ld.so.conf.d", "/etc/alternatives", "/etc/localtime",
    "/etc/timezone",    "/etc/os-release",      "/etc/protocols",    "/etc/services",     "/etc/mime.types",
    "/etc/terminfo",    "/etc/gitconfig",       "/etc/inputrc",      "/etc/bash.bashrc",  "/etc/profile"};
constexpr const char* k_devices[] = {"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"};

struct Pipe {
  int ends[2] = {-1, -1};
  ~Pipe() {
    for (const int end : ends)
      if (end >= 0) ::close(end);
  }
  int release(int end) { return std::exchange(ends[end], -1); }
};

/// `is_socket`: what is written to a dead reader is then an error and not a signal. Our end is 0, and never blocks.
void open_pipe(Pipe& pipe, bool is_socket) {
  const int result = is_socket ? ::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pipe.ends)
                               : ::pipe2(pipe.ends, O_CLOEXEC);
  if (result != 0) throw Error(std::string("no pipe for a command: ") + std::strerror(errno));
  ::fcntl(pipe.ends[0], F_SETFL, O_NONBLOCK);
}

std::string find_program(const JailedCommand& command) {
  const std::string& name = command.command.front();
  if (name.find('/') != std::string::npos) return fs::absolute(name).string();
  const auto found = command.environment.find("PATH");
  const std::string path = found == command.environment.end() ? "/usr/bin:/bin" : found->second;
  for (std::size_t from = 0; from <= path.size();) {
    const std::size_t to = std::min(path.find(':', from), path.size());
    const fs::path candidate = fs::path(path.substr(from, to - from)) / name;
    if (to > from && ::access(candidate.c_str(), X_OK) == 0 && fs::is_regular_file(candidate))
      return candidate.string();
    from = to + 1;
  }
  return name;  // the jail will say that there is none
}

LandlockRules rules_of(const JailedCommand& command, const std::string& program) {
  LandlockRules rules{
      .executable = command.readable, .writable = {command.scratch}, .allows_tcp = command.allows_network};
  for (const char* path : k_executable) rules.executable.emplace_back(path);
  for (const char* path : k_readable) rules.readable.emplace_back(path);
  for (const char* path : k_devices) rules.devices.emplace_back(path);
  rules.executable.emplace_back(program);
  return rules;
}

std::vector<char*> pointers(std::vector<std::string>& words) {
  std::vector<char*> list;
  for (std::string& word : words) list.push_back(word.data());
  list.push_back(nullptr);
  return list;
}

void close_end(int& descriptor) {
  if (descriptor >= 0) ::close(std::exchange(descriptor, -1));
}

/// Root can make namespaces as it is; others need one of users first.
pid_t start(JailEntry& entry) {
  pid_t pid = start_in_jail(entry, /*with_user_namespace=*/false);
  if (pid < 0 && errno == EPERM) pid = start_in_jail(entry, /*with_user_namespace=*/true);
  return pid;
}

}  // namespace

std::string JailedEnd::words() const {
  if (!jail_problem.empty()) return jail_problem;
  return signal != 0 ? fmt::format("signal {}", signal) : fmt::format("exit code {}", exit_code);
}

JailedProcess::JailedProcess(JailedCommand command) : command_(std::move(command)) {
  KERNELITES_ASSERT(!command_.command.empty() && command_.scratch.is_absolute());
  const std::string program = find_program(command_);
  const LandlockRuleset ruleset = make_landlock_ruleset(rules_of(command_, program));
  if (ruleset.outcome.abi < k_landlock_least) {
    if (ruleset.descriptor >= 0) ::close(ruleset.descriptor);
    end_.jail_problem = ruleset.outcome.abi == 0 ? ruleset.outcome.problem
                                                 : fmt::format("Landlock ABI {} is too old: {} is needed",
                                                               ruleset.outcome.abi, k_landlock_least);
    has_ended_ = true;
    return;
  }
  const std::vector<FilterInstruction> filter = make_command_filter(command_.allows_network);
  Pipe input, output, errors, status;
  open_pipe(input, /*is_socket=*/true);
  for (Pipe* pipe : {&output, &errors, &status}) open_pipe(*pipe, /*is_socket=*/false);

  std::vector<std::string> words = command_.command, variables;
  for (const auto& [name, value] : command_.environment) variables.push_back(name + "=" + value);
  const std::vector<char*> argv = pointers(words), envp = pointers(variables);
  JailEntry entry{.argv = argv.data(),
                  .envp = envp.data(),
                  .program = program.c_str(),
                  .scratch = command_.scratch.c_str(),
                  .filter = &filter,
                  .ruleset = ruleset.descriptor,
                  .input = input.ends[1],
                  .output = output.ends[1],
                  .errors = errors.ends[1],
                  .status = status.ends[1],
                  .file_bytes_max = command_.file_bytes_max,
                  .uid = ::geteuid(),
                  .gid = ::getegid()};
  pid_ = start(entry);
  const int problem = errno;
  ::close(ruleset.descriptor);
  if (pid_ < 0) {
    end_.jail_problem =
        fmt::format("no namespaces: {}",
                    problem == ENOSPC ? "the system allows no more of them" : std::strerror(problem));
    has_ended_ = true;
    return;
  }
  input_ = input.release(0);
  output_pipe_ = output.release(0);
  error_pipe_ = errors.release(0);
  status_pipe_ = status.release(0);
}

JailedProcess::~JailedProcess() {
  kill();
  while (!has_ended_) {  // ends: a killed one is given up after a while
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    reap();
  }
  for (int* descriptor : {&input_, &output_pipe_, &error_pipe_, &status_pipe_}) close_end(*descriptor);
}

void JailedProcess::add_descriptors(std::vector<pollfd>& descriptors) const {
  const bool has_input = !command_.keeps_input || written_ < command_.input.size();
  if (input_ >= 0 && has_input) descriptors.push_back({.fd = input_, .events = POLLOUT, .revents = 0});
  for (const int descriptor : {output_pipe_, error_pipe_, status_pipe_})
    if (descriptor >= 0) descriptors.push_back({.fd = descriptor, .events = POLLIN, .revents = 0});
}

void JailedProcess::pump() {
  if (has_ended_) return;
  if (!is_killed_) {
    write_input();
    read_output();
    read_errors();
    if (has_flooded_) kill();
  }
  reap();
}

void JailedProcess::send(std::string_view bytes) {
  KERNELITES_ASSERT(command_.keeps_input);
  command_.input.append(bytes);
}

std::string JailedProcess::take_output() { return std::exchange(output_, {}); }

void JailedProcess::kill() {
  if (has_ended_ || is_killed_) return;
  constexpr auto k_patience = std::chrono::seconds(10);
  ::kill(pid_, SIGKILL);
  is_killed_ = true;
  give_up_ = std::chrono::steady_clock::now() + k_patience;
  // What is left in the pipes is of no interest, and would wake whoever waits.
  for (int* descriptor : {&input_, &output_pipe_, &error_pipe_}) close_end(*descriptor);
}

void JailedProcess::write_input() {
  if (input_ < 0) return;
  while (written_ < command_.input.size()) {
    const ssize_t count = ::send(input_, command_.input.data() + written_, command_.input.size() - written_,
                                 MSG_NOSIGNAL | MSG_DONTWAIT);
    if (count < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (count < 0) break;  // the program does not want to know
    written_ += static_cast<std::size_t>(count);
  }
  if (command_.keeps_input && written_ == command_.input.size()) {
    command_.input.clear();
    written_ = 0;
    return;
  }
  close_end(input_);
}

void JailedProcess::read_output() {
  std::array<char, 65536> bytes;
  while (output_pipe_ >= 0) {
    const ssize_t count = ::read(output_pipe_, bytes.data(), bytes.size());
    if (count < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (count <= 0) return close_end(output_pipe_);
    const std::size_t room = command_.output_bytes_max - output_.size();
    output_.append(bytes.data(), std::min(room, static_cast<std::size_t>(count)));
    has_flooded_ = static_cast<std::size_t>(count) > room;
    if (has_flooded_) return;
  }
}

/// At most a few blocks at a time: a program that writes faster than we read must not keep us here.
void JailedProcess::read_errors() {
  std::array<char, 65536> bytes;
  for (int block = 0; block < 4 && error_pipe_ >= 0; ++block) {
    const ssize_t count = ::read(error_pipe_, bytes.data(), bytes.size());
    if (count < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (count <= 0) return close_end(error_pipe_);
    errors_.append(bytes.data(), static_cast<std::size_t>(count));
    if (errors_.size() > k_error_bytes) errors_.erase(0, errors_.size() - k_error_bytes);
  }
}

/// The namespace's first process is gone only when all others are: the kernel sees to it. One that hangs in the kernel
/// (a dead file server) is given up, so that it does not hang us too.
void JailedProcess::reap() {
  int status = 0;
  const pid_t ended = ::waitpid(pid_, &status, WNOHANG);
  if (ended == 0 && is_killed_ && std::chrono::steady_clock::now() > give_up_) {
    has_ended_ = true;
    end_.jail_problem = "it hangs in the kernel and could not be killed";
  }
  if (ended == 0) return;
  has_ended_ = true;
  JailStatus reported{.step = -1};
  const bool is_reported = ::read(status_pipe_, &reported, sizeof reported) == sizeof reported;
  if (!is_reported) {
    end_.signal = WIFSIGNALED(status) ? WTERMSIG(status) : SIGKILL;
  } else if (reported.step != 0) {
    end_.jail_problem = fmt::format("{}: {}", jail_step_name(reported.step), std::strerror(reported.value));
  } else if (WIFEXITED(reported.value)) {
    end_.exit_code = WEXITSTATUS(reported.value);
  } else {
    end_.signal = WTERMSIG(reported.value);
  }
  if (!has_flooded_) read_output();  // what was in the pipe when it ended
  read_errors();
}

}  // namespace kernelites
