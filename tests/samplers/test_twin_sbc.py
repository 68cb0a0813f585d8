"""Simulation-based calibration of sampler `twin`, whose twin has other leaks than the chip."""

from __future__ import annotations

import numpy as np
import pytest

from bayes_snn.chips.lif.chip import LIFChip
from tests.helpers.calibration import p_of_uniform, ranks_of_truths
from tests.helpers.wrong_twins import Bench

CHIP = {"layers": (2, 2, 2), "distortion": "comparator", "sigma": 2.0, "seed": 101, "n_steps": 12}
LEAKY = 3.0  # ms, the time constant of the twin's neurons; that of the chip's is 9.5
N_DRAWS, THIN, N_REPLICATES = 9, 5, 160
FALSE_ALARM = 1e-4  # of a sampler without a fault: its ranks are uniform however slow its chains are


def p_of(checked):
    """p-value of uniform ranks, and the share of checks that were accepted."""
    chip, rng = LIFChip(**CHIP), np.random.default_rng(12)
    inputs = 1.5 * rng.normal(size=(16, 2))
    bench = Bench(chip, inputs, np.arange(16) % 2, "standard_normal", n_moves=3, n_replicas=1)
    bench.use(LIFChip(**CHIP, tau_m=LEAKY), checked=checked)
    accepted = []

    def draw(truth, labels, rng):
        """A chain from the truth on, and, as it is reversible, another one that leads up to it."""
        bench.relabel(labels)
        start, kept = dict(zip(chip.spec.weight_names, truth, strict=True)), []
        before = int(rng.integers(0, N_DRAWS + 1))
        for n in (before, N_DRAWS - before):
            points, told = bench.chain_from(start, n * THIN, rng)
            accepted.extend(each["accept"] for each in told)
            kept += [[point[name] for name in chip.spec.weight_names] for point in points[THIN - 1 :: THIN]]
        return kept

    p = p_of_uniform(ranks_of_truths(chip, inputs, draw, N_REPLICATES, rng), N_DRAWS)
    return p, float(np.mean(accepted))


@pytest.mark.slow
def test_ranks_of_truths_are_uniform_though_the_twin_is_wrong():
    p, accepted = p_of(checked=True)
    assert accepted < 0.9
    assert p > FALSE_ALARM


@pytest.mark.slow
def test_with_the_checks_left_out_they_are_not():
    """Negative control."""
    p, accepted = p_of(checked=False)
    assert accepted == 1
    assert p < FALSE_ALARM
