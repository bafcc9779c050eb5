# SPDX-License-Identifier: Apache-2.0
"""Rules over the tree as a whole: unique names, links that lead somewhere, layout."""

import re
import shutil
import subprocess

from style_tree import CPP, CUDA, Finding

CLANG_FORMAT_VERSION = "14"  # layouts differ between versions; Debian 12's decides
# Names that repeat by design: one per program, task or folder.
REPEATED_NAMES = {"main.cpp", "reference.cu", "CMakeLists.txt", "__init__.py"}
PER_TASK_FOLDERS = ("kernels_seed/", "tasks/")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
DOCUMENT = re.compile(r"(?<![\w/.-])((?:docs|tests|tools|engine|evaluators|archive|prompts|cmake)/[\w/.-]+"
                      r"\.(?:md|h|cpp|py|sql))")


class Skipped(Exception):
    """A rule that cannot be judged on this machine; the text says why."""


def unique_names(tree):
    """A file name says one thing in the whole tree."""
    first = {}
    for file in tree.files:
        name = file.name.rpartition("/")[2]
        if file.suffix not in CPP | CUDA | {".py", ".sql", ".sh"} or name in REPEATED_NAMES \
                or file.name.startswith(PER_TASK_FOLDERS):
            continue
        if name in first:
            yield Finding(file.name, 1, "unique_names", f"{first[name]} has the same name; rename one of them")
        first.setdefault(name, file.name)


def _slug(heading):
    text = re.sub(r"[`*_]", "", heading.lstrip("#").strip()).lower()
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


def _anchors(lines):
    return {_slug(line) for line in lines if line.startswith("#")}


def dead_links(tree):
    """Relative links of documents, and files that comments name, exist."""
    by_name = {file.name: file for file in tree.files}
    for file in tree.files:
        for number, line in enumerate(file.lines, 1) if file.suffix == ".md" else ():
            for target in LINK.findall(re.sub(r"`[^`]*`", "", line)):
                if re.match(r"[a-z]+:", target):
                    continue
                path, _, anchor = target.partition("#")
                resolved = file.root / file.folder / path if path else file.root / file.name
                if not resolved.exists():
                    yield Finding(file.name, number, "dead_links", f"{target} leads nowhere; write it or drop the link")
                elif anchor and resolved.suffix == ".md":
                    other = by_name.get(str(resolved.resolve().relative_to(tree.root)))
                    if other and anchor not in _anchors(other.lines):
                        yield Finding(file.name, number, "dead_links", f"no heading #{anchor} in {path or 'this file'}")
        if file.suffix in CPP | CUDA | {".md", ".sql", ".txt", ".cmake"} or file.is_script:
            for number, line in enumerate(file.lines, 1):
                if re.match(r"\s*#\s*include", line) or file.name.startswith("tests/style/"):
                    continue
                for target in DOCUMENT.findall(LINK.sub("", line) if file.suffix == ".md" else line):
                    if not tree.has(target) and not (file.root / file.folder / target).exists():
                        yield Finding(file.name, number, "dead_links", f"{target} does not exist; write or rename it")


def layout(tree):
    """Layout is clang-format's."""
    program = shutil.which("clang-format-" + CLANG_FORMAT_VERSION) or shutil.which("clang-format")
    if not program:
        raise Skipped("clang-format is not installed")
    version = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    if f"version {CLANG_FORMAT_VERSION}." not in version:
        raise Skipped(f"clang-format {CLANG_FORMAT_VERSION} decides the layout, this is {version.strip()}")
    files = [file.name for file in tree.with_suffix(CPP)]
    for start in range(0, len(files), 50):
        run = subprocess.run([program, "--dry-run", "--ferror-limit=1", *files[start:start + 50]], cwd=tree.root,
                             capture_output=True, text=True, check=False)
        for name, line in dict(re.findall(r"^(\S+?):(\d+):\d+: (?:warning|error): code should", run.stderr,
                                          re.MULTILINE)).items():
            yield Finding(name, int(line), "layout", "run tools/format")
