# SPDX-License-Identifier: Apache-2.0
"""Rules over the lines of single files: opening lines, sizes, words that do not belong."""

import ast
import re

from style_tree import CPP, CUDA, Finding

FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 70
LINE_CHARACTERS_MAX = 120
SPDX = "SPDX-License-Identifier: Apache-2.0"
LIBRARY_FOLDERS = ("engine/", "archive/", "evaluators/")
SEAMS = {"Endpoint", "Operator", "Evaluator", "Device", "EventSink"}
API_KEY_FOLDER = "engine/llm"
MAY_PRINT = {
    "engine/core/error.cpp",  # a failed assertion, on its way to abort
    "evaluators/worker/sandbox/child.cpp",  # a child's last words, to stderr
}

NOT_A_FUNCTION = re.compile(r"\s*(namespace|class|struct|enum|union|extern|if|for|while|switch|else|do|try|catch)\b")
TYPE_OPENS = re.compile(r"^\s*(?:template\s*<.*>\s*)?(?:class|struct)\s+(\w+)")
PRINTS = re.compile(r"\b(?:std::c(?:out|err|log)\b|(?:v?f?printf|puts|fputs|putchar|perror)\s*\("
                    r"|fmt::(?:print|println)\s*\()")
ENVIRONMENT = re.compile(r"\b(?:secure_getenv|getenv|setenv|putenv|unsetenv)\s*\(")
STD_EXCEPTION = re.compile(r"\bthrow\s+std::\w+")
VAGUE_NOUN = re.compile(r"\b(?:class|struct|enum class)\s+(\w*(?:Manager|Helper|Utils?))\b")
MACHINE_PATH = re.compile(r"(?<![\w./$}<-])/(home|root|work|tmp|mnt|Users|scratch)/[\w.]")
TODO = re.compile(r"\b(?:TODO|FIXME|XXX)\b(?!\s*\(?#\d+)")
TABLE = re.compile(r"create\s+table\s+(?:if\s+not\s+exists\s+)?(\w+)[^;]*?\)\s*([^;)]*);", re.IGNORECASE)


def opening(tree):
    """Line 1 names the licence, line 2 says in a sentence what the file is for."""
    for file in tree.files:
        if file.suffix not in CPP | CUDA | {".sql"} and not file.is_script:
            continue
        start = 1 if file.lines and file.lines[0].startswith("#!") else 0
        lines = file.lines[start:start + 2] + ["", ""]
        if SPDX not in lines[0]:
            yield Finding(file.name, start + 1, "opening", f"line 1 must be a comment: {SPDX}")
        elif len(re.findall(r"[A-Za-z]{2,}", lines[1])) < 3 or not re.match(r'\s*(//|#|--|"""|/\*)', lines[1]):
            yield Finding(file.name, start + 2, "opening", "line 2 must say in one sentence what the file is for")


def pragma_once(tree):
    """Headers start with #pragma once."""
    for file in tree.with_suffix({".h", ".cuh"}):
        if not any(line.strip() == "#pragma once" for line in file.code_lines):
            yield Finding(file.name, 3, "pragma_once", "add #pragma once after the opening comment")


def file_size(tree):
    """No source file is longer than 400 lines; kernel files are exempt."""
    for file in tree.files:
        if (file.suffix in CPP | {".sql", ".cmake"} or file.is_script) and len(file.lines) > FILE_LINES_MAX:
            yield Finding(file.name, FILE_LINES_MAX + 1, "file_size",
                          f"{len(file.lines)} lines; split by concern, {FILE_LINES_MAX} at most")


def line_length(tree):
    """No line is longer than a screen; clang-format breaks code at 110 and leaves comments to their author."""
    for file in tree.files:
        if file.suffix in CPP or file.is_script:
            for number, line in enumerate(file.lines, 1):
                if len(line) > LINE_CHARACTERS_MAX and number not in file.raw_string_lines:
                    yield Finding(file.name, number, "line_length",
                                  f"{len(line)} characters, {LINE_CHARACTERS_MAX} at most")


def _cpp_functions(file):
    """(first line, last line) of functions, by layout: clang-format closes a body at the indentation it opened at."""
    lines = file.code_lines
    statement_start, number = 0, 0
    while number < len(lines):
        line = lines[number].rstrip()
        if not line.strip() or line.lstrip().startswith("#") or line.endswith((";", "}", ":")):
            statement_start = number + 1
        elif line.endswith("{"):
            statement = " ".join(lines[statement_start:number + 1])
            opens_table = re.search(r"=\s*{$", statement.rstrip())
            if "(" in statement and not NOT_A_FUNCTION.match(statement) and not opens_table:
                first = lines[statement_start]
                close = " " * (len(first) - len(first.lstrip())) + "}"
                end = next((i for i in range(number + 1, len(lines)) if lines[i].startswith(close)), number)
                yield statement_start + 1, end + 1
                number = end
            statement_start = number + 1
        number += 1


