# SPDX-License-Identifier: Apache-2.0
"""What the style rules look at: the files of a tree with their lines, and C++ lines without comments and strings."""

import re
import subprocess
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

SKIPPED_FOLDERS = {"build", "runs", "node_modules", "__pycache__"}
CPP = {".h", ".cpp"}
CUDA = {".cu", ".cuh"}
TEXT_BYTES_MAX = 2 << 20

TOKEN = re.compile(
    r"""(?P<raw>R"(?P<mark>[^(\s]*)\(.*?\)(?P=mark)")|(?P<string>"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])')"""
    r"""|(?P<comment>//[^\n]*|/\*.*?\*/)""",
    re.DOTALL)


@dataclass(frozen=True)
class Finding:
    """One violation: where, which rule, and what to do about it."""

    file: str
    line: int
    rule: str
    advice: str

    def __str__(self):
        return f"{self.file}:{self.line}: {self.rule}: {self.advice}"


def _blank(match, keep_quotes):
    text = match[0]
    if match["comment"]:
        return re.sub(r"[^\n]", " ", text)
    if match["string"] and keep_quotes:
        return text
    inner = re.sub(r"[^\n]", " ", text[1:-1])
    return f"{text[0]}{inner}{text[-1]}"


@dataclass(frozen=True)
class SourceFile:
    root: Path
    name: str  # relative to the root, with '/'

    @property
    def suffix(self):
        return Path(self.name).suffix

    @property
    def folder(self):
        return str(Path(self.name).parent)

    @cached_property
    def text(self):
        path = self.root / self.name
        if path.stat().st_size > TEXT_BYTES_MAX:
            return ""
        return path.read_bytes().decode("utf-8", errors="replace")

    @cached_property
    def lines(self):
        return self.text.splitlines()

    @cached_property
    def code_lines(self):
        """Lines with comments and the insides of strings blanked (C++ and CUDA)."""
        return TOKEN.sub(lambda match: _blank(match, keep_quotes=False), self.text).splitlines()

    @cached_property
    def uncommented_lines(self):
        """Lines with comments blanked, strings kept."""
        return TOKEN.sub(lambda match: _blank(match, keep_quotes=True), self.text).splitlines()

    @cached_property
    def raw_string_lines(self):
        """Numbers of the lines that raw string literals touch: text that layout rules leave alone."""
        numbers = set()
        for match in TOKEN.finditer(self.text):
            if match["raw"]:
                first = self.text.count("\n", 0, match.start()) + 1
                numbers.update(range(first, first + match[0].count("\n") + 1))
        return numbers

    @property
    def is_script(self):
        return self.suffix in {".py", ".sh"} or (self.suffix == "" and self.text.startswith("#!"))

    @property
    def is_python(self):
        return self.suffix == ".py" or (self.suffix == "" and self.text.startswith("#!") and "python" in self.lines[0])


class Tree:
    """The files that a tree consists of: what git knows or would add to a folder that it knows (what a user exports or
    writes beside them is no part of the project), else everything but build outputs."""

    def __init__(self, root):
        self.root = Path(root).resolve()

    @cached_property
    def files(self):
        return [SourceFile(self.root, name) for name in sorted(self._names())]

    def with_suffix(self, suffixes):
        return [file for file in self.files if file.suffix in suffixes]

    @lru_cache(maxsize=None)
    def has(self, name):
        return (self.root / name).exists()

    def _git_names(self, *options):
        command = ["git", "-C", str(self.root), "ls-files", "-z", *options]
        listed = subprocess.run(command, capture_output=True, check=False)
        return [name for name in listed.stdout.decode().split("\0") if name and self.has(name)]

    def _names(self):
        known = self._git_names() if (self.root / ".git").exists() else []
        if known:
            folders = {name.split("/")[0] for name in known if "/" in name}
            new = self._git_names("-o", "--exclude-standard")
            return known + [name for name in new if name.split("/")[0] in folders]
        return [str(path.relative_to(self.root)) for path in self.root.rglob("*") if path.is_file()
                and not any(part in SKIPPED_FOLDERS or (part.startswith(".") and part != ".ci")
                            for part in path.relative_to(self.root).parts[:-1])]
