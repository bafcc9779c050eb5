// SPDX-License-Identifier: Apache-2.0
// A plan as host code says what its text says, refuses what is no arithmetic, and has no undefined value.
#include <fmt/format.h>

#include "engine/core/json.h"
#include "tests/support/catch.h"
#include "tests/unit/exporting/host_text.h"
#include "tools/plan_code/plan_code.h"

using namespace kernelites;
namespace fs = std::filesystem;

namespace {

struct Row {
  const char *text, *words;
};

}  // namespace

TEST_CASE("a plan's functions, tables, structs, loops and macros say as code what they say") {
  const std::string source = R"(
extern "C" __global__ void k_1(unsigned short* y) {}
#define ROUNDED(x, to) (((x) + (to) - 1) / (to) * (to))
#define WIDE
#ifdef WIDE
constexpr int WARP = 0x20;
#else
constexpr int WARP = 64;
#endif
namespace tables {
constexpr int STEPS[] = {1, 2, 4, 8}, GRID[2][2] = {{1, 2}, {3, 4}};
enum class Mode : int { narrow, wide = 7 };
}
template <int D, bool IS_WIDE = true>
struct Config {
  static constexpr int WIDTH = IS_WIDE ? D * 2 : D, TWICE = WIDTH * 2;
  static constexpr int rows(int n) { return n + TWICE; }
};
typedef unsigned short Tile[2][WARP];
struct Memory {
  Tile tiles[3];
};
struct Choice {
  const char* kernel = "k_1";
  int threads = WARP, left = 0;
  constexpr int all() const { return threads + left; }
};
constexpr Choice choose(int m) {
  if (m < 10) return {"k_1", m, 1};
  Choice choice{};
  choice.left = tables::STEPS[m % 4];
  for (int i = 0, k = 1; i < 3; ++i, k <<= 1) choice.threads += tables::GRID[i / 2][1] * k;
  return choice;
}
template <int N>
constexpr long long scaled(const Problem& p) {
  using C = Config<N>;
  long long sum = 0;
  int m = p.M;
  do {
    switch (m % 3) {
      case 0: sum += C::WIDTH; break;
      case 1: sum ^= 5;
      default: sum -= -1;
    }
    m /= 2;
  } while (m > 1 && !(sum > 1000));
  while (true) {
    if (++m > 4) break;
    if (m == 2) continue;
    sum++;
  }
  for (const int step : {3, 4}) sum += step;
  const auto most = [&](int a) { return a > sum ? a : (int)sum; };
  return most(p.M) % 100 + Config<3, false>::rows(2) + sizeof(Config<1>) + (int)tables::Mode::wide +
         sizeof(Memory) - 384;
}
constexpr void plan(const Problem& p, kl::Plan& plan) {
  const Choice choice = choose(p.M);
  const int threads = ROUNDED(choice.all() + (int)scaled<4>(p), 4) + 30 / 4 - (p.M >= 20 ? 1 : 0);
  plan.launch(choice.kernel).grid(kl::cdiv(p.M, 4), 1).block(threads).arg(p.y).arg(p.factor * 0.5f).arg(nullptr);
}
)";
  // As c++ computes the text itself.
  CHECK(said_at(source, "1 9 20 100") == "1: 43\n9: 59\n20: 98\n100: 78\n");
}

