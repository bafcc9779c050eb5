// SPDX-License-Identifier: Apache-2.0
// Starting, killing and reaping children.
#include "evaluators/worker/sandbox/child.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "engine/core/error.h"

namespace kernelites::worker {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int k_channel_fd = 3;
constexpr int k_lifeline_fd = 4;
constexpr int k_report_fd = 5;
/// A child killed while the driver cleans up may take a while to go; beyond this we stop waiting for it.
constexpr double k_reap_deadline_s = 30;

/// What the child needs between fork and exec, prepared beforehand: there, only system calls are allowed.
struct Launch {
  std::vector<const char*> arguments;
  const char* executable = nullptr;
  int channel = -1, lifeline = -1, report = -1;
  ChildLimits limits;
  pid_t parent = -1;
};

void set_limit(int resource, std::uint64_t soft, std::uint64_t hard) {
  const rlimit limit{soft, hard};
  ::setrlimit(static_cast<__rlimit_resource>(resource), &limit);
}

void set_limits(const ChildLimits& limits) {
  set_limit(RLIMIT_CORE, 0, 0);
  set_limit(RLIMIT_FSIZE, limits.file_bytes, limits.file_bytes);
  set_limit(RLIMIT_NOFILE, limits.open_files, limits.open_files);
  if (limits.cpu_s > 0) set_limit(RLIMIT_CPU, limits.cpu_s, limits.cpu_s + 1);
#ifndef __SANITIZE_ADDRESS__  // its shadow memory alone is larger than any limit
  if (limits.address_space_bytes > 0)
    set_limit(RLIMIT_AS, limits.address_space_bytes, limits.address_space_bytes);
#endif
}

/// Signals as a fresh program expects them. SIGXFSZ is ignored, so that a line on a stderr that is a file
/// fails instead of killing; ignored signals stay ignored over exec.
void reset_signals() {
  for (int signal = 1; signal < NSIG; ++signal)
    if (signal != SIGKILL && signal != SIGSTOP) ::signal(signal, signal == SIGXFSZ ? SIG_IGN : SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
}

/// Asks the kernel to kill this process when the lifeline's other end closes. PR_SET_PDEATHSIG would do so
/// when the *thread* that forked ends; it serves only where the kernel refuses the lifeline.
void tie_to_parent(pid_t parent) {
  const bool is_tied = ::fcntl(k_lifeline_fd, F_SETOWN, ::getpid()) == 0 &&
                       ::fcntl(k_lifeline_fd, F_SETSIG, SIGKILL) == 0 &&
                       ::fcntl(k_lifeline_fd, F_SETFL, O_ASYNC | O_NONBLOCK) == 0;
  if (!is_tied) ::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  if (::getppid() != parent) ::raise(SIGKILL);  // it died before we were tied
}

void close_from(int first) {
#ifdef SYS_close_range
  if (::syscall(SYS_close_range, first, ~0U, 0) == 0) return;
#endif
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  for (int fd = first; fd < static_cast<int>(std::min<rlim_t>(limit.rlim_cur, 1 << 20)); ++fd) ::close(fd);
}

[[noreturn]] void run_after_fork(const Launch& launch) {
  ::setsid();
  // Away from the low numbers first: a source may lie on another's target.
  const int channel = ::fcntl(launch.channel, F_DUPFD, 16);
  const int lifeline = ::fcntl(launch.lifeline, F_DUPFD, 16);
  const int report = ::fcntl(launch.report, F_DUPFD, 16);
  const int null = ::open("/dev/null", O_RDONLY);
  bool is_ready = channel >= 0 && lifeline >= 0 && report >= 0 && null >= 0;
  is_ready = is_ready && ::dup2(null, 0) >= 0 && ::dup2(2, 1) >= 0 && ::dup2(channel, k_channel_fd) >= 0 &&
             ::dup2(lifeline, k_lifeline_fd) >= 0 && ::dup3(report, k_report_fd, O_CLOEXEC) >= 0;
  if (is_ready) {
    close_from(k_report_fd + 1);
    reset_signals();
    tie_to_parent(launch.parent);
    set_limits(launch.limits);
    ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    char* const environment[] = {nullptr};
    ::execve(launch.executable, const_cast<char* const*>(launch.arguments.data()), environment);
  }
  const int error = errno;
  [[maybe_unused]] const ssize_t written =
      ::write(is_ready ? k_report_fd : launch.report, &error, sizeof error);
  ::_exit(127);
}

std::string error_text(const char* what, int error) {
  return std::string(what) + ": " + std::strerror(error);
}

std::pair<FileDescriptor, FileDescriptor> pipe_pair() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) throw Error(error_text("cannot make a pipe", errno));
  return {FileDescriptor(ends[0]), FileDescriptor(ends[1])};
}

/// The errno that the child reports if it cannot exec; 0 when the pipe closes on exec.
int read_report(int fd) {
  int error = 0;
  ssize_t count;
  do count = ::read(fd, &error, sizeof error);
  while (count < 0 && errno == EINTR);
  return count == sizeof error ? error : 0;
}

ChildEnd describe_end(int status) {
  if (WIFEXITED(status)) {
    const int code = WEXITSTATUS(status);
    return {.exit_code = code, .words = "exit " + std::to_string(code)};
  }
  const int signal = WTERMSIG(status);
  return {.signal = signal,
          .words = "killed by signal " + std::to_string(signal) + " (" + ::strsignal(signal) + ")"};
}

}  // namespace

