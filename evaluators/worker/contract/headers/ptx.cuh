// SPDX-License-Identifier: Apache-2.0
// Named wrappers for the PTX that fast attention kernels need; each names its section of the PTX ISA (9.0).
//
// Raw asm stays allowed: these only spare the operand lists that are easy to get wrong. Addresses of shared memory are
// the 32-bit kind of `smem_address`; `memory` clobbers order every wrapper that reads or writes memory.
#pragma once

#include <kernelites/ptx_barrier.cuh>
#include <kernelites/ptx_copy.cuh>
#include <kernelites/ptx_mma.cuh>
#include <kernelites/ptx_wgmma.cuh>
