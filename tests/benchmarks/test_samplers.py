"""How long does one draw take, every weight proposed once: `sitewise` against PyMC's Metropolis on two chips.

398 samples, 30-16-2, T = 32, comparator sigma = 3: the default problem. The steps have been warmed up, since the cost
of a sweep depends on how many proposals are accepted. The NumPy chip is the loop of peers.py, without distortion.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pymc as pm
import pytest
from conftest import LAYERS
from numpy.typing import NDArray
from peers import PEERS
from pytest_benchmark.fixture import BenchmarkFixture

from bayes_snn import LIFChip, build_model, load_data, split_data
from bayes_snn.fit import _other_steps
from bayes_snn.steps import make_step

WARM_UP = 60
N_STEPS = 32

pytestmark = pytest.mark.filterwarnings("ignore")


class NumPyChip:
    """The vectorised NumPy loop behind the contract of a chip."""

    def __init__(self) -> None:
        self.spec = LIFChip(LAYERS, n_steps=N_STEPS).spec

    def run(self, weights: Any, inputs: NDArray[np.float64]) -> Any:
        weights = [np.clip(w, -4, 4).astype(np.float32) for w in weights]
        return PEERS["numpy"].make(weights, inputs.astype(np.float32), N_STEPS)()


CHIPS = {
    "LIFChip": lambda: LIFChip(LAYERS, "comparator", 3.0, 0, N_STEPS),
    "NumPy chip": NumPyChip,
}


def settled(chip: Any, prior: str, sampler: str, warm_up: int) -> tuple[Any, list[Any], dict[str, Any]]:
    """A step, the steps of the hyperparameters, and a point after some warm-up from a prior draw."""
    split = split_data(load_data("breast_cancer"))
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
    [("sitewise", "LIFChip", WARM_UP, 60), ("pymc", "LIFChip", 10, 10), ("pymc", "NumPy chip", 1, 3)],
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


def test_draws_of_a_hierarchical_prior(benchmark: BenchmarkFixture) -> None:
    """A whole draw, the hyperparameters' NUTS step included."""
    benchmark.group = "one draw, prior hierarchical, hyperparameters included"
    step, others, point = settled(CHIPS["LIFChip"](), "hierarchical", "sitewise", 20)
    both = pm.CompoundStep([*others, step])
    benchmark.extra_info.update(label="sitewise + NUTS on LIFChip", reference=True)
    benchmark.pedantic(both.step, (point,), rounds=20, iterations=1, warmup_rounds=1)