Child::Child(std::string role, pid_t pid, FileDescriptor process, FileDescriptor lifeline,
             FileDescriptor socket)
    : role_(std::move(role)),
      pid_(pid),
      process_(std::move(process)),
      lifeline_(std::move(lifeline)),
      channel_(std::move(socket)) {}

Child Child::start(const std::string& role, const ChildLimits& limits,
                   const std::filesystem::path& executable) {
  std::error_code ignored;
  const auto resolved = std::filesystem::read_symlink(executable, ignored);
  const std::string shown = (resolved.empty() ? executable : resolved).filename().string();
  return start_program(role, limits, executable, {shown, "--child", role});
}

Child Child::start_under(const std::vector<std::string>& tool, const std::string& role,
                         const ChildLimits& limits) {
  KERNELITES_ASSERT(!tool.empty());
  std::vector<std::string> arguments = tool;
  // The tool executes it: /proc/self/exe would be the tool itself.
  for (const std::string& word :
       {std::filesystem::read_symlink("/proc/self/exe").string(), std::string("--child"), role})
    arguments.push_back(word);
  return start_program(role, limits, tool.front(), arguments);
}

Child Child::start_program(const std::string& role, const ChildLimits& limits,
                           const std::filesystem::path& executable,
                           const std::vector<std::string>& arguments) {
  auto [ours, theirs] = channel_pair();
  auto [lifeline_read, lifeline_write] = pipe_pair();
  auto [report_read, report_write] = pipe_pair();
  std::vector<const char*> words;
  for (const std::string& argument : arguments) words.push_back(argument.c_str());
  words.push_back(nullptr);
  const Launch launch{.arguments = std::move(words),
                      .executable = executable.c_str(),
                      .channel = theirs.get(),
                      .lifeline = lifeline_read.get(),
                      .report = report_write.get(),
                      .limits = limits,
                      .parent = ::getpid()};
  const pid_t pid = ::fork();
  if (pid < 0) throw Error(error_text("cannot start a child process", errno));
  if (pid == 0) run_after_fork(launch);

  FileDescriptor process(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  Child child(role, pid, std::move(process), std::move(lifeline_write), std::move(ours));
  report_write.reset();
  if (const int error = read_report(report_read.get()); error != 0)
    throw Error(error_text(("cannot run " + executable.string()).c_str(), error));
  return child;
}

Child::Child(Child&& other) noexcept
    : role_(std::move(other.role_)),
      pid_(std::exchange(other.pid_, -1)),
      process_(std::move(other.process_)),
      lifeline_(std::move(other.lifeline_)),
      channel_(std::move(other.channel_)),
      end_(std::move(other.end_)) {}

Child& Child::operator=(Child&& other) noexcept {
  if (this == &other) return *this;
  finish();
  role_ = std::move(other.role_);
  pid_ = std::exchange(other.pid_, -1);
  process_ = std::move(other.process_);
  lifeline_ = std::move(other.lifeline_);
  channel_ = std::move(other.channel_);
  end_ = std::move(other.end_);
  return *this;
}

Child::~Child() { finish(); }

void Child::finish() {
  if (pid_ < 0 || end_) return;
  kill();
  wait(k_reap_deadline_s);
}

void Child::kill() {
  if (pid_ < 0 || end_) return;  // a reaped id may belong to another process by now
  ::kill(-pid_, SIGKILL);
  ::kill(pid_, SIGKILL);
}

/// REQUIRES: the child has ended. Until it is reaped its id cannot belong to another process, so what it may
/// have left in its group is killed first.
ChildEnd Child::reap() {
  ::kill(-pid_, SIGKILL);
  int status = 0;
  while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  return describe_end(status);
}

std::optional<ChildEnd> Child::wait(double deadline_s) {
  if (end_ || pid_ < 0) return end_;
  const auto deadline = Clock::now() + std::chrono::duration_cast<Clock::duration>(
                                           std::chrono::duration<double>(std::clamp(deadline_s, 0.0, 1e8)));
  for (;;) {
    siginfo_t info{};
    if (::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG | WNOWAIT) == 0) {
      if (info.si_pid == pid_) return end_ = reap();
    } else if (errno != EINTR) {
      return end_ = ChildEnd{.words = error_text("lost", errno)};
    }
    const double left_ms = std::chrono::duration<double, std::milli>(deadline - Clock::now()).count();
    if (left_ms <= 0) return std::nullopt;
    pollfd poll_entry{.fd = process_.get(), .events = POLLIN, .revents = 0};
    // Without a pidfd the poll entry is ignored, and this is a short sleep.
    const double step_ms = process_ ? 60e3 : 1;
    ::poll(&poll_entry, 1, static_cast<int>(std::ceil(std::min(left_ms, step_ms))));
  }
}

void run_child_role(int argc, char** argv, std::span<const ChildRole> roles) noexcept {
  if (argc != 3 || std::string_view(argv[1]) != "--child") return;
  int code = k_exit_unknown_role;
  Channel channel(k_channel_fd);
  for (const ChildRole& role : roles)
    if (role.name == argv[2]) code = role.run(channel);
  std::fflush(nullptr);
  std::_Exit(code);
}

}  // namespace kernelites::worker
