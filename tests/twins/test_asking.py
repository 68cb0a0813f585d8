"""A chip that is asked in order to be learned: counted, limited and written down."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bayes_snn.chips.lif.chip import LIFChip
from bayes_snn.twins.asking import AskedChip, BudgetSpentError, read_journal
from tests.helpers.tallied import TalliedChip

LAYERS = (3, 4, 2)


def questions(n, seed=0):
    """Questions by turns to `run` and `spikes`: method, weights, inputs."""
    rng = np.random.default_rng(seed)
    for i in range(n):
        weights = [rng.normal(size=(3, 4)), rng.normal(size=(4, 2))]
        yield ("run", "spikes")[i % 2], weights, rng.normal(size=(1 + i % 3, 3))


def ask(asked, n, seed=0):
    """Answers as plain lists."""
    found = []
    for method, weights, inputs in questions(n, seed):
        answer = getattr(asked, method)(weights, inputs)
        found.append([np.asarray(part).tolist() for part in (answer if method == "spikes" else [answer])])
    return found


def make_chip():
    return TalliedChip(LIFChip(LAYERS, "comparator", 2.0, seed=101, n_steps=8))


def test_presentations_and_programmings_are_counted():
    chip = make_chip()
    asked = AskedChip(chip)
    ask(asked, 5)
    weights = [np.ones((3, 4)), np.ones((4, 2))]
    for _ in range(3):
        asked.run(weights, np.zeros((2, 3)))
    assert asked.presentations == chip.shown == 9 + 6
    assert asked.programmings == chip.programmings == 6


def test_a_question_beyond_the_budget_is_not_asked():
    chip = make_chip()
    asked = AskedChip(chip, budget=4)
    weights = [np.ones((3, 4)), np.ones((4, 2))]
    asked.run(weights, np.zeros((3, 3)))
    with pytest.raises(BudgetSpentError):
        asked.run(weights, np.zeros((2, 3)))
    assert asked.presentations == chip.shown == 3
    assert asked.left == 1
    asked.spikes(weights, np.zeros((1, 3)))
    assert chip.shown == 4


def test_answers_are_those_of_the_chip():
    assert ask(AskedChip(make_chip()), 6) == ask(make_chip(), 6)


@settings(max_examples=25, deadline=None)
@given(n=st.integers(1, 8), cut=st.integers(0, 400), more=st.integers(0, 4))
def test_a_journal_gives_again_what_it_holds_however_it_was_cut(tmp_path_factory, n, cut, more):
    path = tmp_path_factory.mktemp("journal") / "journal"
    first = ask(AskedChip(make_chip(), journal=path), n)
    content = path.read_bytes()
    path.write_bytes(content[: max(len(content) - cut, 0)])
    kept = len(read_journal(path)[0])
    chip = make_chip()
    asked = AskedChip(chip, journal=path)
    again = ask(asked, n + more)
    assert again[:n] == first
    assert asked.presentations == sum(len(inputs) for _, _, inputs in questions(n + more))
    assert chip.shown == asked.presentations - asked.replayed
    assert asked.replayed == sum(len(inputs) for _, _, inputs in questions(kept))
    assert len(read_journal(path)[0]) == n + more


def test_a_journal_of_other_questions_is_of_no_use(tmp_path):
    path = tmp_path / "journal"
    ask(AskedChip(make_chip(), journal=path), 4, seed=1)
    chip = make_chip()
    asked = AskedChip(chip, journal=path)
    assert ask(asked, 4, seed=2) == ask(make_chip(), 4, seed=2)
    assert asked.replayed == 0
    assert chip.shown == asked.presentations
    assert len(read_journal(path)[0]) == 4


@pytest.mark.parametrize("place", [0, 17, 22, 40, -1])
def test_a_damaged_journal_is_read_up_to_the_damage(tmp_path, place):
    path = tmp_path / "journal"
    first = ask(AskedChip(make_chip(), journal=path), 3)
    content = bytearray(path.read_bytes())
    content[place] ^= 0x5A
    path.write_bytes(bytes(content))
    assert ask(AskedChip(make_chip(), journal=path), 3) == first
