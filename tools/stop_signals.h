// SPDX-License-Identifier: Apache-2.0
// Ctrl-C and a polite kill as something to wait for.
#pragma once

#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

namespace kernelites {

/// SIGINT and SIGTERM as a readable descriptor instead of the end of the process; undone at the end.
class StopSignals {
 public:
  StopSignals() {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, &before_);
    descriptor_ = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  }
  ~StopSignals() {
    // Signals that arrived have done their work; pending ones would end the process now.
    signalfd_siginfo info;
    while (read(descriptor_, &info, sizeof info) == sizeof info) {
    }
    close(descriptor_);
    sigprocmask(SIG_SETMASK, &before_, nullptr);
  }
  StopSignals(const StopSignals&) = delete;
  int descriptor() const { return descriptor_; }

 private:
  sigset_t before_;
  int descriptor_ = -1;
};

}  // namespace kernelites
