"""Learning from spikes shows a chip what its budget allows, and stops when the twin is good."""

import numpy as np
import pytest

from bayes_snn.chips.lif.chip import LIFChip
from bayes_snn.twins.asking import AskedChip, BudgetSpentError
from bayes_snn.twins.from_spikes import learn_from_spikes


class Counted:
    """A chip that counts by itself what it is shown."""

    def __init__(self, chip):
        self.chip, self.spec, self.shown, self.written, self.last = chip, chip.spec, 0, 0, None

    def run(self, weights, inputs):
        raise AssertionError("a chip that shows its spikes is asked for them")

    def spikes(self, weights, inputs):
        self.shown += len(inputs)
        digest = b"".join(w.tobytes() for w in weights)
        self.written += digest != self.last
        self.last = digest
        return self.chip.spikes(weights, inputs)


def small(seed=104, **arguments):
    return LIFChip((5, 4, 2), seed=seed, **{"distortion": "comparator", "sigma": 3.0, **arguments})


@pytest.mark.parametrize("budget", [1, 63, 100, 201])
def test_a_budget_is_kept_to_the_presentation(budget):
    counted = Counted(small())
    twin, recordings = learn_from_spikes(AskedChip(counted, budget), 0)
    assert counted.shown == budget == twin.presentations == len(recordings)
    assert counted.written == twin.programmings
    assert twin.learned.way == "spikes"
    assert twin.learned.chip == "Counted"


def test_nothing_can_be_learned_from_nothing():
    with pytest.raises(BudgetSpentError):
        learn_from_spikes(AskedChip(small(), 0), 0)


class Restless:
    """A chip that nobody can learn: its spikes are drawn by lot."""

    def __init__(self):
        self.spec, self.rng = small().spec, np.random.default_rng(0)

    def run(self, weights, inputs):
        return self.spikes(weights, inputs)[-1].sum(axis=1)

    def spikes(self, weights, inputs):
        return [self.rng.random((len(inputs), self.spec.n_steps, n)) < 0.5 for n in self.spec.layers[1:]]


def test_it_stops_when_the_twin_is_good_and_not_before():
    told = []
    twin, _ = learn_from_spikes(AskedChip(small()), 0, progress=lambda *now: told.append(now))
    assert [wrong <= 0.002 for _, wrong in told[-2:]] == [True, True]
    assert told[-1] == (twin.presentations, twin.learned.mismatch)
    assert learn_from_spikes(AskedChip(Restless(), 400), 0)[0].presentations == 400


def test_the_mismatch_is_that_of_samples_not_learned_from():
    chip = small(sigma=10.0)
    twin, _ = learn_from_spikes(AskedChip(chip, 150), 0)
    rng, wrong = np.random.default_rng(5), []
    for _ in range(60):
        weights = [rng.normal(size=shape) for shape in chip.spec.weight_shapes]
        inputs = rng.normal(size=(16, 5))
        wrong.append((twin.run(weights, inputs) != chip.run(weights, inputs)).mean())
    error = np.std(wrong) / np.sqrt(60) + np.sqrt(np.mean(wrong) / twin.learned.n_compared)
    assert twin.learned.n_compared > 0
    assert abs(np.mean(wrong) - twin.learned.mismatch) < 5 * error + 0.02


def test_the_same_seed_shows_the_same():
    first, second, other = (learn_from_spikes(AskedChip(small(), 90), seed)[1] for seed in (3, 3, 4))
    assert np.array_equal(first.weights, second.weights)
    assert np.array_equal(first.inputs, second.inputs)
    assert not np.array_equal(first.inputs, other.inputs)
