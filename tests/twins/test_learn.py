"""`learn_twin`: which way it goes, and what cannot be learned."""

from __future__ import annotations

import numpy as np
import pytest

from bayes_snn.chips.lif.chip import LIFChip
from bayes_snn.errors import InputError
from bayes_snn.twins.contract import COUNTS, SPIKES, check_twin
from bayes_snn.twins.learn import learn_twin
from tests.helpers.tallied import TalliedChip
from tests.helpers.toys import SigmoidChip


def make_chip():
    return LIFChip((5, 4, 2), "comparator", 2.0, seed=103, n_steps=16)


@pytest.mark.parametrize("shows", [True, False])
def test_the_way_is_chosen_by_what_the_chip_shows(shows):
    chip = TalliedChip(make_chip(), spikes=shows)
    twin = learn_twin(chip)
    assert twin.learned.way == (SPIKES if shows else COUNTS)
    assert twin.presentations == chip.shown
    assert twin.programmings == chip.programmings
    check_twin(twin, chip)
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(300, 5))
    wrong = 0.0
    for _ in range(5):
        weights = [rng.normal(size=shape) for shape in chip.spec.weight_shapes]
        wrong += float((twin.run(weights, inputs) != chip.chip.run(weights, inputs)).mean()) / 5
    assert wrong < 0.02


def test_counts_are_enough_for_a_chip_that_shows_spikes():
    assert learn_twin(make_chip(), way="counts").learned.way == COUNTS


def test_the_same_seed_learns_the_same_twin():
    first, second = (learn_twin(make_chip(), budget=300, seed=4).arrays() for _ in range(2))
    assert first.keys() == second.keys()
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"budget": 0}, "budget"),
        ({"seed": -1}, "seed"),
        ({"way": "smell"}, "'smell'"),
        ({"inputs": np.zeros((4, 2))}, "inputs"),
    ],
)
def test_arguments_are_refused_in_a_sentence(options, message):
    with pytest.raises(InputError, match=message) as error:
        learn_twin(make_chip(), **options)
    assert "\n" not in str(error.value)


def test_a_chip_without_spikes_is_not_learned_from_them():
    with pytest.raises(InputError, match="no method `spikes`"):
        learn_twin(SigmoidChip(), way="spikes")


@pytest.mark.parametrize("shows", [True, False])
def test_a_budget_is_kept_however_small(shows):
    chip = TalliedChip(make_chip(), spikes=shows)
    told = ""
    try:
        learn_twin(chip, budget=3)
    except InputError as error:
        told = str(error)
    assert told == "" or "too few" in told
    assert chip.shown <= 3