def _python_functions(file):
    for node in ast.walk(ast.parse(file.text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node.lineno, node.end_lineno


def function_length(tree):
    """No function is longer than 70 lines."""
    for file in tree.files:
        if file.suffix in CPP:
            functions = _cpp_functions(file)
        elif file.is_python:
            functions = _python_functions(file)
        else:
            continue
        for first, last in functions:
            if last - first + 1 > FUNCTION_LINES_MAX:
                yield Finding(file.name, first, "function_length",
                              f"{last - first + 1} lines; name its steps, {FUNCTION_LINES_MAX} at most")


def _code_rule(tree, suffixes, pattern, rule, advice, is_exempt=lambda file: False):
    for file in tree.with_suffix(suffixes):
        if is_exempt(file):
            continue
        for number, line in enumerate(file.code_lines, 1):
            match = pattern.search(line)
            if match:
                yield Finding(file.name, number, rule, advice.format(match[0].strip(" (")))


def library_prints(tree):
    """Libraries never print: what a person should know travels as a value or an event."""
    return _code_rule(tree, CPP, PRINTS, "library_prints", "{} in a library; return a value or emit an event",
                      lambda file: not file.name.startswith(LIBRARY_FOLDERS) or file.name in MAY_PRINT
                      or file.name.endswith("/main.cpp"))


def environment(tree):
    """Nothing is configured by environment variables; API keys are read in one file of engine/llm, NO_COLOR in main."""
    allowed = [file.name for file in tree.with_suffix(CPP)
               if file.folder == API_KEY_FOLDER and any(ENVIRONMENT.search(line) for line in file.code_lines)][:1]
    return _code_rule(tree, CPP, ENVIRONMENT, "environment",
                      "{} outside the one file of " + API_KEY_FOLDER + " that reads API keys; pass a value in",
                      lambda file: file.name in [*allowed, "tools/main.cpp"] or file.name.startswith("tests/"))


def exceptions(tree):
    """Trouble of the run is Error or ConfigError; trouble of a candidate is a value."""
    return _code_rule(tree, CPP, STD_EXCEPTION, "exceptions", "{}: throw Error or ConfigError (engine/core/error.h)",
                      lambda file: file.name.startswith("tests/"))


def vague_nouns(tree):
    """No Manager, Helper, Util: name the thing."""
    return _code_rule(tree, CPP | CUDA, VAGUE_NOUN, "vague_nouns", "{}: one noun of the glossary says what it is")


def catch_versions(tree):
    """Tests use what Catch2 2 and 3 both have."""
    return _code_rule(tree, CPP, re.compile(r"\bMatchers::Contains\b|(?<!:)\bSKIP\s*\("), "catch_versions",
                      "{}: not in both versions of Catch2; Catch::Contains of tests/support/catch.h is")


def seams(tree):
    """Virtual functions only in the five named seams; everything else is values, functions and tables."""
    for file in tree.with_suffix({".h", ".cpp"}):
        current = ""
        for number, line in enumerate(file.code_lines, 1):
            opens = TYPE_OPENS.match(line)
            if opens and not line.rstrip().endswith(";"):
                current = opens[1]
            if re.search(r"\bvirtual\b", line) and current not in SEAMS:
                yield Finding(file.name, number, "seams",
                              f"virtual in {current or 'this file'}; the seams are {', '.join(sorted(SEAMS))}")


def machine_paths(tree):
    """No path of somebody's machine."""
    for file in tree.files:
        for number, line in enumerate(file.lines, 1):
            match = MACHINE_PATH.search(line)
            if match and not (match[1] == "tmp" and file.name.startswith("tests/")):
                yield Finding(file.name, number, "machine_paths", f"{match[0]}...: pass it in, or make it relative")


def todo_has_issue(tree):
    """TODO only with an issue."""
    for file in tree.files:
        if file.suffix not in CPP | CUDA | {".sql", ".cmake"} and not file.is_script:
            continue
        for number, line in enumerate(file.lines, 1):
            match = TODO.search(line)
            if match and not file.name.startswith("tests/style/"):
                yield Finding(file.name, number, "todo_has_issue", f"write {match[0]}(#issue), or do it")


def strict_tables(tree):
    """SQL tables are STRICT, so that a wrong type is an error and not a surprise."""
    for file in tree.with_suffix({".sql"}):
        text = re.sub(r"--[^\n]*", lambda match: " " * len(match[0]), file.text)
        for match in TABLE.finditer(text):
            if "STRICT" not in match[2].upper():
                line = text.count("\n", 0, match.start()) + 1
                yield Finding(file.name, line, "strict_tables", f"table {match[1]}: end it with ) STRICT;")
