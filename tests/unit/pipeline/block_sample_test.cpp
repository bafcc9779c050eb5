// SPDX-License-Identifier: Apache-2.0
// Which blocks stand for a grid, and which rows of the outputs they complete.
#include "evaluators/worker/pipeline/block_sample.h"

#include <algorithm>
#include <set>

#include "tests/support/catch.h"

using namespace kernelites;
using namespace kernelites::worker;

namespace {

PlannedLaunch grid(std::uint32_t x, std::uint32_t y, std::uint32_t z, std::uint32_t cluster = 1) {
  return {.kernel = "k", .grid = {x, y, z}, .cluster = {cluster, 1, 1}};
}

constexpr std::uint64_t k_seed = 7;
constexpr std::int64_t k_row_bytes = 128;

// write_eighth: blocks (0 .. 7, y) write an eighth of row y each; in row 5 every one of them writes all of it.
// write_tile: block (x, y) writes rows 4 x .. 4 x + 3 of the 10 of y, as far as they are below `rows`.
// write_row: block b writes row b (32 words) of `out`, with what it finds in part[b] and part[b + 1].
// write_part: block b writes part[b].
constexpr const char* k_ptx = R"(.version 8.8
.target sm_90a
.address_size 64
.visible .entry write_part(.param .u64 part) {
  .reg .u64 %rd<4>; .reg .u32 %r<3>;
  ld.param.u64 %rd1, [part];
  mov.u32 %r1, %ctaid.x;
  mul.wide.u32 %rd2, %r1, 4;
  add.u64 %rd3, %rd1, %rd2;
  st.global.u32 [%rd3], %r1;
  ret;
}
.visible .entry write_eighth(.param .u64 out) {
  .reg .u64 %rd<5>; .reg .u32 %r<8>; .reg .pred %p<4>;
  ld.param.u64 %rd1, [out];
  mov.u32 %r1, %ctaid.x;
  mov.u32 %r2, %ctaid.y;
  mov.u32 %r3, %tid.x;
  shr.u32 %r4, %r3, 2;
  setp.ne.u32 %p1, %r4, %r1;
  setp.ne.u32 %p2, %r2, 5;
  and.pred %p3, %p1, %p2;
  @%p3 ret;
  mad.lo.u32 %r5, %r2, 32, %r3;
  mul.wide.u32 %rd2, %r5, 4;
  add.u64 %rd3, %rd1, %rd2;
  st.global.u32 [%rd3], %r3;
  ret;
}
.visible .entry write_tile(.param .u64 out, .param .u32 rows) {
  .reg .u64 %rd<5>; .reg .u32 %r<9>; .reg .pred %p<2>;
  ld.param.u64 %rd1, [out];
  ld.param.u32 %r8, [rows];
  mov.u32 %r1, %ctaid.x;
  mov.u32 %r2, %ctaid.y;
  mov.u32 %r3, %tid.x;
  shr.u32 %r4, %r3, 5;
  mad.lo.u32 %r4, %r1, 4, %r4;
  setp.ge.u32 %p1, %r4, %r8;
  @%p1 ret;
  mad.lo.u32 %r5, %r2, 10, %r4;
  and.b32 %r6, %r3, 31;
  mad.lo.u32 %r7, %r5, 32, %r6;
  mul.wide.u32 %rd2, %r7, 4;
  add.u64 %rd3, %rd1, %rd2;
  st.global.u32 [%rd3], %r3;
  ret;
}
.visible .entry write_row(.param .u64 part, .param .u64 out) {
  .reg .u64 %rd<9>; .reg .u32 %r<8>;
  ld.param.u64 %rd1, [part];
  ld.param.u64 %rd4, [out];
  mov.u32 %r1, %ctaid.x;
  mov.u32 %r2, %tid.x;
  mul.wide.u32 %rd2, %r1, 4;
  add.u64 %rd3, %rd1, %rd2;
  ld.global.u32 %r3, [%rd3];
  ld.global.u32 %r4, [%rd3+4];
  mad.lo.u32 %r5, %r1, 32, %r2;
  mul.wide.u32 %rd5, %r5, 4;
  add.u64 %rd6, %rd4, %rd5;
  st.global.u32 [%rd6], %r4;
  ret;
}
)";

BoundArgument pointer(const Buffer& buffer) {
  const auto* bytes = reinterpret_cast<const std::byte*>(&buffer.address);
  return {.bytes = {bytes, bytes + sizeof buffer.address}};
}

BoundArgument number(std::uint32_t value) {
  const auto* bytes = reinterpret_cast<const std::byte*>(&value);
  return {.bytes = {bytes, bytes + sizeof value}};
}

