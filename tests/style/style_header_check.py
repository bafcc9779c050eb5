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
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from style_include_rules import included
from style_tree import Finding, Tree

# What the build defines for every file, or for every test.
DEFINITIONS = ['-DKERNELITES_SOURCE_DIR="."', '-DKERNELITES_BUILD_DIR="."']

# Most of a compile where a header reaches it, so it is parsed once for all those. Their own includes are all above
# their own text: what they lack of others is as missing as before.
HEAVY = "nlohmann/json.hpp"


def reached_headers(tree):
    """Header without a source -> the names of all headers that it reaches, those of libraries too; itself first."""
    headers = {file.name: file for file in tree.with_suffix({".h"})}

    def reach(name, seen):
        if name not in seen:
            seen[name] = None
            for _, _, other in included(headers[name]) if name in headers else ():
                reach(other, seen)
        return seen

    return {name: list(reach(name, {})) for name in headers if not tree.has(name[: -len(".h")] + ".cpp")}


def content_key(tree, names):
    """Digest over those of `names` that are headers of the tree."""
    texts = {file.name: file.text for file in tree.with_suffix({".h"})}
    return hashlib.sha256("".join(f"{n}\0{texts[n]}\0" for n in sorted(names) if n in texts).encode()).hexdigest()


def compile_command(tree, compiler):
    return [compiler, "-std=c++20", *DEFINITIONS, "-I", str(tree.root)]


def precompile(tree, compiler, folder):
    """The options by which a compile gets HEAVY from `folder`. Throws where that cannot be."""
    header = Path(folder, "heavy.h")
    header.write_text(f"#include <{HEAVY}>\n")
    command = [*compile_command(tree, compiler), "-x", "c++-header", str(header), "-o", f"{header}.gch"]
    subprocess.run(command, check=True, timeout=120)
    return ["-include", str(header)]


def compile_alone(tree, compiler, name, options):
    """None if `name` compiles as the only include of a file, else the finding."""
    command = [*compile_command(tree, compiler), "-fsyntax-only", *options, "-x", "c++", "-"]
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
    reached = reached_headers(tree)
    keys = {name: hashlib.sha256((version + content_key(tree, names)).encode()).hexdigest()
            for name, names in reached.items()}
    stale = [name for name, key in keys.items() if key not in known]
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool, tempfile.TemporaryDirectory() as folder:
        heavy = precompile(tree, compiler, folder) if any(HEAVY in reached[name] for name in stale) else []
        findings = [found for found in pool.map(lambda name: compile_alone(
            tree, compiler, name, heavy if HEAVY in reached[name] else []), stale) if found]
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
