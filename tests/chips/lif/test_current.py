"""The distortion of the input current, which reads a table: whatever the current is, within the table."""

from __future__ import annotations

import numpy as np
import pytest
from numba import njit

from bayes_snn.chips.lif.chip import LIFChip
from bayes_snn.chips.lif.current import TABLE_REACH, bend_current, knot
from bayes_snn.chips.lif.lanes import GROUP
from bayes_snn.twins.lif import LIFTwin
from tests.helpers.twins import twin_of

F = np.float32
N_KNOTS = 129  # two to a threshold
compiled = njit(knot)


@njit
def bend(current, table):
    """`bend_current` is compiled for kernels alone."""
    bend_current(current, table)


PLACES = {-np.inf: 0, -1e38: 0, -TABLE_REACH: 0, 0.0: 64, 0.5: 64.5, TABLE_REACH: 128, np.inf: 128, np.nan: 0}


@pytest.mark.parametrize("function", [knot, compiled], ids=["plain", "compiled"])
@pytest.mark.parametrize(("current", "place"), PLACES.items())
def test_every_current_has_a_place_in_the_table(function, current, place):
    assert function(F(current), N_KNOTS) == place


def test_a_current_is_bent_by_what_stands_there():
    rng = np.random.default_rng(0)
    table = rng.normal(size=N_KNOTS).astype(F)
    current = np.resize(np.array([-1e3, -70.0, -3.3, 0.0, 1.7, 63.9, 64.0, 1e3, np.nan, np.inf, -np.inf], F), GROUP)
    expected = current + np.interp(current, np.linspace(-TABLE_REACH, TABLE_REACH, N_KNOTS), table).astype(F)
    bend(current, table)
    np.testing.assert_allclose(current, expected, rtol=1e-5, atol=1e-5)  # NaN stays NaN


def test_a_chip_whose_currents_are_no_numbers_answers():
    """Gains of a twin from elsewhere may be so large that a sum is infinity less infinity."""
    twin = twin_of(LIFChip((2, 2, 2), "current", 1.0, seed=100, n_steps=8))
    arrays = twin.arrays()
    arrays["gain_1"] = np.full((2, 2), 3e38, F)
    huge = LIFTwin.from_arrays(twin.spec, arrays, twin.learned)
    weights = [np.array([[4.0, -4.0], [-4.0, 4.0]]), np.ones((2, 2))]
    counts = huge.run(weights, np.full((3, 2), 1e6))
    assert ((counts >= 0) & (counts <= 8)).all()
