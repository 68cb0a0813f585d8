"""Do the peers compute what the chip computes? A time only counts when they do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from conftest import LAYERS, SEED, draw_weights
from numpy.typing import NDArray
from peers import PEERS, make_numpy

from bayes_snn import LIFChip

# The peers' own packages warn, of deprecations mostly: not this project's to fix.
pytestmark = pytest.mark.filterwarnings("ignore")

# float32 sums in another order: a voltage that rounds to the other side of theta moves a spike, and few do.
TOLERATED = 0.005


def differing(counts: Any, expected: NDArray[Any]) -> float:
    """Fraction of the spike counts that differ."""
    array = np.asarray(counts)
    assert array.shape == expected.shape
    return float((array != expected).mean())


def by_the_equations(
    weights: list[NDArray[np.float32]], sample: NDArray[np.float64], n_steps: int, alpha: float, theta: float
) -> list[int]:
    """Spike counts of one sample, neuron by neuron as the equations read, in float64."""
    voltages = [[0.0] * w.shape[1] for w in weights]
    counts = [0] * weights[-1].shape[1]
    for _ in range(n_steps):
        signal = [float(value) for value in sample]
        for w, v in zip(weights, voltages, strict=True):
            spikes = []
            for n in range(w.shape[1]):
                current = sum(value * float(w[m, n]) for m, value in enumerate(signal))
                v[n] = alpha * v[n] + (1 - alpha) * current
                spikes.append(float(v[n] >= theta))
                if spikes[n]:
                    v[n] = 0.0
            signal = spikes
        counts = [count + int(spike) for count, spike in zip(counts, signal, strict=True)]
    return counts


CASES = [
    pytest.param(LAYERS, 32, 0.9, 1.0, id="30-16-2"),
    pytest.param((30, 16, 8, 3), 20, 0.8, 0.5, id="30-16-8-3"),
]


@pytest.mark.parametrize(("layers", "n_steps", "alpha", "theta"), CASES)
def test_reference_follows_the_equations(
    inputs: NDArray[np.float64], layers: tuple[int, ...], n_steps: int, alpha: float, theta: float
) -> None:
    weights = draw_weights(layers, SEED)
    some = inputs[::20]
    expected = np.array([by_the_equations(weights, sample, n_steps, alpha, theta) for sample in some])
    counts = make_numpy(weights, some.astype(np.float32), n_steps, alpha, theta)()
    assert differing(counts, expected) < TOLERATED


@pytest.mark.parametrize(("layers", "n_steps", "alpha", "theta"), CASES)
@pytest.mark.parametrize("name", [name for name in PEERS if name != "numpy"])
def test_peer_agrees(
    inputs: NDArray[np.float64], name: str, layers: tuple[int, ...], n_steps: int, alpha: float, theta: float
) -> None:
    if reason := PEERS[name].missing():
        pytest.skip(reason)
    x = inputs.astype(np.float32)
    weights = draw_weights(layers, SEED)
    run = PEERS[name].make(weights, x, n_steps, alpha, theta)
    expected = make_numpy(weights, x, n_steps, alpha, theta)()
    assert (expected > 0).mean() > 0.2, "too few spikes to tell right from wrong"
    assert differing(run(), expected) < TOLERATED
    # A state that outlives a run would show in the next one.
    assert differing(run(), expected) < TOLERATED


def test_a_delayed_layer_is_noticed(inputs: NDArray[np.float64]) -> None:
    """The negative control: a run that is one step short, as a delay between layers would make it, fails."""
    x = inputs.astype(np.float32)
    weights = draw_weights(LAYERS, SEED)
    assert differing(make_numpy(weights, x, n_steps=31)(), make_numpy(weights, x)()) > 2 * TOLERATED


@pytest.mark.parametrize("seed", [SEED, 0, 1])
def test_ideal_chip_agrees(inputs: NDArray[np.float64], seed: int) -> None:
    weights = draw_weights(LAYERS, seed)
    chip = LIFChip(layers=LAYERS, distortion=None, seed=0, n_steps=32)
    expected = make_numpy(weights, inputs.astype(np.float32))()
    assert differing(chip.run(weights, inputs), expected) < TOLERATED
