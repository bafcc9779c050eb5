#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The house style as a test: each rule is a function over the tree and a row of the table below.

    tests/style/style_check.py [--root DIR] [--rule NAME]...

prints `file:line: rule: what to do` for each violation. That headers compile alone is style_header_check.py's.
"""

import argparse
import sys
from pathlib import Path

import style_include_rules as include_rules
import style_text_rules as text_rules
import style_tree_rules as tree_rules
from style_tree import Tree

RULES = {rule.__name__: rule for rule in (
    tree_rules.layout,
    tree_rules.unique_names,
    tree_rules.dead_links,
    include_rules.include_dag,
    include_rules.include_root,
    include_rules.own_header_first,
    include_rules.foreign_headers,
    text_rules.opening,
    text_rules.pragma_once,
    text_rules.file_size,
    text_rules.line_length,
    text_rules.function_length,
    text_rules.library_prints,
    text_rules.environment,
    text_rules.exceptions,
    text_rules.vague_nouns,
    text_rules.catch_versions,
    text_rules.seams,
    text_rules.machine_paths,
    text_rules.todo_has_issue,
    text_rules.strict_tables,
)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, default=Path(__file__).parents[2])
    parser.add_argument("--rule", action="append", choices=RULES, help="only this rule (repeatable)")
    options = parser.parse_args()

    tree = Tree(options.root)
    passed = failed = 0
    for name in options.rule or RULES:
        try:
            findings = list(RULES[name](tree))
        except tree_rules.Skipped as why:
            print(f"{name}: skipped: {why}")
            continue
        print(*findings, sep="\n", end="\n" if findings else "")
        passed, failed = (passed, failed + 1) if findings else (passed + 1, failed)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or passed == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
