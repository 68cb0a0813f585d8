"""The rooms of the package and the order in which they may import (docs/architecture.md), held to every import."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.helpers.layout import FLOOR, ORDER, PACKAGE, Import, circles, imports, modules, room, upward
from tests.helpers.lines import count

ROOT = Path(__file__).parents[1]
FOUND = imports(ROOT / PACKAGE)
PAGE_ROOMS = {"twins", "chips", "posterior", "samplers", "checkpoint", "estimates", "inference", "checks"}


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


def test_the_page_names_files_in_the_rooms_where_they_are():
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = [row.split("|")[1:3] for row in page.splitlines() if row.startswith("| `")]
    assert {row[0].split("/")[0].strip(" `") for row in rows} == {
        path.parent.name for path in (ROOT / PACKAGE).glob("*/__init__.py") if path.parent.name in PAGE_ROOMS
    }
    for rooms, text in rows:
        folders = [ROOT / PACKAGE / name for name in re.findall(r"`([\w/]+)/`", rooms)]
        for name in re.findall(r"`(\w+\.py)`", text):
            assert any((folder / name).exists() for folder in folders), (rooms, name)


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


def test_lines_of_code_are_those_that_somebody_writes(tmp_path):
    (tmp_path / "some.py").write_text(
        '"""A module\nof two lines."""\n\nTWO = (\n    1,\n)\n\n# why\n\n\n'
        '@staticmethod\ndef three(x):\n    """Doc."""\n    return x  # it is\n',
        encoding="utf-8",
    )
    assert count(tmp_path, ["some.py"]) == {"some.py": 6}
    assert count(tmp_path, ["some.py:three", "some.py:TWO", "some.py~return"]) == {"some.py": 6}
    assert count(tmp_path, ["some.py:three"]) == {"some.py": 3}
    with pytest.raises(SystemExit, match="holds no code"):
        count(tmp_path, ["some.py~why it"])
