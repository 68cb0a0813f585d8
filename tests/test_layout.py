"""The rooms of the package and the order in which they may import (docs/architecture.md), held to every import."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.helpers.layout import FLOOR, ORDER, PACKAGE, Import, circles, imports, modules, room, upward

ROOT = Path(__file__).parents[1]
FOUND = imports(ROOT / PACKAGE)


def test_no_import_points_upwards():
    assert upward(FOUND) == []


def test_no_imports_run_in_a_circle():
    assert circles(FOUND) == []


def test_what_is_wrong_is_found():
    wrong = [Import("bayes_snn.chips.a", "bayes_snn.cli.b", 1, True)]
    assert upward(wrong) == ["bayes_snn.chips.a:1 imports bayes_snn.cli.b"]
    assert circles([*wrong, Import("bayes_snn.cli.b", "bayes_snn.chips.a", 1, True)]) == [
        ["bayes_snn.chips.a", "bayes_snn.cli.b"]
    ]


def test_every_file_is_in_a_room_that_the_order_names():
    unknown = {room(name) for name in modules(ROOT / PACKAGE) if name != PACKAGE} - FLOOR.keys() - {"models"}
    assert unknown == set()
    assert len(FLOOR) == sum(map(len, ORDER))


ALLOWED = {
    "pymc": {"posterior", "samplers", "checkpoint", "inference", "checks"},
    "pytensor": {"posterior", "samplers", "inference"},
    "torch": {"backprop"},
    "nir": {"exports"},
    "typer": {"cli"},
}


@pytest.mark.parametrize("framework", ALLOWED)
def test_frameworks_stay_in_their_rooms(framework):
    pattern = re.compile(rf"^(?:from|import) {framework}\b", re.MULTILINE)
    found = {
        room(name)
        for name, path in modules(ROOT / PACKAGE).items()
        if name != PACKAGE and pattern.search(path.read_text(encoding="utf-8"))
    }
    assert found <= ALLOWED[framework]