/// Tiles of 4 of the 10 rows of each of 64 heads, of which `rows` are written.
BlockSampleOutcome sample_tiles(std::uint64_t seed, std::uint32_t rows) {
  const auto device = make_vgpu_device(1);
  const ModuleId module = device->load({.ptx = k_ptx});
  const Buffer out = device->allocate(640 * k_row_bytes, "out");
  const std::vector<BoundLaunch> launches{
      {.module = module,
       .kernel = "write_tile",
       .plan = {.kernel = "write_tile", .grid = {3, 64, 1}, .block = {128, 1, 1}},
       .arguments = {pointer(out), number(rows)}}};
  const std::vector<SampledOutput> outputs{
      {.buffer = out, .piece_bytes = k_row_bytes, .axes = {{.extent = 640}}}};
  const std::function<void()> refresh = [&] { device->mark_unwritten(out); };
  return sample_blocks(*device, {.launches = launches,
                                 .outputs = outputs,
                                 .refresh = refresh,
                                 .seed = seed,
                                 .instructions_max = 1'000'000});
}

/// Two launches, 64 blocks each: a part for every block, rows out of two neighbouring parts.
BlockSampleOutcome sample_two_launches(std::uint64_t instructions_max, std::uint32_t writers = 64,
                                       const PlannedLaunch& first = grid(65, 1, 1)) {
  const auto device = make_vgpu_device(1);
  const ModuleId module = device->load({.ptx = k_ptx});
  const Buffer part = device->allocate(65 * 4, "part"), out = device->allocate(64 * k_row_bytes, "out");
  const std::vector<BoundLaunch> launches{
      {.module = module, .kernel = "write_part", .plan = first, .arguments = {pointer(part)}},
      {.module = module,
       .kernel = "write_row",
       .plan = {.kernel = "write_row", .grid = {writers, 1, 1}, .block = {32, 1, 1}},
       .arguments = {pointer(part), pointer(out)}}};
  const std::vector<SampledOutput> outputs{
      {.buffer = out, .piece_bytes = k_row_bytes, .axes = {{.extent = 64}}}};
  const std::function<void()> refresh = [&] {
    device->mark_unwritten(part);
    device->mark_unwritten(out);
  };
  return sample_blocks(*device, {.launches = launches,
                                 .outputs = outputs,
                                 .refresh = refresh,
                                 .seed = k_seed,
                                 .instructions_max = instructions_max});
}

}  // namespace

TEST_CASE("a grid is represented by one block at first") {
  CHECK(grown_blocks(grid(8, 48, 64), k_seed, 0).size() == 1);
}

TEST_CASE("another seed draws another block") {
  std::set<std::uint64_t> drawn;
  for (std::uint64_t seed = 0; seed < 8; ++seed)
    drawn.insert(grown_blocks(grid(100, 100, 1), seed, 0).front());
  CHECK(drawn.size() > 4);
}

TEST_CASE("blocks grow along one axis after the other, the shortest first, and then along all") {
  const PlannedLaunch launch = grid(8, 48, 1);
  REQUIRE(axis_count(launch) == 2);
  const auto row = grown_blocks(launch, k_seed, 1), column = grown_blocks(launch, k_seed, 2),
             cross = grown_blocks(launch, k_seed, 3);
  CHECK(row.size() == 8);
  CHECK(row.back() - row.front() == 7);
  CHECK(column.size() == 48);
  CHECK(cross.size() == 8 + 47);
  CHECK(std::includes(cross.begin(), cross.end(), row.begin(), row.end()));
  CHECK(std::includes(cross.begin(), cross.end(), column.begin(), column.end()));
}

TEST_CASE("clusters stay whole") {
  const auto blocks = grown_blocks(grid(16, 1, 1, 4), k_seed, 0);
  REQUIRE(blocks.size() == 4);
  CHECK(blocks.front() % 4 == 0);
  CHECK(blocks.back() == blocks.front() + 3);
}

TEST_CASE("an axis that is too long is represented by a stretch of it") {
  CHECK(grown_blocks(grid(1'000'000, 1, 1), k_seed, 1).size() == k_slice_blocks_max);
}

TEST_CASE("rows are complete once the blocks that they need have run, and no others are told") {
  const BlockSampleOutcome outcome = sample_two_launches(1'000'000);
  REQUIRE(!outcome.fault);
  CHECK(!outcome.rows.empty());
  CHECK(outcome.rows.back() < 64);
  CHECK_FALSE(outcome.lacks_rows);
  CHECK(outcome.instructions > 0);
}

TEST_CASE("no row is told when the budget ends before one is complete") {
  const BlockSampleOutcome outcome = sample_two_launches(20);
  CHECK(!outcome.fault);
  CHECK(outcome.rows.empty());
}

