"""The imports of the package: how many floors they stack, where they run in circles, and which point upwards.

    python -m tests.helpers.layout [FOLDER]

A room is a folder of the package. ORDER lists the rooms; a module imports from its own room and from those before it,
wherever in the file the import stands.
"""

from __future__ import annotations

import ast
import sys
from functools import cache
from pathlib import Path
from typing import NamedTuple

PACKAGE = "bayes_snn"
ORDER = (
    ("errors", "interrupt", "groups", "version", "names", "waiting", "face"),
    ("files", "json_file", "hdf5", "hdf5_process", "npz_file", "arrays", "table_file", "data", "likelihood"),
    ("chips", "twins"),
    ("posterior",),
    ("samplers",),
    ("checkpoint",),
    ("estimates",),
    ("inference",),
    ("exports", "backprop"),
    ("checks",),
    ("studies",),
    ("reports",),
    ("cli",),
    ("fit", "sweep", "report", "serve", "export", "twin"),
)
FLOOR = {room: number for number, rooms in enumerate(ORDER) for room in rooms}


class Import(NamedTuple):
    """`source` imports `target`, in line `line`; `runs` is false where only a type checker reads it."""

    source: str
    target: str
    line: int
    runs: bool


def modules(folder: Path) -> dict[str, Path]:
    """Files of the package by module name."""
    found = {}
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder).with_suffix("").parts
        found[".".join((PACKAGE, *(parts[:-1] if parts[-1] == "__init__" else parts)))] = path
    return found


def imports(folder: Path) -> list[Import]:
    """Every import of one module of the package by another; those of the package's own face are left out."""
    known, found = modules(folder), []
    for name, path in known.items():
        if name == PACKAGE or (path.name == "__init__.py" and "face(" in path.read_text(encoding="utf-8")):
            continue  # it imports nothing before it is asked
        tree = ast.parse(path.read_text(encoding="utf-8"))
        checked = {
            id(node)
            for block in ast.walk(tree)
            if isinstance(block, ast.If) and "TYPE_CHECKING" in ast.unparse(block.test)
            for node in ast.walk(block)
        }
        for node in ast.walk(tree):
            targets = []
            if isinstance(node, ast.ImportFrom) and node.module is not None:
                submodules = [f"{node.module}.{alias.name}" for alias in node.names]
                targets = [each if each in known else node.module for each in submodules]
            elif isinstance(node, ast.Import):
                targets = [alias.name for alias in node.names]
            for target in sorted({each for each in targets if each in known and each != PACKAGE}):
                found.append(Import(name, target, node.lineno, id(node) not in checked))
    return found


def room(module: str) -> str:
    """Folder, or file of the top level, that a module belongs to."""
    return module.split(".")[1]


def upward(found: list[Import]) -> list[str]:
    """Imports of a room by one that stands before it, or of a room that ORDER does not know."""
    return [
        f"{each.source}:{each.line} imports {each.target}"
        for each in found
        if FLOOR.get(room(each.target), len(ORDER)) > FLOOR.get(room(each.source), -1)
    ]


def circles(found: list[Import]) -> list[list[str]]:
    """Sets of modules each of which imports the others in the end, at whatever time."""
    graph: dict[str, list[str]] = {}
    for each in found:
        if each.runs:
            graph.setdefault(each.source, []).append(each.target)
    reach: dict[str, set[str]] = {}
    for start in graph:
        seen, todo = set(), [start]
        while todo:
            for target in graph.get(todo.pop(), []):
                if target not in seen:
                    seen.add(target)
                    todo.append(target)
        reach[start] = seen
    sets = {
        frozenset({start, *(other for other in reach[start] if start in reach.get(other, ()))})
        for start in graph
        if start in reach[start]
    }
    return sorted(sorted(each) for each in sets)


def floors(found: list[Import]) -> int:
    """Modules on the longest way down from one import to the next; a circle counts as one."""
    around = {module: "+".join(each) for each in circles(found) for module in each}
    graph: dict[str, set[str]] = {}
    for each in found:
        source, target = around.get(each.source, each.source), around.get(each.target, each.target)
        if each.runs and source != target:
            graph.setdefault(source, set()).add(target)

    @cache
    def height(module: str) -> int:
        return 1 + max((height(target) for target in graph.get(module, ())), default=0)

    return max(height(module) for module in graph)


def main(folder: Path) -> None:
    found = imports(folder)
    print(f"{len(modules(folder))} modules, {len({each[:2] for each in found})} imports of one by another")
    print(f"{floors(found)} floors")
    around = circles(found)
    print(f"{len(around)} circle{'s' if len(around) != 1 else ''}")
    for each in around:
        print("   ", ", ".join(each))
    arrows = upward([each for each in found if {room(each.source), room(each.target)} <= FLOOR.keys()])
    print(f"{len(arrows)} arrow{'s' if len(arrows) != 1 else ''} upwards between rooms")
    for arrow in arrows:
        print("   ", arrow)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[2] / PACKAGE)
