// SPDX-License-Identifier: Apache-2.0
// Preloaded into the controller by tests: a disk that fails, a clock that jumps or runs fast, as a file says.
//
// KERNELITES_FAULTS names a file of 32 bytes that is mapped: int32 error (errno of the failing calls; 0: none), int32
// calls (so many succeed first), int64 jump_s (added to the wall clock), double rate (of both clocks; waits shrink by
// it), int64 failed (written here: calls that were made to fail). Only regular files fail, and only in a program named
// "kernelites": its workers inherit the preloading.
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

namespace {

struct Faults {
  volatile int32_t error;
  volatile int32_t calls;
  volatile int64_t jump_s;
  volatile double rate;
  volatile int64_t failed;
};

Faults* g_faults = nullptr;
timespec g_start[2];  // realtime, monotonic

template <typename F>
F next(const char* name) {
  return reinterpret_cast<F>(dlsym(RTLD_NEXT, name));
}

int real_clock(clockid_t clock, timespec* time) {
  static const auto call = next<int (*)(clockid_t, timespec*)>("clock_gettime");
  return call(clock, time);
}

__attribute__((constructor)) void open_faults() {
  real_clock(CLOCK_REALTIME, &g_start[0]);
  real_clock(CLOCK_MONOTONIC, &g_start[1]);
  const char* file = getenv("KERNELITES_FAULTS");
  if (file == nullptr || strcmp(program_invocation_short_name, "kernelites") != 0) return;
  const int descriptor = open(file, O_RDWR | O_CLOEXEC);
  if (descriptor < 0) return;
  void* mapped = mmap(nullptr, sizeof(Faults), PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
  close(descriptor);
  if (mapped != MAP_FAILED) g_faults = static_cast<Faults*>(mapped);
}

bool fails() {
  if (g_faults == nullptr || g_faults->error == 0) return false;
  if (g_faults->calls > 0) {
    g_faults->calls = g_faults->calls - 1;
    return false;
  }
  g_faults->failed = g_faults->failed + 1;
  errno = g_faults->error;
  return true;
}

bool is_file(int descriptor) {
  struct stat info;
  return fstat(descriptor, &info) == 0 && S_ISREG(info.st_mode);
}

double rate() { return g_faults != nullptr && g_faults->rate > 0 ? g_faults->rate : 1; }

int slower(int timeout_ms) {
  if (timeout_ms <= 0 || rate() == 1) return timeout_ms;
  const double shrunk = timeout_ms / rate();
  return shrunk < 1 ? 1 : static_cast<int>(shrunk);
}

}  // namespace

extern "C" {

ssize_t write(int descriptor, const void* bytes, size_t count) {
  static const auto call = next<ssize_t (*)(int, const void*, size_t)>("write");
  if (g_faults != nullptr && g_faults->error != 0 && is_file(descriptor) && fails()) return -1;
  return call(descriptor, bytes, count);
}

ssize_t pwrite64(int descriptor, const void* bytes, size_t count, off64_t offset) {
  static const auto call = next<ssize_t (*)(int, const void*, size_t, off64_t)>("pwrite64");
  if (g_faults != nullptr && g_faults->error != 0 && is_file(descriptor) && fails()) return -1;
  return call(descriptor, bytes, count, offset);
}

ssize_t pwrite(int descriptor, const void* bytes, size_t count, off_t offset) {
  return pwrite64(descriptor, bytes, count, offset);
}

int fdatasync(int descriptor) {
  static const auto call = next<int (*)(int)>("fdatasync");
  return is_file(descriptor) && fails() ? -1 : call(descriptor);
}

int fsync(int descriptor) {
  static const auto call = next<int (*)(int)>("fsync");
  return is_file(descriptor) && fails() ? -1 : call(descriptor);
}

int clock_gettime(clockid_t clock, timespec* time) {
  const int code = real_clock(clock, time);
  if (code != 0 || g_faults == nullptr || (clock != CLOCK_REALTIME && clock != CLOCK_MONOTONIC)) return code;
  const timespec& start = g_start[clock == CLOCK_REALTIME ? 0 : 1];
  const double passed = static_cast<double>(time->tv_sec - start.tv_sec) +
                        static_cast<double>(time->tv_nsec - start.tv_nsec) * 1e-9;
  const double seen = static_cast<double>(start.tv_nsec) * 1e-9 + passed * rate();
  const int64_t whole = static_cast<int64_t>(seen);
  time->tv_sec = start.tv_sec + whole + (clock == CLOCK_REALTIME ? g_faults->jump_s : 0);
  time->tv_nsec = static_cast<long>((seen - static_cast<double>(whole)) * 1e9);
  return 0;
}

time_t time(time_t* out) {
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (out != nullptr) *out = now.tv_sec;
  return now.tv_sec;
}

int poll(pollfd* descriptors, nfds_t count, int timeout_ms) {
  static const auto call = next<int (*)(pollfd*, nfds_t, int)>("poll");
  return call(descriptors, count, slower(timeout_ms));
}

int clock_nanosleep(clockid_t clock, int flags, const timespec* wanted, timespec* left) {
  static const auto call = next<int (*)(clockid_t, int, const timespec*, timespec*)>("clock_nanosleep");
  timespec shrunk = *wanted;
  if (flags == 0 && rate() != 1) {
    const double s =
        (static_cast<double>(wanted->tv_sec) + static_cast<double>(wanted->tv_nsec) * 1e-9) / rate();
    shrunk.tv_sec = static_cast<time_t>(s);
    shrunk.tv_nsec = static_cast<long>((s - static_cast<double>(shrunk.tv_sec)) * 1e9);
  }
  return call(clock, flags, &shrunk, left);
}

}  // extern "C"