TEST_CASE("the blocks that a timed run consists of tell the rows that they complete themselves") {
  const auto device = make_vgpu_device(1);
  const ModuleId module = device->load({.ptx = k_ptx});
  const Buffer out = device->allocate(640 * k_row_bytes, "out");
  const std::vector<BoundLaunch> launches{
      {.module = module,
       .kernel = "write_tile",
       .plan = {.kernel = "write_tile", .grid = {3, 64, 1}, .block = {128, 1, 1}},
       .arguments = {pointer(out), number(10)}}};
  // Timed, it leaves the others as they were.
  device->fill(out, 0);
  device->mark_unwritten(out);
  device->seed_samples(k_seed);
  REQUIRE(!device->run({}, launches, RunMode::timing, 1).fault);
  const std::vector<std::int64_t> timed = device->written_rows(out, k_row_bytes);

  const std::vector<SampledOutput> outputs{
      {.buffer = out, .piece_bytes = k_row_bytes, .axes = {{.extent = 640}}}};
  const std::function<void()> refresh = [&] { device->mark_unwritten(out); };
  const BlockSampleOutcome sampled = sample_blocks(*device, {.launches = launches,
                                                             .outputs = outputs,
                                                             .refresh = refresh,
                                                             .seed = 99,
                                                             .timed_seed = k_seed,
                                                             .instructions_max = 1'000'000});
  CHECK(sampled.rows == timed);
  CHECK(timed.size() > 16);
}

TEST_CASE("a row whose pieces lie apart is complete when all of them are written") {
  const SampledOutput tokens_between{.buffer = {}, .piece_bytes = 4, .axes = {{2}, {5, false}, {3}}};
  CHECK(tokens_between.rows() == 6);
  CHECK(tokens_between.pieces_of_row() == 5);
  CHECK(tokens_between.row_of(0) == 0);
  CHECK(tokens_between.row_of(4) == 1);   // token 1, head 1
  CHECK(tokens_between.row_of(15) == 3);  // the next element of the batch
  // Tiles of 4 rows of 10, read as 64 heads of 10 pieces: a whole head needs its three blocks.
  const auto device = make_vgpu_device(1);
  const ModuleId module = device->load({.ptx = k_ptx});
  const Buffer out = device->allocate(640 * k_row_bytes, "out");
  const std::vector<BoundLaunch> launches{
      {.module = module,
       .kernel = "write_tile",
       .plan = {.kernel = "write_tile", .grid = {3, 64, 1}, .block = {128, 1, 1}},
       .arguments = {pointer(out), number(10)}}};
  const std::vector<SampledOutput> outputs{
      {.buffer = out, .piece_bytes = k_row_bytes, .axes = {{64}, {10, false}}}};
  const std::function<void()> refresh = [&] { device->mark_unwritten(out); };
  const BlockSampleOutcome sampled = sample_blocks(*device, {.launches = launches,
                                                             .outputs = outputs,
                                                             .refresh = refresh,
                                                             .seed = k_seed,
                                                             .instructions_max = 1'000'000});
  CHECK(sampled.rows.size() == 1);
  CHECK(sampled.blocks == 3);
}

TEST_CASE("a grid with fewer blocks than there are rows lacks rows") {
  const BlockSampleOutcome outcome = sample_two_launches(1'000'000, 8);
  REQUIRE(!outcome.fault);
  CHECK(outcome.lacks_rows);
}

TEST_CASE("blocks along one of two axes of an earlier launch are no share of the rows behind it") {
  const BlockSampleOutcome outcome = sample_two_launches(1'000'000, 8, grid(65, 3, 1));
  REQUIRE(!outcome.fault);
  CHECK_FALSE(outcome.lacks_rows);
}

TEST_CASE("rows into which several blocks scatter are not missed where luck completes one") {
  for (std::uint64_t seed = 0; seed < 64; ++seed) {
    const auto device = make_vgpu_device(1);
    const ModuleId module = device->load({.ptx = k_ptx});
    const Buffer out = device->allocate(32 * k_row_bytes, "out");
    const std::vector<BoundLaunch> launches{
        {.module = module,
         .kernel = "write_eighth",
         .plan = {.kernel = "write_eighth", .grid = {8, 32, 1}, .block = {32, 1, 1}},
         .arguments = {pointer(out)}}};
    const std::vector<SampledOutput> outputs{
        {.buffer = out, .piece_bytes = k_row_bytes, .axes = {{.extent = 32}}}};
    const std::function<void()> refresh = [&] { device->mark_unwritten(out); };
    const BlockSampleOutcome outcome = sample_blocks(*device, {.launches = launches,
                                                               .outputs = outputs,
                                                               .refresh = refresh,
                                                               .seed = seed,
                                                               .instructions_max = 1'000'000});
    REQUIRE(!outcome.fault);
    CHECK_FALSE(outcome.lacks_rows);
  }
}

TEST_CASE("a short tile at the end of an axis lacks no rows, whichever block is drawn") {
  for (std::uint64_t seed = 0; seed < 32; ++seed) {
    const BlockSampleOutcome outcome = sample_tiles(seed, 10);
    REQUIRE(!outcome.fault);
    CHECK_FALSE(outcome.lacks_rows);
    CHECK(!outcome.rows.empty());
  }
}

TEST_CASE(
    "rows that every head leaves out are missed, at least where a block is drawn that should write some") {
  int found = 0;
  for (std::uint64_t seed = 0; seed < 32; ++seed) found += sample_tiles(seed, 7).lacks_rows ? 1 : 0;
  CHECK(found >= 8);
}
