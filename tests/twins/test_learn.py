"""`learn_twin`: which way it goes, and what cannot be learned."""

from __future__ import annotations

import numpy as np
import pytest

from bayes_snn.chips.lif.chip import LIFChip
from bayes_snn.errors import InputError
from bayes_snn.twins.contract import COUNTS, SPIKES, check_twin, never_varied
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


class Broken(TalliedChip):
    """A chip some of whose neurons are stuck at no spike, or at one a step: (layer, neuron, whether it spikes)."""

    def __init__(self, stuck, spikes):
        super().__init__(make_chip(), spikes)
        self.stuck = stuck

    def run(self, weights, inputs):
        return self._spikes(weights, inputs)[-1].sum(axis=1, dtype=np.int64)

    def _spikes(self, weights, inputs):
        self._count(weights, inputs)
        trains = [train.copy() for train in self.chip.spikes(weights, inputs)]
        for layer, neuron, value in self.stuck:
            trains[layer][:, :, neuron] = value
        return trains


def test_hidden_neurons_that_are_silent_are_told_from_counts():
    chip = LIFChip((8, 6, 2), "silent", 0.3, seed=101)
    rates = [
        train.mean()
        for train in np.moveaxis(chip.spikes([np.full((8, 6), 4.0), np.zeros((6, 2))], np.ones((1, 8)))[0], 2, 0)
    ]
    assert rates.count(0.0) == 2
    assert "2 of 6 hidden neurons move no output." in learn_twin(chip, way="counts").learned.notes


ALL = [(0, n, False) for n in range(4)]


@pytest.mark.parametrize("spikes", [True, False])
@pytest.mark.parametrize("value", [False, True])
def test_a_chip_that_never_answers_otherwise_is_refused_in_a_sentence(spikes, value):
    chip = Broken([*ALL, (1, 0, value), (1, 1, value)], spikes)
    with pytest.raises(InputError, match=rf"counted {16 * value} spikes in all of [\d,]+ presentations") as error:
        learn_twin(chip)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("spikes", [True, False])
def test_outputs_that_never_vary_are_told_one_by_one(spikes):
    chip = Broken([*ALL, (1, 0, False), (1, 1, True)], spikes)
    with pytest.raises(InputError, match=r"^The outputs counted 0, 16 spikes, one number for each, in all of [\d,]+ "):
        learn_twin(chip)


def test_of_many_outputs_the_first_are_named():
    assert "counted 0, 1, 2, 3, 4, 5, 6, 7, ... spikes, one number for each, in all of 2,000" in str(
        never_varied(2000, range(20))
    )
    assert str(never_varied(2000, [5] * 20)).startswith("Each output counted 5 spikes in all of 2,000 presentations")


@pytest.mark.parametrize(
    ("stuck", "spikes", "says"),
    [
        ([(0, 2, False)], True, "1 of 4 neurons of layer 1 never fired: 2."),
        ([(1, 1, True)], True, "1 of 2 neurons of layer 2 fired at each step: 1."),
        ([(1, 1, False)], False, "Output 1 counted 0 spikes in every presentation."),
    ],
)
def test_a_neuron_that_is_dead_is_told_and_the_others_are_learned(stuck, spikes, says):
    chip = Broken(stuck, spikes)
    twin = learn_twin(chip)
    assert says in twin.learned.notes
    rng = np.random.default_rng(2)
    weights, inputs = [rng.normal(size=shape) for shape in chip.spec.weight_shapes], rng.normal(size=(300, 5))
    assert (twin.run(weights, inputs) != chip.run(weights, inputs)).mean() < 0.02
