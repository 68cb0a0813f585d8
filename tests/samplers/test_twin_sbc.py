"""Simulation-based calibration of sampler `twin`, whose twin has other leaks than the chip."""

from __future__ import annotations

import numpy as np
import pytest

from bayes_snn.chips.lif.chip import LIFChip
from tests.helpers.calibration import p_of_uniform, ranks_of_truths
from tests.helpers.wrong_twins import Bench

CHIP = {"layers": (2, 2, 2), "distortion": "comparator", "sigma": 2.0, "seed": 101, "n_steps": 12}
LEAKY = 3.0  # ms, the time constant of the twin's neurons; that of the chip's is 9.5
TUNE, FIRST, THIN, N_DRAWS = 25, 3, 3, 9
N_REPLICATES = 150
FALSE_ALARM = 1e-4  # of a sampler without a fault, if its draws were independent


def p_of(checked, n_replicates):
    chip, rng = LIFChip(**CHIP), np.random.default_rng(12)
    inputs = 1.5 * rng.normal(size=(16, 2))
    bench = Bench(chip, inputs, np.arange(16) % 2, n_moves=3, n_replicas=2)
    bench.use(LIFChip(**CHIP, tau_m=LEAKY), checked=checked)
    accepted = []

    def draw(labels, rng):
        bench.relabel(labels)
        start = {name: rng.normal(size=value.shape) for name, value in bench.model.initial_point().items()}
        points, told = bench.chain(start, TUNE, FIRST + N_DRAWS * THIN, rng)
        accepted.extend(each["accept"] for each in told)
        return [[point[name] for name in chip.spec.weight_names] for point in points[FIRST + THIN - 1 :: THIN]]

    p = p_of_uniform(ranks_of_truths(chip, inputs, draw, n_replicates, rng), N_DRAWS)
    return p, float(np.mean(accepted))


@pytest.mark.slow
def test_ranks_of_truths_are_uniform_though_the_twin_is_wrong():
    p, accepted = p_of(checked=True, n_replicates=N_REPLICATES)
    assert accepted < 0.9
    assert p > FALSE_ALARM


@pytest.mark.slow
def test_with_the_checks_left_out_they_are_not():
    """Negative control."""
    p, accepted = p_of(checked=False, n_replicates=N_REPLICATES)
    assert accepted == 1
    assert p < FALSE_ALARM
