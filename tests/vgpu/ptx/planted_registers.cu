// SPDX-License-Identifier: Apache-2.0
// Planted bugs of setmaxnreg (planted.cuh). A block of two warpgroups begins with 128 registers a thread: the bounds say
// two blocks a multiprocessor.
#include "planted.cuh"

#undef KERNEL
#define KERNEL extern "C" __global__ void __launch_bounds__(256, 2)
#define LOWER(registers) asm volatile("setmaxnreg.dec.sync.aligned.u32 " #registers ";")
#define RAISE(registers) asm volatile("setmaxnreg.inc.sync.aligned.u32 " #registers ";")

KERNEL deadlock__registers_beyond_the_pool(ARGS) {  // launch: grid 1, block 256
  INDICES;
  if (warp < 4) {
    LOWER(40);
    BARRIER(1, 256);  // <- bug
  } else {
    BUG(RAISE(232);, RAISE(216);)  // <- bug
    BARRIER(1, 256);
  }
  o[i] = a[i];
}
KERNEL deadlock__producer_keeps_its_registers(ARGS) {  // launch: grid 1, block 256
  INDICES;
  if (warp < 4) {
    BUG(, LOWER(40);)
    BARRIER(1, 256);  // <- bug
  } else {
    RAISE(216);  // <- bug
    BARRIER(1, 256);
  }
  o[i] = a[i];
}
KERNEL deadlock__registers_come_too_late(ARGS) {  // launch: grid 1, block 256, also divergent_barrier
  INDICES;
  if (warp < 4) {
    BUG(BARRIER(1, 256);, )  // <- bug
    LOWER(40);
    BUG(, BARRIER(1, 256);)
  } else {
    RAISE(216);  // <- bug
    BARRIER(1, 256);
  }
  o[i] = a[i];
}
KERNEL deadlock__producer_leaves_without_giving_back(ARGS) {  // launch: grid 1, block 256
  INDICES;
  o[i] = a[i];
  if (warp < 4) {
    BUG(, LOWER(40);)
    return;
  }
  RAISE(216);  // <- bug
  o[i] = a[i];
}
KERNEL bad_register_count__raises_to_fewer(ARGS) {  // launch: grid 1, block 256
  INDICES;
  if (warp < 4) {
    LOWER(40);
  } else {
    RAISE(208);
    BARRIER(1, 128);
    BUG(RAISE(200);, RAISE(216);)  // <- bug
  }
  o[i] = a[i];
}

#undef KERNEL
#define KERNEL extern "C" __global__ void BUG(, __launch_bounds__(256, 2))
KERNEL setmaxnreg_ignored__no_minimum_of_blocks(ARGS) {  // launch: grid 1, block 256
  INDICES;
  if (warp < 4) {
    LOWER(40);  // <- bug
  } else {
    RAISE(216);  // <- bug
  }
  o[i] = a[i];
}
