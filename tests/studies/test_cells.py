"""Cells: what makes two of them the same, and how a grid is asked for."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import pytest

from bayes_snn.errors import InputError
from bayes_snn.studies.cells import IDENTITY, METHODS, Cell, canonical, digest_file, make_grid, parse_strengths

OTHER = {"method": "logistic", "distortion": "leak"}


@pytest.mark.parametrize("name", IDENTITY)
def test_every_field_makes_another_cell_with_another_seed(name: str) -> None:
    cell = Cell("mh")
    value = getattr(cell, name)
    other = replace(cell, **{name: OTHER.get(name, value + ("x" if isinstance(value, str) else 1))})
    assert other.id != cell.id
    assert other.random_seed != cell.random_seed


def test_an_id_outlives_the_process() -> None:
    """A study must find its cells again: this changes with FORMAT, or with the fields, and never by accident."""
    assert Cell("mh").id == "92edaf1fef62c4fc"
    assert Cell("mh", sigma=3).id == Cell("mh", sigma=3.0).id
    assert Cell("mh", sigma=-0.0).id == Cell("mh", sigma=0.0).id
    assert 0 <= Cell("mh").random_seed < 2**32


def test_a_method_that_does_not_depend_on_a_setting_makes_one_cell() -> None:
    for method in METHODS[1:]:
        assert canonical(Cell(method, draws=5)) == canonical(Cell(method, draws=6, sampler="block"))
    assert canonical(Cell("mh", draws=5)) != canonical(Cell("mh", draws=6))
    assert canonical(Cell("logistic", sigma=1.0, chip_seed=4)) == canonical(Cell("logistic", sigma=2.0))
    assert canonical(Cell("backprop-spikes", chip_seed=4)) != canonical(Cell("backprop-spikes"))


def test_a_grid_holds_every_combination_once_and_ends_chip_after_chip() -> None:
    pairs = [("comparator", 0.0), ("comparator", 3.0), ("leak", 0.5)]
    cells = make_grid(["mh", "backprop-spikes", "logistic"], pairs, [10, 398], [0, 1, 1], [0], [(7, 5)])
    assert len(cells) == len({cell.id for cell in cells}) == 2 * 3 * 2 * 2 + 2
    assert {cell.draws for cell in cells} == {7, 0}
    chips = [cell.chip_seed for cell in cells]
    assert chips == sorted(chips)
    first = [cell.cost for cell in cells if cell.chip_seed == 1]
    assert first == sorted(first, reverse=True)


def test_strengths() -> None:
    assert parse_strengths(["leak", "threshold:0.3", "leak+gain:0.1", "none"], [1.0, 2.0]) == [
        ("leak", 1.0),
        ("leak", 2.0),
        ("threshold", 0.3),
        ("leak+gain", 0.1),
        ("none", 0.0),
    ]
    assert Cell("mh", distortion="leak+gain").distortion_names == ["leak", "gain"]
    assert Cell("mh", distortion="leak+gain", sigma=0.2).sigmas == [0.2, 0.2]
    assert Cell("mh", distortion="none").distortion_names == []


def test_strengths_of_their_own() -> None:
    assert parse_strengths(["comparator:3+quantisation:4", "quantisation:4.0 + comparator"], [0.0, 3.0]) == [
        ("comparator:3+quantisation", 4.0),
        ("quantisation:4+comparator", 0.0),
        ("quantisation:4+comparator", 3.0),
    ]
    cell = Cell("mh", distortion="comparator:3+quantisation", sigma=4.0)
    assert (cell.distortion_names, cell.sigmas) == (["comparator", "quantisation"], [3.0, 4.0])
    assert Cell("mh", distortion="none").sigmas == []
    with pytest.raises(InputError, match="2 to 16 is expected"):
        Cell("mh", distortion="comparator:3+quantisation", sigma=4.5)


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("leek", "did you mean 'leak'"),
        ("leak:x", "leak:0.5"),
        ("leak:-1", "leak"),
        ("leak:-1+gain:1", "leak"),
        ("leak:+gain:1", "leak:0.5"),
        ("leak:1:2", "leak:0.5"),
        ("none:1", "none stands alone"),
        ("none+leak", "none stands alone"),
        ("leak+leak:1", "once"),
        ("stuck:2", "stuck"),
    ],
)
def test_bad_strengths(entry: str, said: str) -> None:
    with pytest.raises(InputError, match=said.replace("'", ".")):
        parse_strengths([entry], [1.0])


def test_an_unknown_method_and_a_grid_too_large() -> None:
    with pytest.raises(InputError, match="did you mean 'backprop-spikes'"):
        Cell("backprop-spike")
    with pytest.raises(InputError, match="several studies"):
        make_grid(["mh"], [("leak", 1.0)], [10], list(range(100_000)), list(range(100)))


def test_the_digest_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("a")
    first = digest_file(str(path))
    path.write_text("b")
    assert len(first) == 16
    assert digest_file(str(path)) != first
    assert digest_file("breast_cancer") == digest_file("gaussian") == digest_file("") == ""


def test_fields_are_plain() -> None:
    assert {str(field.type) for field in fields(Cell)} == {"str", "int", "float", "bool"}


def test_each_chip_with_a_split_of_its_own() -> None:
    cells = make_grid(["mh"], [("leak", 0.5)], [40, 398], [3, 5], None)
    assert {(cell.chip_seed, cell.split_seed) for cell in cells} == {(3, 3), (5, 5)}
    assert len(cells) == 4
    assert set(cells) < set(make_grid(["mh"], [("leak", 0.5)], [40, 398], [3, 5], [3, 5]))
