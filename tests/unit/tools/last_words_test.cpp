// SPDX-License-Identifier: Apache-2.0
// Programs that cannot unwind any more: what they say, and how they end.
#include "tools/last_words.h"

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <functional>
#include <new>
#include <stdexcept>
#include <string>

#include "tests/support/catch.h"

using namespace kernelites;
using Catch::Contains;

namespace {

/// "exit N: words" or "signal N: words" of a process that does it.
std::string end_of(const std::function<void()>& act) {
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  const pid_t child = ::fork();
  if (child == 0) {
    const rlimit none{0, 0};
    ::setrlimit(RLIMIT_CORE, &none);
    ::dup2(ends[1], STDERR_FILENO);
    std::signal(SIGABRT, SIG_DFL);
    install_last_words();
    act();
    ::_exit(0);
  }
  ::close(ends[1]);
  std::string words;
  char block[256];
  for (ssize_t got = 1; got > 0; words.append(block, static_cast<std::size_t>(std::max<ssize_t>(got, 0))))
    got = ::read(ends[0], block, sizeof block);
  ::close(ends[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  return (WIFEXITED(status) ? "exit " + std::to_string(WEXITSTATUS(status))
                            : "signal " + std::to_string(WTERMSIG(status))) +
         ": " + words;
}

/// Needs memory to go away.
struct Greedy {
  std::size_t size;
  ~Greedy() noexcept(false) { ::operator delete(::operator new(size)); }
};

void unwind_over(std::size_t size) {
  const Greedy greedy{size};
  throw std::runtime_error("what began it");
}

void fall_through_noexcept(const std::function<void()>& act) noexcept { act(); }

}  // namespace

TEST_CASE("memory that is wanting while a program unwinds ends it with words and exit code 3") {
  constexpr std::size_t k_absurd = std::size_t{1} << 50;
  CHECK_THAT(end_of([] { unwind_over(k_absurd); }), Contains("exit 3: kernelites: out of memory."));
  CHECK_THAT(end_of([] { fall_through_noexcept([] { throw std::bad_alloc(); }); }),
             Contains("exit 3: kernelites: out of memory."));
}

TEST_CASE("a program that has no byte left to say so in says so all the same") {
  const std::string end = end_of([] {
    const rlimit room{64 << 20, 64 << 20};
    ::setrlimit(RLIMIT_AS, &room);
    for (std::size_t size = 64 << 20; size >= 16; size /= 2)
      while (std::malloc(size) != nullptr) {
      }
    unwind_over(4096);
  });
  CHECK_THAT(end, Contains("exit 3: kernelites: out of memory."));
}

TEST_CASE("an abort says so where no memory is left, and is one where there is") {
  CHECK_THAT(end_of([] {
               const rlimit room{8 << 20, 8 << 20};
               ::setrlimit(RLIMIT_AS, &room);
               std::abort();
             }),
             Contains("exit 3: kernelites: out of memory."));
  CHECK(end_of([] { std::abort(); }) == "signal 6: ");
}

TEST_CASE("every other exception that nobody catches is named, and aborts") {
  CHECK_THAT(end_of([] { fall_through_noexcept([] { throw std::logic_error("two at once"); }); }),
             Contains("signal 6: kernelites: this is a fault of the program: two at once"));
  CHECK_THAT(end_of([] { std::terminate(); }), Contains("signal 6: "));
}
