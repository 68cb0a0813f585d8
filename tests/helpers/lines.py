"""How many lines of code something takes: those that are neither blank, nor comments, nor docstrings.

    python -m tests.helpers.lines FOLDER PART [PART ...]

A part is a file of the folder, `posterior/readout.py`; what it defines under a name, `posterior/readout.py:log_p`;
or the lines of it that hold a text, as `names.py~"pcn"`. A line that two parts hold counts once.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from pathlib import Path

_NO_CODE = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}


def code_lines(source: str) -> set[int]:
    """Numbers of the lines of code in a module's text."""
    docstrings: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            docstrings |= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    found: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in _NO_CODE:
            found |= set(range(token.start[0], token.end[0] + 1))
    return found - docstrings


def lines_of(source: str, name: str) -> set[int]:
    """Numbers of the lines, decorators among them, of what a module defines under a name, as `Class.method`."""
    body = ast.parse(source).body
    for part in name.split("."):
        [node] = [node for node in body if part in _names(node)]
        body = getattr(node, "body", [])
    first = min([node.lineno, *(decorator.lineno for decorator in getattr(node, "decorator_list", []))])
    return set(range(first, node.end_lineno + 1))


def _names(node: ast.stmt) -> set[str]:
    if isinstance(node, ast.ClassDef | ast.FunctionDef):
        return {node.name}
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return {target.id for target in targets if isinstance(target, ast.Name)}


def count(folder: Path, parts: list[str]) -> dict[str, int]:
    """Lines of code of each file that the parts are of."""
    found: dict[str, set[int]] = {}
    for part in parts:
        file, kind, what = re.fullmatch(r"([^:~]+)([:~]?)(.*)", part).groups()
        source = (folder / file).read_text(encoding="utf-8")
        wanted = code_lines(source)
        if kind == "~":
            wanted &= {number for number, line in enumerate(source.splitlines(), 1) if what in line}
        elif kind == ":":
            wanted &= lines_of(source, what)
        if not wanted:
            raise SystemExit(f"{part} holds no code.")
        found.setdefault(file, set()).update(wanted)
    return {file: len(lines) for file, lines in found.items()}


def main(arguments: list[str]) -> None:
    counted = count(Path(arguments[0]), arguments[1:])
    for file, n in counted.items():
        print(f"{n:6,}  {file}")
    print(f"{sum(counted.values()):6,}  in all, {len(counted)} file{'s' if len(counted) != 1 else ''}")


if __name__ == "__main__":
    main(sys.argv[1:])
