"""How long does one draw take, every weight proposed once: `sitewise` against PyMC's Metropolis on three chips.

398 samples, 30-16-2, T = 32, comparator sigma = 3: the default problem. The steps have been warmed up, since the cost
of a sweep depends on how many proposals are accepted. The NumPy chips are the loops of peers.py, without distortion.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pymc as pm
import pytest
from conftest import LAYERS
from numpy.typing import NDArray
from peers import PEERS
from pytest_benchmark.fixture import BenchmarkFixture

from bayes_snn import LIFChip, build_model, fit, load_data, split_data
from bayes_snn.inference.fit import _other_steps
from bayes_snn.samplers.by_name import make_step

WARM_UP = 60
N_STEPS = 32

pytestmark = pytest.mark.filterwarnings("ignore")


class NumPyChip:
    """A vectorised NumPy loop of peers.py behind the contract of a chip."""

    def __init__(self, peer: str) -> None:
        self.spec, self.peer = LIFChip(LAYERS, n_steps=N_STEPS).spec, peer

    def run(self, weights: Any, inputs: NDArray[np.float64]) -> Any:
        weights = [np.clip(w, -4, 4).astype(np.float32) for w in weights]
        return PEERS[self.peer].make(weights, inputs.astype(np.float32), N_STEPS)()


CHIPS = {
    "LIFChip": lambda: LIFChip(LAYERS, "comparator", 3.0, 0, N_STEPS),
    "NumPy chip": lambda: NumPyChip("numpy"),
    "plain NumPy chip": lambda: NumPyChip("numpy_plain"),
}


def settled(
    chip: Any, prior: str, sampler: str, warm_up: int, n_train: int | None = None
) -> tuple[Any, list[Any], dict[str, Any]]:
    """A step, the steps of the hyperparameters, and a point after some warm-up from a prior draw."""
    split = split_data(load_data("breast_cancer"), n_train=n_train)
    model = build_model(chip, split.train_inputs, split.train_labels, prior)
    with model:
        step = make_step(sampler, model)
        others = _other_steps(model, step)
        point = model.initial_point()
    rng = np.random.default_rng(0)
    point |= {f"w_{i + 1}": rng.normal(size=shape) for i, shape in enumerate(chip.spec.weight_shapes)}
    step.setup_chain(rng, warm_up, warm_up)
    for _ in range(warm_up):
        point, _ = step.step(point)
    step.stop_tuning()
    return step, others, point


@pytest.mark.parametrize("prior", ["gaussian", "hierarchical", "horseshoe"])
@pytest.mark.parametrize(
    ("sampler", "name", "warm_up", "rounds"),
    [
        ("sitewise", "LIFChip", WARM_UP, 60),
        ("pymc", "LIFChip", 10, 10),
        ("pymc", "NumPy chip", 1, 3),
        ("pymc", "plain NumPy chip", 1, 3),
    ],
)
def test_sweep(benchmark: BenchmarkFixture, prior: str, sampler: str, name: str, warm_up: int, rounds: int) -> None:
    """The weights' step alone, hyperparameters held."""
    benchmark.group = f"one sweep over 512 weights, prior {prior}"
    step, _, point = settled(CHIPS[name](), prior, sampler, warm_up)
    benchmark.extra_info.update(label=f"{sampler} on {name}", reference=sampler == "sitewise", operations=512)
    benchmark.pedantic(step.step, (point,), rounds=rounds, iterations=1, warmup_rounds=1)


@pytest.mark.parametrize("hidden", [16, 64, 256, 1024])
def test_proposal_by_hidden_neurons(benchmark: BenchmarkFixture, hidden: int) -> None:
    """A sweep of sitewise on the ideal chip; the label says how many proposals it holds."""
    benchmark.group = "a sweep of sitewise on the ideal chip, by hidden neurons"
    chip = LIFChip((30, hidden, 2), n_steps=N_STEPS)
    step, _, point = settled(chip, "gaussian", "sitewise", 20)
    n = chip.spec.n_weights
    benchmark.extra_info.update(label=f"{hidden} hidden, {n} proposals", reference=hidden == 16, operations=n)
    benchmark.pedantic(step.step, (point,), rounds=10, iterations=1, warmup_rounds=1)


@pytest.mark.parametrize("n_train", [50, 100, 200, 398])
def test_proposal_by_samples(benchmark: BenchmarkFixture, n_train: int) -> None:
    """A sweep of sitewise on the default chip, by training samples."""
    benchmark.group = "a sweep of sitewise, comparator sigma = 3, by training samples"
    step, _, point = settled(CHIPS["LIFChip"](), "gaussian", "sitewise", WARM_UP, n_train)
    benchmark.extra_info.update(label=f"{n_train} samples", reference=n_train == 50, operations=512)
    benchmark.pedantic(step.step, (point,), rounds=40, iterations=1, warmup_rounds=1)


@pytest.mark.parametrize("chains", [1, 2])
def test_fit_by_chains(benchmark: BenchmarkFixture, chains: int) -> None:
    """A whole fit, 700 sweeps of warm-up and 700 draws a chain; chains run in processes, one a core."""
    benchmark.group = f"a fit by chains, 700 + 700 sweeps each, {os.cpu_count()} cores"
    chip, split = CHIPS["LIFChip"](), split_data(load_data("breast_cancer"))
    benchmark.extra_info.update(label=f"{chains} chains", reference=chains == 1)
    benchmark.pedantic(
        lambda: fit(
            chip,
            split.train_inputs,
            split.train_labels,
            draws=700,
            tune=700,
            chains=chains,
            progress=False,
            sampler="sitewise",
        ),
        rounds=3,
        iterations=1,
        warmup_rounds=0,
    )


def test_draws_of_a_hierarchical_prior(benchmark: BenchmarkFixture) -> None:
    """A whole draw, slices of the hyperparameters included."""
    benchmark.group = "one draw, prior hierarchical, hyperparameters included"
    step, others, point = settled(CHIPS["LIFChip"](), "hierarchical", "sitewise", 20)
    both = pm.CompoundStep([*others, step])
    benchmark.extra_info.update(label="sitewise + slices on LIFChip", reference=True)
    benchmark.pedantic(both.step, (point,), rounds=20, iterations=1, warmup_rounds=1)
