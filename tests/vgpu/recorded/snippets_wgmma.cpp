// SPDX-License-Identifier: Apache-2.0
// Snippets of wgmma: every type, shape, swizzle and major axis. The operands fill 8 KiB of shared memory each with
// drawn bytes, so that any layout that a descriptor can name is read.
#include <fmt/format.h>

#include <list>

#include "tests/vgpu/recorded/snippet_tables.h"

namespace kernelites::recorded {
namespace {

/// Rows made by code, with the texts that they point to.
struct MadeRows {
  std::list<std::string> texts;
  std::vector<Row> rows;

  void add(std::string name, std::string operands, std::string body) {
    const char* parts[3];
    std::size_t k = 0;
    for (std::string* text : {&name, &operands, &body}) {
      texts.push_back(std::move(*text));
      parts[k++] = texts.back().c_str();
    }
    rows.push_back({.name = parts[0], .operands = parts[1], .body = parts[2]});
  }
};

/// One product D = A B + D, or several of them one behind the other along K.
struct Product {
  const char* d = "f32";
  const char* a = "f16";
  const char* b = "f16";
  const char* profile = "w";
  int columns = 8;
  int swizzle = 0;
  bool is_a_in_registers = false, transposes_a = false, transposes_b = false;
  int negates_a = 1, negates_b = 1;  ///< 1 or -1
  bool adds = true, saturates = false;
  int steps = 1;
  int shift = 0,
      base =
          0;  ///< both operands begin 128 times `shift` bytes later, and their descriptors say this base offset
  bool is_whole = false;  ///< all of D is recorded, else a digest of each lane's part
};

bool is_half(std::string_view type) { return type == "f16" || type == "bf16"; }
bool is_integer(const Product& p) { return std::string_view(p.d) == "s32"; }
bool is_binary(const Product& p) { return std::string_view(p.a) == "b1"; }
int depth_of(const Product& p) {
  if (is_binary(p)) return 256;
  return is_half(p.a) ? 16 : std::string_view(p.a) == "tf32" ? 8 : 32;
}
int register_count(const Product& p) { return p.columns / (std::string_view(p.d) == "f16" ? 4 : 2); }
std::string packed(std::string_view type) {
  if (type == "b1") return "b32";
  return fmt::format("{}{}", type, is_half(type) ? "x2" : type == "tf32" ? "" : "x4");
}

/// The upper bits of a descriptor: distances in 16 bytes, and the swizzle.
std::string layout(int swizzle, bool is_mn_major, int base) {
  const unsigned long long code = swizzle == 0 ? 0 : swizzle == 128 ? 1 : swizzle == 64 ? 2 : 3;
  const unsigned long long row = swizzle == 0 ? 16 : static_cast<unsigned long long>(swizzle);
  const unsigned long long stride = swizzle == 0 ? 256 : 8 * row, leading = swizzle == 0  ? 128
                                                                            : is_mn_major ? 16 * row
                                                                                          : 16;
  return fmt::format("{:#x}", code << 62 | static_cast<unsigned long long>(base) << 49 | stride / 16 << 32 |
                                  leading / 16 << 16);
}

constexpr const char* k_fill =
    ".shared .align 1024 .b8 tiles[16384]; .reg .b32 at, t; .reg .b64 da, db; .reg .pred adds;"
    "mov.u32 t, tiles; mad.lo.u32 at, thread, 16, t;"
    "st.shared.v4.b32 [at], {a0, a1, a2, a3}; st.shared.v4.b32 [at+2048], {a4, a5, a6, a7};"
    "st.shared.v4.b32 [at+4096], {a8, a9, a10, a11}; st.shared.v4.b32 [at+6144], {a12, a13, a14, a15};"
    "st.shared.v4.b32 [at+8192], {b0, b1, b2, b3}; st.shared.v4.b32 [at+10240], {b4, b5, b6, b7};"
    "st.shared.v4.b32 [at+12288], {b8, b9, b10, b11}; st.shared.v4.b32 [at+14336], {b12, b13, b14, b15};"
    "fence.proxy.async; bar.sync 0;"
    "cvt.u64.u32 da, t; shr.u64 da, da, 4; add.u64 db, da, 512;";

std::string instruction_of(const Product& p) {
  return fmt::format("wgmma.mma_async.sync.aligned.m64n{}k{}{}.{}.{}.{}{}", p.columns, depth_of(p),
                     p.saturates ? ".satfinite" : "", p.d, p.a, p.b, is_binary(p) ? ".and.popc" : "");
}

std::string name_of(const Product& p) {
  std::string name = fmt::format("{} {}", instruction_of(p), p.profile);
  if (p.swizzle != 0) name += fmt::format(" swizzle {}", p.swizzle);
  if (p.is_a_in_registers) name += " registers";
  if (p.transposes_a) name += " transposed a";
  if (p.transposes_b) name += " transposed b";
  if (p.negates_a < 0) name += " minus a";
  if (p.negates_b < 0) name += " minus b";
  if (!p.adds) name += " alone";
  if (p.steps > 1) name += fmt::format(" {} steps", p.steps);
  if (p.shift != 0 || p.base != 0) name += fmt::format(" shifted by {} base {}", p.shift, p.base);
  return name + (p.is_whole ? "" : " digest");
}

std::string body_of(const Product& p) {
  const int count = register_count(p);
  std::string text = k_fill, vector;
  text += fmt::format("or.b64 da, da, {}; or.b64 db, db, {}; setp.{}.u32 adds, t, t;",
                      layout(p.swizzle, p.transposes_a, p.base), layout(p.swizzle, p.transposes_b, p.base),
                      p.adds ? "eq" : "ne");
  if (p.shift != 0) text += fmt::format("add.u64 da, da, {0}; add.u64 db, db, {0};", 8 * p.shift);
  const std::string d = p.is_whole ? "d" : "r";
  if (!p.is_whole) text += fmt::format(".reg .b32 r<{}>;", count);
  for (int k = 0; k < count; ++k) {
    text += fmt::format("mov.b32 {}{}, c{};", d, k, k % 4);
    vector += fmt::format("{}{}{}", k == 0 ? "" : ", ", d, k);
  }
  text += "wgmma.fence.sync.aligned;";
  for (int step = 0; step < p.steps; ++step) {
    text += fmt::format("{} {{{}}}, {}, db, adds", instruction_of(p), vector,
                        p.is_a_in_registers ? "{a0, a1, a2, a3}" : "da");
    if (!is_integer(p)) text += fmt::format(", {}, {}", p.negates_a, p.negates_b);
    if (is_half(p.a) && !p.is_a_in_registers) text += fmt::format(", {}", p.transposes_a ? 1 : 0);
    if (is_half(p.a)) text += fmt::format(", {}", p.transposes_b ? 1 : 0);
    text += "; add.u64 da, da, 2; add.u64 db, db, 2;";
  }
  text += "wgmma.commit_group.sync.aligned; wgmma.wait_group.sync.aligned 0;";
  if (p.is_whole) return text;
  text += "mov.b32 d, r0;";
  for (int k = 1; k < count; ++k) text += fmt::format("mad.lo.u32 d, d, 0x9e3779b1, r{};", k);
  return text;
}

void add(MadeRows& rows, const Product& p) {
  const bool is_packed = std::string_view(p.d) == "f16";
  const std::string slash = is_integer(p) ? "" : fmt::format("/{}", p.profile);
  rows.add(name_of(p),
           fmt::format("a[16]:{}{} b[16]:{}{} c[4]:{}{} -> {}", packed(p.a), slash, packed(p.b), slash,
                       is_packed ? "f16x2" : p.d, slash,
                       p.is_whole ? fmt::format("d[{}]:b32", register_count(p)) : "d:b32"),
           body_of(p));
}

struct MatrixTypes {
  const char* d;
  const char* a;
  const char* b;
};
constexpr MatrixTypes k_matrix_types[] = {
    {"f32", "f16", "f16"},   {"f16", "f16", "f16"},   {"f32", "bf16", "bf16"}, {"f32", "tf32", "tf32"},
    {"f32", "e4m3", "e4m3"}, {"f32", "e4m3", "e5m2"}, {"f32", "e5m2", "e4m3"}, {"f32", "e5m2", "e5m2"},
    {"f16", "e4m3", "e4m3"}, {"f16", "e4m3", "e5m2"}, {"f16", "e5m2", "e4m3"}, {"f16", "e5m2", "e5m2"}};

const MadeRows& numbers() {
  static const MadeRows made = [] {
    MadeRows rows;
    for (const MatrixTypes& t : k_matrix_types) {
      for (const char* profile : {"w", "s", "d"})
        add(rows, {.d = t.d, .a = t.a, .b = t.b, .profile = profile, .is_whole = true});
      for (const char* profile : {"m", "z"}) add(rows, {.d = t.d, .a = t.a, .b = t.b, .profile = profile});
      add(rows, {.d = t.d, .a = t.a, .b = t.b, .profile = "m", .negates_b = -1});
      add(rows, {.d = t.d, .a = t.a, .b = t.b, .profile = "m", .adds = false});
      add(rows, {.d = t.d, .a = t.a, .b = t.b, .profile = "m", .swizzle = 128, .steps = 4});
      add(rows, {.d = t.d, .a = t.a, .b = t.b, .profile = "m", .is_a_in_registers = true, .negates_a = -1});
    }
    for (const char* a : {"s8", "u8"}) {
      for (const char* b : {"s8", "u8"}) {
        const Product p{.d = "s32", .a = a, .b = b, .profile = ""};
        for (const bool saturates : {false, true}) {
          Product q = p;
          q.saturates = saturates;
          add(rows, q);
          q.is_a_in_registers = true;
          add(rows, q);
        }
      }
    }
    return rows;
  }();
  return made;
}

const MadeRows& shapes() {
  static const MadeRows made = [] {
    MadeRows rows;
    for (int columns = 16; columns <= 256; columns += 8) add(rows, {.profile = "m", .columns = columns});
    for (const int columns : {16, 24, 32, 64, 96, 128, 192, 256}) {
      add(rows, {.d = "f16", .profile = "m", .columns = columns});
      add(rows, {.a = "bf16", .b = "bf16", .profile = "m", .columns = columns});
      add(rows, {.a = "tf32", .b = "tf32", .profile = "m", .columns = columns});
      add(rows, {.a = "e4m3", .b = "e5m2", .profile = "m", .columns = columns});
      add(rows, {.d = "s32", .a = "s8", .b = "u8", .profile = "", .columns = columns});
    }
    return rows;
  }();
  return made;
}

const MadeRows& layouts() {
  static const MadeRows made = [] {
    MadeRows rows;
    for (const int swizzle : {0, 32, 64, 128}) {
      for (const char* type : {"f16", "bf16"}) {
        for (const bool a : {false, true})
          for (const bool b : {false, true})
            if (swizzle != 0 || a || b)  // shapes() has the plain one
              add(rows, {.a = type,
                         .b = type,
                         .profile = "m",
                         .columns = 64,
                         .swizzle = swizzle,
                         .transposes_a = a,
                         .transposes_b = b});
        add(rows, {.a = type,
                   .b = type,
                   .profile = "m",
                   .columns = 32,
                   .swizzle = swizzle,
                   .is_a_in_registers = true,
                   .transposes_b = true});
      }
      for (const MatrixTypes& t : {MatrixTypes{"f32", "tf32", "tf32"}, MatrixTypes{"f32", "e4m3", "e4m3"},
                                   MatrixTypes{"f16", "e5m2", "e5m2"}, MatrixTypes{"s32", "u8", "s8"}})
        add(rows, {.d = t.d, .a = t.a, .b = t.b, .profile = "m", .columns = 48, .swizzle = swizzle});
    }
    return rows;
  }();
  return made;
}

/// Tiles that do not begin where the swizzle's pattern does.
const MadeRows& base_offsets() {
  static const MadeRows made = [] {
    MadeRows rows;
    struct Place {
      int swizzle, shift, base;
    };
    for (const Place& place :
         {Place{128, 1, 0}, Place{128, 1, 1}, Place{128, 3, 3}, Place{128, 7, 7}, Place{128, 0, 1},
          Place{128, 0, 5}, Place{128, 5, 2}, Place{128, 2, 6}, Place{64, 1, 0},  Place{64, 1, 1},
          Place{64, 3, 3},  Place{64, 0, 1},  Place{64, 0, 6},  Place{64, 2, 1},  Place{32, 1, 0},
          Place{32, 1, 1},  Place{32, 0, 1},  Place{32, 0, 2},  Place{32, 2, 3},  Place{0, 1, 1}}) {
      for (const bool is_transposed : {false, true})
        add(rows, {.profile = "m",
                   .columns = 16,
                   .swizzle = place.swizzle,
                   .transposes_a = is_transposed,
                   .transposes_b = is_transposed,
                   .shift = place.shift,
                   .base = place.base});
    }
    return rows;
  }();
  return made;
}

const MadeRows& single_bits() {
  static const MadeRows made = [] {
    MadeRows rows;
    for (const int columns : {8, 16, 24, 32, 48, 128, 256})
      add(rows, {.d = "s32", .a = "b1", .b = "b1", .profile = "", .columns = columns});
    add(rows, {.d = "s32", .a = "b1", .b = "b1", .profile = "", .is_a_in_registers = true, .is_whole = true});
    add(rows, {.d = "s32", .a = "b1", .b = "b1", .profile = "", .adds = false, .is_whole = true});
    for (const int swizzle : {32, 64, 128})
      add(rows, {.d = "s32", .a = "b1", .b = "b1", .profile = "", .columns = 64, .swizzle = swizzle});
    return rows;
  }();
  return made;
}

}  // namespace

std::vector<Family> wgmma_families() {
  return {{"wgmma", numbers().rows},
          {"wgmma shapes", shapes().rows},
          {"wgmma layouts", layouts().rows},
          {"wgmma base offsets", base_offsets().rows},
          {"wgmma of single bits", single_bits().rows}};
}

}  // namespace kernelites::recorded
