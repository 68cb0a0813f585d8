"""How long does one evaluation of the network take: LIFChip against its peers, on one thread."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import LAYERS, draw_weights
from numpy.typing import NDArray
from peers import PEERS
from pytest_benchmark.fixture import BenchmarkFixture

from bayes_snn import LIFChip

N_STEPS = 32
CASE = (LAYERS, N_STEPS, 569)  # the default problem, which the scaling is measured from

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


SCALING = {
    "samples": [((30, 16, 2), 32, n) for n in (32, 569, 4552)],
    "time steps": [((30, 16, 2), n, 569) for n in (16, 32, 64, 65, 128)],
    "hidden layers": [((30, *[16] * n, 2), 32, 569) for n in (1, 2, 4)],
    "hidden neurons": [((30, n, 2), 32, 569) for n in (16, 64, 256, 1024)],
}


@pytest.mark.parametrize(
    ("what", "layers", "n_steps", "n_samples"),
    [(what, *case) for what, cases in SCALING.items() for case in cases],
    ids=lambda value: str(value),
)
def test_scaling(
    benchmark: BenchmarkFixture,
    inputs: NDArray[np.float64],
    what: str,
    layers: tuple[int, ...],
    n_steps: int,
    n_samples: int,
) -> None:
    """The ideal chip, one size at a time; beyond 64 steps the first layer is stepped instead of looked up."""
    benchmark.group = f"forward run by {what}"
    chip, weights = LIFChip(layers=layers, n_steps=n_steps), draw_weights(layers, 0)
    shown = np.resize(inputs, (n_samples, inputs.shape[1])).copy()
    shown.setflags(write=False)
    chip.run(weights, shown)
    label = f"{'-'.join(map(str, layers))}, T={n_steps}, {n_samples} samples"
    updates = n_samples * sum(layers[1:]) * n_steps
    benchmark.extra_info.update(label=label, lif_updates=updates, reference=(layers, n_steps, n_samples) == CASE)
    benchmark(chip.run, weights, shown)
