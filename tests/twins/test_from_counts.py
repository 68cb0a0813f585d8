"""Twins that are learned from counts alone, against the chips that they were learned from."""

from __future__ import annotations

import numpy as np
import pytest

from bayes_snn.chips.lif.chip import LIFChip
from bayes_snn.errors import InputError
from bayes_snn.twins.asking import AskedChip
from bayes_snn.twins.contract import COUNTS
from bayes_snn.twins.from_counts import learn_from_counts


class OnlyRuns:
    """A chip that offers nothing but `run`, and counts what it is shown."""

    def __init__(self, chip: LIFChip) -> None:
        self.chip, self.spec, self.shown = chip, chip.spec, 0

    def run(self, weights, inputs):  # type: ignore[no-untyped-def]
        self.shown += len(inputs)
        return self.chip.run(weights, inputs)


def differ(chip, twin, n_programmings: int = 40, seed: int = 1) -> float:  # type: ignore[no-untyped-def]
    """Share of the counts of fresh random presentations that differ."""
    rng, wrong = np.random.default_rng([seed, 7]), []
    for _ in range(n_programmings):
        weights = [rng.normal(size=shape) for shape in chip.spec.weight_shapes]
        inputs = rng.normal(size=(50, chip.spec.layers[0]))
        wrong.append(chip.run(weights, inputs) != twin.run(weights, inputs))
    return float(np.mean(wrong))


@pytest.mark.parametrize(("distortion", "sigma"), [(None, 0.0), ("comparator", 3.0), ("leak", 0.2), ("silent", 0.2)])
def test_twin_counts_as_the_chip_does(distortion: str | None, sigma: float) -> None:
    chip = OnlyRuns(LIFChip((8, 6, 2), distortion, sigma, seed=101))
    twin = learn_from_counts(AskedChip(chip), seed=0)
    assert differ(chip.chip, twin) <= 0.001
    assert twin.learned.way == COUNTS
    assert twin.learned.mismatch == pytest.approx(0.0, abs=0.005)
    assert twin.learned.n_compared > 0
    assert twin.presentations == chip.shown


def test_another_chip_is_told_apart() -> None:
    twin = learn_from_counts(AskedChip(LIFChip((8, 6, 2), "comparator", 3.0, seed=101)), seed=0)
    assert differ(LIFChip((8, 6, 2), "comparator", 3.0, seed=102), twin) > 0.1


@pytest.mark.parametrize("budget", [0, 1, 137, 300])
def test_no_more_is_shown_than_the_budget_allows(budget: int) -> None:
    chip = OnlyRuns(LIFChip((8, 6, 2), "comparator", 3.0, seed=101))
    twin = learn_from_counts(AskedChip(chip, budget), seed=0)
    assert twin.presentations == chip.shown <= budget
    assert "budget" in " ".join(twin.learned.notes)


@pytest.mark.parametrize("layers", [(6, 2), (6, 4, 3, 2)])
def test_a_chip_of_other_depth_is_refused(layers: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="layers of weights"):
        learn_from_counts(AskedChip(LIFChip(layers)), seed=0)


def test_what_counts_cannot_teach_is_told_with_the_mismatch() -> None:
    chip = LIFChip((12, 6, 2), "stuck", 0.3, seed=101)
    twin = learn_from_counts(AskedChip(chip, 20_000), seed=0)
    assert differ(chip, twin) > 0.002
    assert twin.learned.mismatch > 0.002
    assert "stuck at zero" in " ".join(twin.learned.notes)
    assert twin.presentations < 10_000
