#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Tests the style test: a clean little tree has no finding, and each broken rule is found where it was broken."""

import subprocess
import sys
import tempfile
from pathlib import Path

from style_check import RULES
from style_header_check import headers_alone
from style_tree import Tree
from style_tree_rules import Skipped

HEAD = "// SPDX-License-Identifier: Apache-2.0\n// One sentence about the purpose.\n"
HEADER = HEAD + "#pragma once\n\n"

CLEAN = {
    "engine/core/CMakeLists.txt": "kernelites_folder(core)\n",
    "engine/core/thing.h": HEADER + "int thing();\n",
    "engine/core/thing.cpp": HEAD + '#include "engine/core/thing.h"\n\nint thing() { return 1; }\n',
    "engine/llm/CMakeLists.txt": "kernelites_folder(llm LINK kernelites_core)\n",
    "engine/llm/key.cpp": HEAD + '#include <cstdlib>\n\n#include "engine/core/thing.h"\n\n'
                                 'bool has_key() { return std::getenv("X") != nullptr; }\n',
    "archive/CMakeLists.txt": "kernelites_folder(archive LINK kernelites_core)\n",
    "archive/schema.sql": "-- SPDX-License-Identifier: Apache-2.0\n-- The tables of a run.\n"
                          "CREATE TABLE run (id TEXT CHECK (length(id) > 0)) STRICT;\n",
    "tools/main.cpp": HEAD + '#include <cstdio>\n\nint main() { std::printf("// not a comment"); }\n',
    "README.md": "# Title\n\n[schema](archive/schema.sql) [here](#title) [out](https://example.org)\n",
}

LONG_BODY = "  thing();\n" * 80

# rule: (file, text, line of the finding). The file is added to the clean tree or replaces one of it.
BROKEN = {
    "layout": ("engine/core/broken.cpp", HEAD + "int   broken() { return 1; }\n", 3),
    "unique_names": ("engine/llm/thing.h", HEADER, 1),
    "dead_links": ("README.md", "# Title\n\n[gone](docs/gone.md)\n", 3),
    "include_dag": ("engine/core/broken.cpp", HEAD + '#include "engine/llm/client.h"\n', 3),
    "include_root": ("engine/core/broken.cpp", HEAD + '#include "thing.h"\n', 3),
    "own_header_first": ("engine/core/thing.cpp", HEAD + '#include <string>\n#include "engine/core/thing.h"\n', 3),
    "foreign_headers": ("engine/core/broken.cpp", HEAD + "#include <cuda_runtime.h>\n", 3),
    "opening": ("engine/core/broken.cpp", "// Copyright\n" + HEAD, 1),
    "pragma_once": ("engine/core/broken.h", HEAD + "int broken();\n", 3),
    "file_size": ("engine/core/broken.cpp", HEAD + "int x;\n" * 399, 401),
    "function_length": ("engine/core/broken.cpp", HEAD + "\nvoid broken(int a,\n    int b) {\n" + LONG_BODY + "}\n", 4),
    "line_length": ("engine/core/broken.cpp", HEAD + "\n// " + "x" * 118 + "\n", 4),
    "library_prints": ("engine/core/broken.cpp", HEAD + '\nvoid broken() { std::printf("x"); }\n', 4),
    "environment": ("engine/core/broken.cpp", HEAD + '\nauto broken = std::getenv("X");\n', 4),
    "exceptions": ("engine/core/broken.cpp", HEAD + '\nvoid broken() { throw std::runtime_error("x"); }\n', 4),
    "vague_nouns": ("engine/core/broken.h", HEADER + "class KernelManager {};\n", 5),
    "catch_versions": ("tests/unit/x_test.cpp", HEAD + '\nauto broken = Catch::Matchers::Contains("x");\n', 4),
    "seams": ("engine/core/broken.h", HEADER + "struct Strategy {\n  virtual ~Strategy() = default;\n};\n", 6),
    "machine_paths": ("engine/core/broken.cpp", HEAD + 'const char* broken = "/ho' + 'me/somebody";\n', 3),
    "todo_has_issue": ("engine/core/broken.cpp", HEAD + "// TO" + "DO: later\n", 3),
    "strict_tables": ("archive/broken.sql", "-- SPDX-License-Identifier: Apache-2.0\n-- Two tables here.\n"
                                            "CREATE TABLE a (b TEXT) STRICT;\nCREATE TABLE c (d TEXT);\n", 4),
}

