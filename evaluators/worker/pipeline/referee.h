// SPDX-License-Identifier: Apache-2.0
// Role "referee": owns the tensors, draws the inputs, runs the reference and compares.
//
// It has its own device context and runs trusted code only; executors see the tensors it shares. Commands:
//   open      {device, threads}                        -> {facts, jail}
//   harness   image                                    -> {}
//   reference image                                    -> {module}   replaces the one before
//   inputs    image                                    -> {}         what computes inputs; replaces the one before
//   compute   {slot, plan, lowered} i64[4] (draw)      -> {}         computed inputs; the plan's last tensor is `draw`
//   allocate  {tensors: [{name, bytes, seen_bytes}]}   -> {slot} and one descriptor per tensor
//   fill      {slot, fills: [{tensor, unit, entries, has_invalid}]} FillOrder[fills], LeadingEntry[entries of each]
//                                                      -> {}
//   write     {slot, tensor} bytes                     -> {}         metadata, from offset 0
//   check     {slot, plan, lowered, groups: [rows], outputs: [{tensor, group}], all} CompareOrder[outputs], row lists
//             (i64)                                    -> WorstResult[outputs], then if `all` RowResult of all parts
//   compare   {slot, groups: [rows], outputs: [{tensor, group}]} CompareOrder[outputs], row lists, f64 values of each
//             output                                   -> WorstResult[outputs]
//   read      {slot, tensor}                           -> bytes      (tests and digests of inputs)
//   release   {slot}                                   -> {}
// The reference plan's tensors are the task's, with outputs replaced by private float64 ones, then the row lists, then
// the emulated outputs.
#pragma once

#include "evaluators/worker/sandbox/channel.h"

namespace kernelites::worker {

int referee_main(Channel& channel);

}  // namespace kernelites::worker
