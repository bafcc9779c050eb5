# SPDX-License-Identifier: Apache-2.0
"""The table that the time model is held against: kernels timed on a GPU, beside what the virtual GPU counts of them.

  python3 tests/bench/time_model_table.py requests gpu gpu.jsonl
  kernelites-worker --device gpu --batch gpu.jsonl gpu_out.jsonl
  python3 tests/bench/time_model_table.py requests vgpu vgpu.jsonl
  kernelites-worker --device vgpu --batch vgpu.jsonl vgpu_out.jsonl
  python3 tests/bench/time_model_table.py join gpu_out.jsonl vgpu_out.jsonl tests/bench/time_model_h100.jsonl

Kernels are the tunables of good seeds (all choices, or those one change away from the default) and the naive seeds.
"""
import hashlib
import itertools
import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ARMS_MAX = 16

# task: (good seed, which tunings, workloads of the good seed alone, workloads of both seeds)
TASKS = {
    "gqa_decode_splitkv": ("split_kv.cu", "star", ["llama3_8b_b8_s8k", "llama31_8b_b1_s128k"], ["llama3_8b_b32_s1k"]),
    "gqa_decode_paged": ("mma_gather.cu", "star", ["llama3_8b_b64_s8k_p16", "llama3_70b_b16_s8k_p64"],
                         ["llama3_8b_b32_s4k_p1"]),
    "gqa_decode_ragged_balanced": ("stream_k.cu", "star", ["llama3_70b_b8"], ["six_sequences"]),
    "kv_fp8_decode": ("mma_codes.cu", "star", ["llama3_8b_b64_s8k", "qwen3_30b_b1_s64k"], ["llama3_8b_b32_s1k"]),
    "mustafar_bitmap_decode": ("mma_unpack.cu", "star", ["llama3_8b_b8_s32k_70"], ["llama3_8b_b32_s4k_half"]),
    "gqa_prefill_causal": ("mma_sync.cu", "all", ["llama32_1b_b8_s4k", "llama3_8b_b8_s4k"], ["mha_b8_s2k"]),
    "mha_prefill_full": ("mma_sync.cu", "all", ["flux_4608"], ["vit_l_b64"]),
    "block_sparse_prefill": ("mma_sync.cu", "all", ["llama3_8b_32k_10"], ["mha_d64_b2_8k_20"]),
    "gna_2d_fwd": ("mma_sync.cu", "all", ["hdit_64"], ["nat_tiny_28"]),
    "nsa_selected_fwd": ("mma_sync.cu", "all", ["g4_b1_s32k"], ["g1_b2_s16k"]),
    "lightning_fwd": ("chunked_mma.cu", "all", ["transnormer_7b_b8_4k"], ["sala_9b_32k"]),
    "kda_chunk_fwd": ("chunked_mma.cu", "all", ["kimi_linear_b8_4k"], ["kimi_linear_b16_1k"]),
    "rmsnorm": ("vectorised.cu", "all", ["llama3_70b_prefill"], ["llama3_8b_prefill", "llama3_8b_decode"]),
    "softmax_row": ("vectorised.cu", "all", ["m32768_n1024"], ["m8192_n4096", "llama3_vocabulary"]),
    "attention_state_merge": ("vectorised.cu", "star", ["decode_p16_n64"], ["prefill_p8_n4k", "mla_p64_n128"]),
    "dora_compose_fwd": ("vectorised.cu", "all", ["llama3_8b_decode"], ["llama3_8b_mlp_4k"]),
    "gr_kan_bwd": ("fused_reduction.cu", "star", [], ["kat_small_mlp_b128"]),
    "delta_page_select": ("mma_radix.cu", "star", ["llama31_8b_b16_s32k"], ["llama3_8b_b64_s8k"]),
    "snapkv_select": ("fused_mma.cu", "all", ["longchat_7b_b4_16k"], ["llama3_8b_16k"]),
}


def text(path):
    return (ROOT / path).read_text()


