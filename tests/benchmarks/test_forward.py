"""How long does one evaluation of the network take: LIFChip against its peers, on one thread."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import LAYERS
from numpy.typing import NDArray
from peers import PEERS
from pytest_benchmark.fixture import BenchmarkFixture

from bayes_snn import LIFChip

N_STEPS = 32

pytestmark = [
    pytest.mark.benchmark(group=f"forward 569 x {'-'.join(map(str, LAYERS))}, T={N_STEPS}"),
    pytest.mark.filterwarnings("ignore"),
]


def lif_updates(n_samples: int) -> int:
    """Neuron updates of one run; inputs are no neurons."""
    return n_samples * sum(LAYERS[1:]) * N_STEPS


@pytest.mark.parametrize(
    ("label", "distortion", "sigma"),
    [("LIFChip ideal", None, 0.0), ("LIFChip comparator sigma=3", "comparator", 3.0)],
    ids=["LIFChip-ideal", "LIFChip-comparator"],
)
def test_chip(
    benchmark: BenchmarkFixture,
    weights: list[NDArray[np.float32]],
    inputs: NDArray[np.float64],
    label: str,
    distortion: str | None,
    sigma: float,
) -> None:
    chip = LIFChip(layers=LAYERS, distortion=distortion, sigma=sigma, seed=0, n_steps=N_STEPS)
    chip.run(weights, inputs)  # compiles the kernels
    benchmark.extra_info.update(label=label, lif_updates=lif_updates(len(inputs)), reference=distortion is None)
    counts = benchmark(chip.run, weights, inputs)
    assert counts.shape == (len(inputs), LAYERS[-1])


@pytest.mark.parametrize("name", list(PEERS))
def test_peer(
    benchmark: BenchmarkFixture, weights: list[NDArray[np.float32]], inputs: NDArray[np.float64], name: str
) -> None:
    if reason := PEERS[name].missing():
        pytest.skip(reason)
    run = PEERS[name].make(weights, inputs.astype(np.float32), N_STEPS)
    run()  # first runs allocate
    benchmark.extra_info.update(label=name, lif_updates=lif_updates(len(inputs)))
    counts = benchmark(run)
    assert counts.shape == (len(inputs), LAYERS[-1])