TEST_CASE("what has no value is noted instead of computed, and what has no end ends") {
  const std::string source = with_text(R"(
struct Lanes { int of[4] = {1, 2, 3, 4}; };
constexpr int table(int m) {
  Lanes lanes{};
  lanes.of[m - 30] = 7;
  return lanes.of[m];
}
constexpr int endless(int m) { int n = 0; while (true) n = (n + m) % 7; return n; }
constexpr int a0(int m) { return m + 1; }
#define TEN(f, x) f(x) + f(x) + f(x) + f(x) + f(x) + f(x) + f(x) + f(x) + f(x) + f(x)
constexpr int a1(int m) { return TEN(a0, m); }
constexpr int a2(int m) { return TEN(a1, m); }
constexpr int a3(int m) { return TEN(a2, m); }
constexpr int a4(int m) { return TEN(a3, m); }
constexpr int a5(int m) { return TEN(a4, m); }
constexpr int a6(int m) { return TEN(a5, m); }
constexpr int a7(int m) { return TEN(a6, m) ; }
constexpr int a8(int m) { return TEN(a7, m) ; }
constexpr int pick(int m) {
  if (m == 21) return m / (m - 21);
  if (m == 22) return 2147483647 + m;
  if (m == 23) return (-2147483647 - 1) / (22 - m);
  if (m == 24) return 1 << (m + 8);
  if (m == 25) return (int)(m * 1e10);
  if (m == 26) return table(m);
  if (m == 27) return endless(m);
  if (m == 28) return a8(m);
  if (m == 29) return kl::cdiv(m, m - 29);
  if (m == 31) return (int)kl::next_pow2(1LL << 62 | m);
  if (m == 32) return (int)kl::pow2(m * 2);
  if (m == 33) return kl::log2(0) + (int)(0.5 / (m - 33));
  return m % 2;
}
#define KEEP pick(p.M))");
  CHECK(said_at(source, "20 21 22 23 24 25 26 27 28 29 31 32 33") ==
        "20: 32\n"
        "21: its plan divides by zero at this shape\n"
        "22: its plan computes a number that is too large at this shape\n"
        "23: its plan computes a number that is too large at this shape\n"
        "24: its plan computes a number that is too large at this shape\n"
        "25: its plan turns a number that is too large into a whole one at this shape\n"
        "26: its plan asks for an entry beyond a table at this shape\n"
        "27: its plan takes too many steps at this shape\n"
        "28: its plan takes too many steps at this shape\n"
        "29: its plan divides by zero at this shape\n"
        "31: its plan computes a number that is too large at this shape\n"
        "32: its plan computes a number that is too large at this shape\n"
        "33: its plan divides by zero at this shape\n");
}

TEST_CASE("text that is more than arithmetic does not become code, and is told why") {
  const std::vector<Row> rows{
      {"#ifndef __CUDACC_RTC__\n#define KEEP 1\n#else\n#define KEEP 0\n#endif", "__CUDACC_RTC__"},
      {"constexpr int KEEP = 0;\n#ifdef ELSEWHERE\nconstexpr int other = KEEP;\n#endif", "ELSEWHERE"},
      {"constexpr int run() { if (false) asm(\"\"); return 0; }\n#define KEEP run()", "\"asm\""},
      {"#define JOIN(a, b) a##b\n#define KEEP JOIN(0, 0)", "\"#\""},
      {"struct __attribute__((packed)) A { int a = 0; };\n#define KEEP A{}.a", "__attribute__"},
      {"[[gnu::constructor]] constexpr int run() { return 0; }\n#define KEEP run()", "gnu"},
      {"constexpr int run() { _Pragma(\"weak f\") return 0; }\n#define KEEP run()", "_Pragma"},
      {"constexpr int run() {\n#pragma weak f\n  return 0; }\n#define KEEP run()", "pragma"},
      {"#define KEEP sizeof(__FILE__)", "size"},
      {"struct A { int a; constexpr int run() const { return this->a; } };\n#define KEEP A{0}.run()",
       "\"this\""},
      {"struct A { int t[2]; int n; int x = t[n]; };\n#define KEEP A{{0, 0}, 0}.x", "\"t\" is no constant"},
      {"constexpr int run() { static int n = 0; return ++n; }\n#define KEEP run()",
       "\"static\" in a function"},
      {"struct A { inline static int n = 1; };\n#define KEEP A::n + (A::n = 2)", "assigned"},
      {"constexpr int run(int n) { int other(int); return other(n); }\n#define KEEP run(p.M)",
       "a type stands"},
      {"struct A { int n; constexpr A() : n(0) {} };\n#define KEEP A{}.n", "a struct holds more"},
      {"struct A { int n; };\nstruct B : A {};\n#define KEEP B{}.n", "made from another"},
      {"constexpr int run(kl::Plan& a) { auto b = a.launch(\"k_1\"); b.arguments_[9].kind = 9; return 0; }\n"
       "#define KEEP run(plan)",
       "contract's own"},
      {"constexpr int run(kl::Plan a) { return 0; }\n#define KEEP run(plan)", "parameter"},
      {"constexpr int run(int n) { const char* a = \"k\"; return kl::detail::copy_text(a, a, n); }\n#define "
       "KEEP "
       "run(p.M)",
       "detail"},
      {"constexpr int run(int n) { return std::launder(&n)[0]; }\n#define KEEP run(p.M)", "standard library"},
      {"constexpr int run(int n) { return (int)(kl::Dtype)n; }\n#define KEEP run(p.M)", "no number"},
      {"constexpr int run(int n) { return __builtin_alloca(n) ? 1 : 0; }\n#define KEEP run(p.M)",
       "__builtin_alloca"},
      {"constexpr int run(int n) { for (const auto& x : {1, 2}) { auto f = [&] { return x; }; auto g = f; "
       "return g(); "
       "} return n; }\n#define KEEP run(p.M)",
       "is a function and is not called"},
      {"constexpr int run(int n) { return 07; }\n#define KEEP run(p.M)", "no plain number"},
      {"constexpr int run(int n) { return 1_k; }\n#define KEEP run(p.M)", "no plain number"},
      {"constexpr const char* run() { return \"a\\0b\"; }\n#define KEEP plan.require(true, run())",
       "plain characters"},
      {"constexpr const char* run() { return R\"(a)\"; }\n#define KEEP plan.require(true, run())", "prefix"},
      {"constexpr int linux = 3;\n#define KEEP linux", "linux"},
  };
  for (const Row& row : rows) {
    INFO(row.text);
    CHECK_THAT(refusal_of(with_text(row.text)), Catch::Contains(row.words));
  }
  std::string deep(300, '(');
  CHECK_THAT(refusal_of(with_text("#define KEEP " + deep + "1" + std::string(300, ')'))),
             Catch::Contains("too deeply"));
  std::string large = "constexpr int x0 = 1;\n";
  for (int i = 1; i < 5000; ++i) large += fmt::format("constexpr int x{} = x{};\n", i, i - 1);
  CHECK_THAT(refusal_of(with_text(large + "#define KEEP x4999")), Catch::Contains("too"));
}

TEST_CASE("attacks on the grammar do what a plan may, or are refused") {
  // Each of these was written to break it.
  const std::vector<Row> refused{
      {"constexpr int slow() { int n = 0; for (int i = 0; i < 1000; ++i) n += i; return n % 2; }\n"
       "struct A { int t[1] = {slow()}; int u = KEPT; };\n#define KEEP A{}.u",
       "KEPT"},
      {"constexpr int run(const Problem& p) { auto& t = p.y; t.id = 900; return 0; }\n#define KEEP run(p)",
       "contract's own"},
      {"constexpr int run(kl::Plan& a, int n) { auto& l = a.launch(\"k_1\"); l.grid_[n] = 7; return 0; }\n"
       "#define KEEP run(plan, p.M)",
       "contract's own"},
      {"constexpr int run(int n) { auto f = [&](int& x) { x = n; return x; }; return f(n); }\n#define KEEP "
       "run(p.M)",
       "changes what it is given"},
      {"constexpr int run(int n) { auto f = [&](int a) { return a; }; auto& g = f; return g(n); }\n#define "
       "KEEP "
       "run(p.M)",
       "is a function and is not called"},
      {"constexpr int run(int n) { auto f = [&](int a) { return a > 1 ? f(a - 1) : 1; }; return f(n); "
       "}\n#define KEEP "
       "run(p.M)",
       "\"f\" is no name"},
      {"#define A (int\n#define B &)\nconstexpr int run(int n) { return A B n; }\n#define KEEP run(p.M)",
       "a cast to a reference"},
      {"#define D(x) *x\n#define E(x) D(x)\nconstexpr int run(int n) { return E(&n); }\n#define KEEP "
       "run(p.M)",
       "an address"},
      {"constexpr int run(int n) { switch (n) { case 0: if (n) { case 1: return 1; } } return 0; }\n#define "
       "KEEP "
       "run(p.M)",
       "\"case\""},
      {"constexpr int run(int n) { return alignof(int[n]); }\n#define KEEP run(p.M)", "missing"},
      {"template <int... N> constexpr int run(int n) { return sizeof...(N); }\n#define KEEP run<1, 2>(p.M)",
       ""},
      {"struct A { int x : 3; };\n#define KEEP A{}.x", "missing"},
      {"struct A { float* x; };\n#define KEEP (int)sizeof(A)", "an address"},
      {"namespace kl { constexpr int cdiv(int a, int) { return a; } }\n#define KEEP kl::cdiv(p.M, 2)",
       "\"kl\""},
      {"enum safe { run };\n#define KEEP run", "\"safe\""},
      {"constexpr int run(int n) { return n; }\nconstexpr int run(long long n) { return 1; }\n#define KEEP "
       "run(p.M)",
       "declared twice"},
      {"using Other = kl::Plan;\nconstexpr int run(Other& a) { return 0; }\n#define KEEP run(plan)",
       "rename"},
      {"typedef kl::Plan Other;\nconstexpr int run(Other& a) { return 0; }\n#define KEEP run(plan)",
       "rename"},
      {"constexpr int run(int n) { for (auto& x : {1, 2}) n += x; return n; }\n#define KEEP run(p.M)",
       "counted through"},
  };
  for (const Row& row : refused) {
    INFO(row.text);
    CHECK_THAT(refusal_of(with_text(row.text)), Catch::Contains(row.words) && !Catch::Equals(""));
  }
}

TEST_CASE("what shadows, copies or refers in a plan's text does so in what is written") {
  // A name that is a member's and a constant's, a shadow, a reference to a table's
  // entry, a launch that is copied, a loop in a list that is a constant.
  const std::string source = with_text(R"(
constexpr int x = 5;
constexpr int slow() { int n = 0; for (int i = 0; i < 1000; ++i) n += i; return n % 7; }
struct A { int x = 1; int t[2] = {slow(), x_of()}; constexpr int all() const { return x + t[0]; } };
constexpr int run(kl::Plan& other, int n) {
  A a{};
  int t[2] = {n, 2};
  auto& first = t[0];
  first += a.all();
  const auto& launch = other.launch("k_1");
  auto copied = [&](int x) { return launch; };
  copied(n).grid(9).block(9);
  for (int x = 0, n = 2; x < n; ++x) t[x] += x;
  return t[0] + x;
}
#define KEEP run(plan, p.M))");
  std::string text = source;
  text.replace(text.find("x_of()"), 6, "3");
  CHECK(refusal_of(source) != "");
  CHECK(said_at(text, "7") == "7: 46\n");
}

TEST_CASE("members that have the names of what is written are members") {
  const std::string source = with_text(R"(
constexpr int f(int x) { return x; }
struct Names { static constexpr int f_1(int x) { return f(x) + 1; } };
struct Counter {
  int run, steps, M, shape, safe_1, f_1;
  constexpr int spin(int m) {
    auto saved = run;
    while (m == 21) run = saved;
    auto& again = run;
    again += 1;
    steps += 1000;
    return run + f_1;
  }
  constexpr int arg(int x) const { return x + M; }
};
constexpr int counted(const Problem& p) {
  Counter counter{Names::f_1(p.M), 0, p.M, (int)p.y.shape[0], 3, 4};
  const auto& tensor = p.y;
  counter.shape += (int)tensor.shape[0];
  const int spun = counter.spin(p.M);
  return spun + counter.arg(counter.shape) + counter.steps / 1000;
}
#define KEEP counted(p))");
  // 32 + (M + 1 + 1 + 4) + (2 M + M) + 1.
  CHECK(said_at(source, "20 21 22") == "20: 119\n21: its plan takes too many steps at this shape\n22: 127\n");
}

TEST_CASE("the contract's own arithmetic is noted where it has no value") {
  const std::string source = with_text(R"(
constexpr int made(const Problem& p, kl::Plan& plan) {
  const long long large = p.M == 21 ? 1LL << 40 : p.M == 22 ? 1LL << 62 : 2;
  if (p.M == 22) return plan.workspace(kl::f32, large).rank;
  return (int)p.y.view(large, large).elements();
}
#define KEEP made(p, plan))");
  CHECK(said_at(source, "20 21 22") ==
        "20: 36\n"
        "21: its plan computes a number that is too large at this shape\n"
        "22: its plan computes a number that is too large at this shape\n");
}

TEST_CASE("what the grammar takes and arithmetic has not, the compiler refuses by its type") {
  CHECK(host_trouble_of("static const int KEEP = 0;") == "");
  // An array has no value, a text none, a launch is no number, and a large local has no room.
  CHECK_THAT(host_trouble_of(
                 "struct A { int t[2] = {}; };\nconstexpr int run(int n) { A a{}; auto b = a.t + n; return "
                 "0; }\n#define KEEP run(p.M)"),
             Catch::StartsWith("host: the host compiler refuses"));
  CHECK_THAT(
      host_trouble_of("constexpr int run(kl::Plan& a) { auto b = a; return 0; }\n#define KEEP run(plan)"),
      Catch::StartsWith("host: the host compiler refuses"));
}

TEST_CASE(
    "sources whose plans would smuggle host code into an export are refused for what they hold, or are "
    "harmless") {
  int count = 0;
  for (const auto& entry :
       fs::directory_iterator(fs::path(KERNELITES_SOURCE_DIR) / "tests/exploits/host_code")) {
    const std::string source = read_text(entry.path());
    const auto marked = [&](const std::string& mark) {
      const std::size_t at = source.find(mark);
      return at == std::string::npos
                 ? ""
                 : source.substr(at + mark.size(), source.find('\n', at) - at - mark.size());
    };
    INFO(entry.path());
    const std::string expected = marked("// refused for: "), harmless = marked("// harmless: ");
    const std::string compiler = marked("// does not compile: ");
    REQUIRE(!expected.empty() + !harmless.empty() + !compiler.empty() == 1);
    if (!expected.empty()) CHECK_THAT(refusal_of(source), Catch::Contains(expected));
    if (!harmless.empty()) CHECK(refusal_of(source) == "");
    if (!compiler.empty())
      CHECK_THAT(host_trouble_of_source(source), Catch::Contains("host: ") && Catch::Contains(compiler));
    ++count;
  }
  CHECK(count >= 37);
}
