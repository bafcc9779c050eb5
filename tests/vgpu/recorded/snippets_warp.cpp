// SPDX-License-Identifier: Apache-2.0
// Snippets of operations across the lanes of a warp.
#include "tests/vgpu/recorded/snippet_tables.h"

namespace kernelites::recorded {
namespace {

constexpr Row k_across_lanes[] = {
    {"shfl.sync.<up,down,bfly,idx>.b32", "a:b32 b:u32/shift c:u32/shift -> d:b32 p:pred",
     "$0 d|p, a, b, c, -1;"},
    {"shfl.sync.<down,bfly>.b32 by <1,4,16>", "a:b32 -> d:b32 p:pred", "$0 d|p, a, $2, 31, -1;"},
    {"shfl.sync.up.b32 by <1,8>", "a:b32 -> d:b32 p:pred", "$0 d|p, a, $1, 0, -1;"},
    {"shfl.sync.up.b32 in segments of 8", "a:b32 -> d:b32 p:pred", "$0 d|p, a, 3, 0x1800, -1;"},
    {"shfl.sync.<down,bfly,idx>.b32 in segments of 4", "a:b32 -> d:b32 p:pred", "$0 d|p, a, 3, 0x1c1f, -1;"},
    {"shfl.sync.idx.b32 half a warp", "a:b32 -> d:b32 p:pred",
     ".reg .pred h; mov.b32 d, 7; setp.lt.u32 p, lane, 16; setp.lt.u32 h, lane, 16;"
     "@h shfl.sync.idx.b32 d|p, a, 5, 31, 0xffff;"},
    {"vote.sync.<all,any,uni>.pred", "c:pred -> p:pred", "$0 p, c, -1;"},
    {"vote.sync.<all,any,uni>.pred by warp", "-> p:pred",
     ".reg .pred c; .reg .b32 x; shr.u32 x, 0xf0f0ff00, lane; shl.b32 x, x, warp; and.b32 x, x, 8;"
     "setp.ne.u32 c, x, 0; setp.eq.or.u32 c, warp, 1, c; setp.ne.and.u32 c, warp, 2, c; $0 p, !c, -1;"},
    {"vote.sync.ballot.b32", "c:pred -> d:b32", "$0 d, c, -1;"},
    {"match.any.sync.<b32,b64>", "a:$1/few -> d:b32", "$0 d, a, -1;"},
    {"match.all.sync.<b32,b64>", "a:$1/few -> d:b32 p:pred",
     ".reg .pred s; setp.lt.u32 s, warp, 2; @s mov.$1 a, 5; $0 d|p, a, -1;"},
    {"redux.sync.<add,min,max>.<s32,u32>", "a:$2 -> d:$2", "$0 d, a, -1;"},
    {"redux.sync.<and,or,xor>.b32", "a:b32 -> d:b32", "$0 d, a, -1;"},
    {"redux.sync.add.s32 odd lanes", "a:s32 -> d:s32",
     ".reg .pred o; .reg .b32 x; and.b32 x, lane, 1; setp.eq.u32 o, x, 1; mov.b32 d, 0;"
     "@o $0 d, a, 0xaaaaaaaa;"},
    {"elect.sync", "a:b32 -> p:pred", ".reg .b32 x; elect.sync x|p, -1;"},
    {"activemask.b32", "a:b32 -> d:b32", "bar.warp.sync -1; activemask.b32 d;"},
    {"mov.u32 <%laneid,%lanemask_eq,%lanemask_lt,%lanemask_le,%lanemask_gt,%lanemask_ge,%ntid.x,%tid.x>",
     "a:b32 -> d:b32", "mov.u32 d, $1;"},
};

}  // namespace

std::vector<Family> warp_families() { return {{"operations across lanes", k_across_lanes}}; }

}  // namespace kernelites::recorded
