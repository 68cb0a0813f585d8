"""The firing set of a neuron that is asked, against one that is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bayes_snn.twins.membership import (
    SLIVER,
    WIDTH,
    FiringSet,
    fires_at,
    first_true,
    reaches,
    without_slivers,
)


def answer(edges: np.ndarray, drive: float, known: FiringSet) -> np.ndarray:
    """The period of the neuron, alone among all."""
    period = first_true(fires_at(edges, known.r * drive)[None])[0]
    return np.arange(known.n_steps + 1) == period


def asked_out(edges: np.ndarray, known: FiringSet, n_most: int = 4000) -> FiringSet:
    """The neuron of these edges, asked until no question is left."""
    while (wanted := known.wanted(8)) and len(known.drives) < n_most:
        drives = [drive for drive, _ in wanted]
        known.add(drives, [answer(edges, drive, known) for drive in drives])
    return known


gaps = st.lists(st.floats(4.0, 15.0), min_size=1, max_size=5)


@given(st.floats(-30.0, 0.0), gaps, st.floats(0.5, 0.97))
@example(0.0, [4.0, 4.0, 9.0, 7.0, 4.0], 0.75)  # a question that led through a gap was not asked
@settings(max_examples=15, deadline=None)
def test_wide_intervals_are_all_found_and_to_the_width_asked_for(
    start: float, sizes: list[float], alpha: float
) -> None:
    edges = start + np.cumsum(sizes)
    edges = edges[: len(edges) // 2 * 2 + 1] if len(edges) % 2 == 0 else edges  # far up it fires
    edges = edges if len(edges) % 2 else edges[:-1]
    known = asked_out(edges, FiringSet(32, alpha, 60.0))
    drives = np.linspace(-60.0, 60.0, 4001)
    true = first_true(fires_at(edges, np.multiply.outer(drives, reaches(alpha, 32))))
    wrong = known.periods(drives) != true
    # a drive can be wrong only where one of its voltages lies within a bracket
    near = np.abs(np.multiply.outer(drives, known.r)[:, :, None] - edges).min((1, 2)) < 2 * WIDTH
    assert not (wrong & ~near).any()


def test_questions_are_few_for_a_neuron_with_one_threshold() -> None:
    known = asked_out(np.array([10.0]), FiringSet(32, 0.9, 60.0))
    assert len(known.drives) < 100
    assert known.edges == pytest.approx([10.0], abs=WIDTH)


def test_an_answer_of_several_periods_labels_only_what_comes_before_them() -> None:
    known = FiringSet(8, 0.5, 60.0)
    known.add([4.0], [np.isin(np.arange(9), (3, 5))])
    labelled = known.u[np.abs(known.u) < 100.0]
    assert labelled.tolist() == (known.r[:2] * 4.0).tolist()


def test_a_map_that_is_wrong_is_mended_where_an_answer_says_otherwise() -> None:
    narrow = np.array([-8.0, -7.9, 10.0])
    known = asked_out(np.array([10.0]), FiringSet(32, 0.9, 60.0))
    drive = -7.95
    known.add([drive], [answer(narrow, drive, known)])
    asked_out(narrow, known)
    assert known.edges == pytest.approx(narrow, abs=2 * WIDTH)


@pytest.mark.parametrize("drive", [-7.3, 12.5])
def test_a_false_answer_leaves_no_edges(drive: float) -> None:
    true, known = np.array([-12.0, -4.0, 10.0]), FiringSet(32, 0.9, 60.0)
    asked_out(true, known)
    said = answer(true, drive, known)
    known.add([drive], [np.roll(said, 5)])
    asked_out(true, known)
    assert known.edges == pytest.approx(true, abs=2 * WIDTH)


def test_an_interval_that_is_wider_than_a_sliver_stays() -> None:
    u = np.array([-5.0, 0.0, 0.4 * SLIVER, 0.8 * SLIVER, 1.0, 1.0 + SLIVER, 1.0 + 2 * SLIVER, 5.0])
    label = np.array([0, 0, 1, 0, 0, 1, 0, 1], np.bool_)
    kept, labels = without_slivers(u, label)
    assert kept.tolist() == [u[0], u[1], *u[3:]]
    assert labels.tolist() == [False, False, False, False, True, False, True]


@pytest.mark.parametrize(("alpha", "wrong"), [(0.9, 0.74), (0.7, 0.9)])
def test_a_wrong_leak_contradicts_more(alpha: float, wrong: float) -> None:
    known = asked_out(np.array([-12.0, -4.0, 10.0]), FiringSet(32, alpha, 60.0))
    assert known.n_changes(alpha) == 3
    assert known.n_changes(wrong) > 4