# More ways to break a rule than one, and look-alikes that must pass: (rule, file, text, line or None).
FURTHER = [
    ("include_dag", "archive/broken.cpp", HEAD + '#include "engine/core/thing.h"\n', None),
    ("include_dag", "engine/core/broken.cpp", HEAD + '// #include "engine/llm/client.h"\n', None),
    ("foreign_headers", "engine/llm/broken.cpp", HEAD + "#include <sqlite3.h>\n", 3),
    ("foreign_headers", "kernels_seed/broken.cu", HEAD + "#include <cuda_bf16.h>\n", None),
    ("foreign_headers", "engine/llm/broken.cpp", HEAD + "#include <format>\n", 3),
    ("dead_links", "README.md", "# Title\n\n[x](#nothing)\n", 3),
    ("dead_links", "engine/core/broken.cpp", HEAD + "// See docs/gone.md.\n", 3),
    ("opening", "tools/broken", "#!/bin/sh\n# SPDX-License-Identifier: Apache-2.0\nset -e\n", 3),
    ("line_length", "engine/core/broken.cpp", HEAD + '\nauto fine = R"(\n' + "x" * 130 + '\n)";\n', None),
    ("function_length", "tools/broken.py", "def broken():\n" + "    pass\n" * 80, 1),
    ("function_length", "engine/core/broken.h",
     HEADER + "struct Broken {\n  void f() {\n" + LONG_BODY + "  }\n};\n", 6),
    ("function_length", "engine/core/broken.cpp",
     HEAD + "\nconst int broken[] = {\n" + "    f(1),\n" * 80 + "};\n", None),
    ("environment", "engine/llm/second.cpp", HEAD + '\nauto broken = std::getenv("X");\n', 4),
    ("machine_paths", "engine/core/broken.cpp", HEAD + 'const char* broken = "/t' + 'mp/file";\n', 3),
    ("machine_paths", "tests/unit/x_test.cpp", HEAD + 'const char* fine = "/t' + 'mp/file";\n', None),
    ("exceptions", "tests/unit/x_test.cpp", HEAD + '\nvoid fine() { throw std::runtime_error("x"); }\n', None),
    ("library_prints", "engine/core/broken.cpp",
     HEAD + "\nint n = std::snprintf(b, 9, f);  // printf( is not meant\n", None),
    ("seams", "engine/core/broken.h", HEADER + "class Device {\n  virtual ~Device() = default;\n};\n", None),
    ("todo_has_issue", "engine/core/broken.cpp", HEAD + "// TO" + "DO(#7): later\n", None),
]


def tree_of(folder, files):
    for name, text in files.items():
        path = Path(folder) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Tree(folder)


def findings_with(rule, changes):
    """[(file, line)] of `rule` over the clean tree with `changes`, or None if it cannot be judged here."""
    extra = {"engine/llm/client.h": HEADER + "int client();\n"}
    with tempfile.TemporaryDirectory() as folder:
        try:
            return [(found.file, found.line) for found in RULES[rule](tree_of(folder, CLEAN | extra | changes))]
        except Skipped:
            return None


def cases():
    """(name, expected, found) of every case."""
    for rule in RULES:
        found = findings_with(rule, {})
        yield f"{rule} finds nothing in a clean tree", found and [], found
        if rule not in BROKEN:
            yield f"{rule} has a violation in this test", True, False
            continue
        file, text, line = BROKEN[rule]
        found = findings_with(rule, {file: text})
        yield f"{rule} finds its violation", None if found is None else [(file, line)], found
    for rule, file, text, line in FURTHER:
        yield f"{rule} judges {text.splitlines()[-1][:40]!r}", [(file, line)] if line else [], \
            findings_with(rule, {file: text})
    with tempfile.TemporaryDirectory() as folder:
        tree = tree_of(folder, {"engine/a.h": "", "b.md": ""})
        for command in (["init", "-q"], ["add", "."]):
            subprocess.run(["git", "-C", folder, *command], check=True)
        tree_of(folder, {"engine/new.h": "", "exported/c.h": "", "mine.cu": ""})
        yield "what git knows is judged, and what is new in its folders", ["b.md", "engine/a.h", "engine/new.h"], \
            [file.name for file in tree.files]
    with tempfile.TemporaryDirectory() as folder:
        found, total, _ = headers_alone(tree_of(folder, CLEAN | {
            "engine/core/broken.h": HEADER + "std::string broken();\n"}))
        yield "headers_alone finds the header that lacks an include", (["engine/core/broken.h"], 1), \
            ([finding.file for finding in found], total)


def main():
    passed = failed = 0
    for name, expected, found in cases():
        if expected == found:
            passed += 1
        else:
            failed += 1
            print(f"{name}: expected {expected}, found {found}")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
