// SPDX-License-Identifier: Apache-2.0
// What a program says when it cannot even unwind any more.
#include "tools/last_words.h"

#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <new>

#include "tools/command_line.h"

namespace kernelites {
namespace {

/// What a program in good health can always have.
constexpr std::size_t k_small_allocation = 16 << 20;

void say(const char* text) {
  [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, text, std::strlen(text));
}

[[noreturn]] void end_for_want_of_memory() {
  say(k_out_of_memory_words);
  ::_exit(exit_trouble);
}

[[noreturn]] void say_last_words() {
  static std::atomic<bool> is_at_it{false};
  if (is_at_it.exchange(true)) end_for_want_of_memory();  // even looking at the exception took too much
  if (const std::exception_ptr exception = std::current_exception()) {
    try {
      std::rethrow_exception(exception);
    } catch (const std::bad_alloc&) {
      end_for_want_of_memory();
    } catch (const std::exception& error) {
      say("kernelites: this is a fault of the program: ");
      say(error.what());
      say("\n");
    } catch (...) {
      say("kernelites: this is a fault of the program: an exception that nobody knows\n");
    }
    std::abort();
  }
  std::abort();
}

/// Whoever aborts (the unwinder does, where it gets no memory) is asked whether there was any left.
void on_abort(int number) {
  void* const small =
      ::mmap(nullptr, k_small_allocation, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (small == MAP_FAILED) end_for_want_of_memory();
  ::signal(number, SIG_DFL);
  ::raise(number);
}

}  // namespace

void install_last_words() {
  std::set_terminate(say_last_words);
  ::signal(SIGABRT, on_abort);
}

}  // namespace kernelites
