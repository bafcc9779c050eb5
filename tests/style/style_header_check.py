#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks that every header compiles alone.

A header with a source of its own is proven by the build, since that source includes it first (rule own_header_first).
The others are compiled here; what was once found good is remembered by content in the build folder.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from style_include_rules import included
from style_tree import Finding, Tree

# What the build defines for every file, or for every test.
DEFINITIONS = ["-DFMT_HEADER_ONLY", '-DKERNELITES_SOURCE_DIR="."', '-DKERNELITES_BUILD_DIR="."']


def content_keys(tree):
    """Header without a source -> digest over it and every header of the tree that it reaches."""
    headers = {file.name: file for file in tree.with_suffix({".h"})}
    alone = [name for name in headers if not tree.has(name[: -len(".h")] + ".cpp")]

    def reached(name, seen):
        if name in headers and name not in seen:
            seen.add(name)
            for _, _, other in included(headers[name]):
                reached(other, seen)
        return seen

    return {name: hashlib.sha256("".join(f"{n}\0{headers[n].text}\0" for n in sorted(reached(name, set()))).encode())
            .hexdigest() for name in alone}


def compile_alone(tree, compiler, name):
    """None if `name` compiles as the only include of a file, else the finding."""
    command = [compiler, "-std=c++20", "-fsyntax-only", "-x", "c++", *DEFINITIONS, "-I", str(tree.root), "-"]
    text = f'#include "{name}"\n'
    run = subprocess.run(command, input=text, text=True, capture_output=True, check=False, timeout=120)
    if run.returncode == 0:
        return None
    error = next((line for line in run.stderr.splitlines() if "error" in line), run.stderr[:200])
    error = error.replace(str(tree.root) + "/", "")
    return Finding(name, 1, "headers_alone", f"does not compile alone; include what it uses ({error.strip()})")


def headers_alone(tree, compiler="c++", memory=None):
    """Findings, compiling only what `memory` (a file) does not know to be good with this compiler."""
    version = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=True).stdout
    known = set(json.loads(memory.read_text())) if memory and memory.exists() else set()
    keys = {name: hashlib.sha256((version + key).encode()).hexdigest() for name, key in content_keys(tree).items()}
    stale = [name for name, key in keys.items() if key not in known]
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        findings = [found for found in pool.map(lambda name: compile_alone(tree, compiler, name), stale) if found]
    if memory:
        bad = {found.file for found in findings}
        memory.parent.mkdir(parents=True, exist_ok=True)
        memory.write_text(json.dumps(sorted(key for name, key in keys.items() if name not in bad)))
    return findings, len(keys), len(stale)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--compiler", default="c++")
    parser.add_argument("--memory", type=Path)
    options = parser.parse_args()
    findings, total, compiled = headers_alone(Tree(options.root), options.compiler, options.memory)
    print(*findings, f"{total} headers without a source, {compiled} compiled, {total - compiled} known to be good",
          sep="\n")
    print(f"{total - len(findings)} passed, {len(findings)} failed")
    return 1 if findings or total == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