def document(task):
    comment = r'("(?:[^"\\]|\\.)*")|//[^\n]*'
    return json.loads(re.sub(comment, lambda m: m.group(1) or "", text(f"tasks/{task}/task.json")))


def tunings(source, which):
    choices = {n: [int(x) for x in v.split("|")] for n, v in re.findall(r"^// tune: (\w+) = (.*)$", source, re.M)}
    if which == "all":
        return [dict(zip(choices, values)) for values in itertools.product(*choices.values())]
    default = {name: values[0] for name, values in choices.items()}
    return [default] + [{**default, name: value} for name, values in choices.items() for value in values[1:]]


def arms(task, seed, which):
    source = text(f"kernels_seed/{task}/{seed}")
    return [{"label": seed[:-3] + "".join(f" {n}={v}" for n, v in tuning.items()),
             "candidate": {"source": source, "tuning": tuning}} for tuning in tunings(source, which)][:ARMS_MAX]


def request(task, device, name, contestants, workloads, rounds):
    return {"kernelites_request": 1, "id": name, "device": device, "deadline_s": 75 if device == "gpu" else 600,
            "task_document": document(task), "reference_source": text(f"tasks/{task}/reference.cu"),
            "duel": {"arms": contestants, "workloads": workloads, "rounds": rounds, "confidence": 0.99,
                     "may_stop_early": False, "key": hashlib.sha256(name.encode()).hexdigest()}}


def write_requests(device, path):
    """On a GPU the arms of a seed are interleaved; the virtual GPU tells its counts of arm 0, so each is alone."""
    good_ones, naive_ones = [], []
    for task, (seed, which, of_good, of_both) in TASKS.items():
        good, naive = arms(task, seed, which), arms(task, "naive.cu", "star")
        if device == "gpu":
            good_ones.append(request(task, device, f"{task}/good", good, of_both + of_good, 7))
            naive_ones.append(request(task, device, f"{task}/naive", naive + good[:1], of_both, 5))
        else:
            good_ones += [request(task, device, f"{task}/good/{a['label']}", [a], of_both + of_good, 1) for a in good]
            naive_ones += [request(task, device, f"{task}/naive/{a['label']}", [a], of_both, 1) for a in naive]
    Path(path).write_text("".join(json.dumps(r) + "\n" for r in good_ones + naive_ones))


def duels(path):
    for line in Path(path).read_text().splitlines():
        reply = json.loads(line)
        if reply.get("duel"):
            yield reply["id"], reply["duel"]


def short(value):
    return int(value) if value == int(value) else float(f"{value:.5g}")


def join(gpu, vgpu, out):
    counted = {}
    for name, duel in duels(vgpu):
        for workload, launches in duel.get("modelled", {}).items():
            counted[name.split("/")[0], duel["arms"][0], workload] = [
                {key: short(value) for key, value in launch["counts"].items()} for launch in launches]
    lines = []
    for name, duel in duels(gpu):
        task, seed = name.split("/")
        for workload, timings in duel["timing"].items():
            for label, timing in zip(duel["arms"], timings):
                is_guest = seed == "naive" and not label.startswith("naive")
                if is_guest or (task, label, workload) not in counted:
                    continue
                lines.append({"task": task, "workload": workload, "arm": label,
                              "us": round(timing["time_us_median"], 3), "p10": round(timing["time_us_p10"], 3),
                              "p90": round(timing["time_us_p90"], 3), "n": timing["samples"],
                              "launches": counted[task, label, workload]})
    lines.sort(key=lambda line: (line["task"], line["workload"], line["arm"]))
    Path(out).write_text("".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines))
    kernels = {(line["task"], line["arm"]) for line in lines}
    print(f"{len(lines)} rows, {len(kernels)} kernels, {len({task for task, _ in kernels})} tasks")


if __name__ == "__main__":
    if len(sys.argv) == 4 and sys.argv[1] == "requests":
        write_requests(sys.argv[2], sys.argv[3])
    elif len(sys.argv) == 5 and sys.argv[1] == "join":
        join(*sys.argv[2:])
    else:
        sys.exit(__doc__)
