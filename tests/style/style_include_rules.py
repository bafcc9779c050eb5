# SPDX-License-Identifier: Apache-2.0
"""Rules over #include lines: the folder graph is what the CMake link targets say it is."""

import re

from style_tree import CPP, CUDA, Finding

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^">]+)[">]')
COMMAND = re.compile(r"^\s*(kernelites_folder|kernelites_test_folder|add_executable|add_library|target_link_libraries)"
                     r"\s*\(([^)]*)\)", re.MULTILINE)
KEYWORDS = {"LINK", "PRIVATE", "PUBLIC", "INTERFACE", "STATIC", "NAME", "TIMEOUT", "SECONDS"}

# Headers of libraries and of the system: the only folders that may include them. A folder includes what is below it.
FOREIGN = [
    (re.compile(r"(cuda|nvrtc|cupti|nvperf|cublas|cudnn|curand|mma\.h|cooperative_groups)"),
     ["evaluators/worker", "tests/unit/device", "tests/unit/counters"],
     "only evaluators/worker knows CUDA"),
    (re.compile(r"sqlite3"), ["archive", "tests"], "the archive is the only one that touches the database"),
    (re.compile(r"curl/"), ["engine/llm"], "only engine/llm speaks HTTP"),
    (re.compile(r"CLI/"), ["tools", "evaluators/worker", "tests/bench", "tests/exploits", "tests/web"],
     "only programs parse command lines"),
    (re.compile(r"httplib"), ["tests", "tools"], "servers belong to tests and to the report command"),
    (re.compile(r"catch2/"), ["tests"], "include tests/support/catch.h in tests, nothing elsewhere"),
    (re.compile(r"seccomp|linux/(landlock|seccomp)"), ["engine/jail", "evaluators/worker/sandbox", "tests"],
     "jails are made in engine/jail and evaluators/worker/sandbox"),
    (re.compile(r"format$"), [], "use <fmt/format.h>: g++ 12 has no <format>"),
]


def _is_below(folder, parent):
    return folder == parent or folder.startswith(parent + "/")


def included(file):
    """(line number, '<' or '"', name) of every include."""
    for number, line in enumerate(file.uncommented_lines, 1):
        match = INCLUDE.match(line)
        if match:
            yield number, match[1], match[2]


class LinkGraph:
    """Which folders a folder may include: its own, and the folders of the targets it links, transitively."""

    def __init__(self, tree):
        self._folder_of = {}     # target -> folder
        self._links = {}         # target -> targets that it links
        self._public_links = {}  # target -> targets that it passes on
        self._targets_in = {}    # folder -> targets made there
        for file in tree.files:
            if file.name.endswith("CMakeLists.txt"):
                self._read(file)

    def _read(self, file):
        folder = "" if file.folder == "." else file.folder
        for command, arguments in COMMAND.findall(re.sub(r"#.*", "", file.text)):
            words = arguments.split()
            if not words:
                continue
            target, links, private = words[0], [], []
            if command == "kernelites_folder":
                target = "kernelites_" + target
            elif command == "kernelites_test_folder":
                name = words[words.index("NAME") + 1] if "NAME" in words else words[0]
                target = name + "_tests"
            section = "LINK" if command == "target_link_libraries" else None
            for word in words[1:]:
                if word in KEYWORDS:
                    section = word
                elif section in {"LINK", "PUBLIC", "INTERFACE"}:
                    links.append(word)
                elif section == "PRIVATE":
                    private.append(word)
            if command != "target_link_libraries":
                self._folder_of[target] = folder
                self._targets_in.setdefault(folder, []).append(target)
            self._links.setdefault(target, set()).update(links + private)
            self._public_links.setdefault(target, set()).update(links)

    def allowed(self, folder):
        """Folders that a file in `folder` may include; None if no target is made there."""
        targets = self._targets_in.get(folder)
        if not targets:
            return None
        reached, queue = set(), []
        for target in targets:
            queue += self._links.get(target, ())
        while queue:
            target = queue.pop()
            if target not in reached:
                reached.add(target)
                queue += self._public_links.get(target, ())
        return {folder} | {self._folder_of[target] for target in reached if target in self._folder_of}


def _home(graph, folder):
    """The nearest folder upward that makes a target, so that sub-folders without one belong to their parent."""
    while folder and graph.allowed(folder) is None:
        folder = folder.rpartition("/")[0]
    return folder


def include_dag(tree):
    """A folder includes only itself and what its CMake target links."""
    graph = LinkGraph(tree)
    for file in tree.with_suffix(CPP):
        home = _home(graph, file.folder)
        if not home or _is_below(file.folder, "tests/support"):
            continue
        allowed = graph.allowed(home)
        for number, mark, name in included(file):
            if mark != '"' or not tree.has(name):
                continue
            target = _home(graph, name.rpartition("/")[0])
            if target and target not in allowed and not _is_below(target, "tests"):
                yield Finding(file.name, number, "include_dag",
                              f"{home} does not link {target}; link it in {home}/CMakeLists.txt if the arrow may "
                              f"point that way (docs/architecture.md), else move the code")


def include_root(tree):
    """Quoted includes name a file from the repository root."""
    for file in tree.with_suffix(CPP):
        for number, mark, name in included(file):
            if mark == '"' and not tree.has(name):
                yield Finding(file.name, number, "include_root",
                              f'"{name}" is not a path from the repository root; write that, or <> for a library')


def own_header_first(tree):
    """x.cpp includes x.h before anything else."""
    for file in tree.with_suffix({".cpp"}):
        own = file.name[: -len(".cpp")] + ".h"
        if tree.has(own):
            first = next(included(file), None)
            if first is None or first[2] != own:
                yield Finding(file.name, first[0] if first else 1, "own_header_first", f'include "{own}" first')


def foreign_headers(tree):
    """Libraries are included only where they belong."""
    for file in tree.with_suffix(CPP | CUDA):
        is_kernel = file.suffix in CUDA
        for number, mark, name in included(file):
            for pattern, folders, why in FOREIGN:
                if mark == "<" and pattern.match(name) and not is_kernel \
                        and not any(_is_below(file.folder, folder) for folder in folders):
                    yield Finding(file.name, number, "foreign_headers", f"<{name}> here: {why}")
