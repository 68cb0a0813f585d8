"""Leaks by the questions that tell most, of neurons that are known."""

from __future__ import annotations

import numpy as np
import pytest

from bayes_snn.twins.membership import FiringSet, fires_at, first_true, reaches
from bayes_snn.twins.scalars import Scalar, leak_of, leak_settings


def found(alpha: float, threshold: float, usual: float) -> tuple[Scalar, int]:
    """The leak of a neuron of one threshold, in units of the drive, and the questions that it took."""

    def period(drive: float) -> int:
        return int(first_true(fires_at(np.array([threshold]), drive * reaches(alpha, 32))[None])[0])

    known = FiringSet(32, usual, 60.0)
    known.set_alpha(usual, first_only=True)
    known.add([-60.0, threshold - 1e-5, threshold + 1e-5, 60.0], [np.arange(33) == n for n in (0, 2, 1, 1)])
    leak, n_asked = leak_of(known, usual), 0
    while (asked := leak.question(leak_settings(known, leak))) is not None:
        leak.add(asked.setting, np.arange(33) == period(asked.setting))
        n_asked += 1
    return leak, n_asked


@pytest.mark.parametrize("alpha", [0.62, 0.83, 0.8999, 0.957])
def test_a_leak_is_found_in_few_questions(alpha: float) -> None:
    leak, n_asked = found(alpha, 9.0, 0.9)
    value, error = leak.best()
    assert value == pytest.approx(alpha, abs=1e-5)
    assert error < 1e-4
    assert n_asked <= 20  # a bisection of seven nats down to 1e-5 takes as many


def test_the_usual_leak_is_recognised_at_once_and_taken_as_it_is() -> None:
    leak, n_asked = found(0.9, 9.0, 0.9)
    assert leak.best() == (0.9, 0.0)
    assert n_asked <= 4
