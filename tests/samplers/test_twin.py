"""Draws on a wrong twin, checked on the chip, are the chip's."""

from __future__ import annotations

import numpy as np
import pymc as pm
import pytest

from bayes_snn.chips.lif.chip import LIFChip
from bayes_snn.errors import InputError
from bayes_snn.groups import GAP
from bayes_snn.posterior.build import build_model, weight_variables
from bayes_snn.samplers.by_name import make_step
from bayes_snn.samplers.shared.replicas import Replicas
from bayes_snn.samplers.sitewise import SitewiseMetropolis
from bayes_snn.samplers.twin import TwinMetropolis
from tests.helpers.toys import INPUTS, LABELS, SigmoidChip, quadrature, z_scores
from tests.helpers.unit_scales import in_unit_scales

LIMIT = 4.5  # of 7 moments, for three twins: beyond it with probability below 2e-4


class WrongTwin(SigmoidChip):
    """A twin that is wrong on purpose."""

    def __init__(self, fault):
        super().__init__()
        self.fault = fault

    def run(self, weights, inputs):
        if self.fault == "constant":
            return np.full((len(inputs), 2), 3)
        counts = super().run([np.asarray(weights[0]) * (0.5 if self.fault == "leak" else 1.0)], inputs)
        return counts[:, ::-1] if self.fault == "swapped" else counts


def chains(step, model, n_chains=4, tune=60, draws=1200, seed=0):
    """Draws (chain, draw, n_weights) of a step driven by hand, and their stats."""
    found, stats = [], []
    for chain in range(n_chains):
        rng = np.random.default_rng([seed, chain])
        step.tune = True
        step.setup_chain(rng, tune, draws)
        point = model.initial_point()
        point = {name: rng.normal(size=np.shape(value)) for name, value in point.items()}
        kept = []
        for draw in range(tune + draws):
            if draw == tune:
                step.stop_tuning()
            point, [told] = step.step(point)
            if draw >= tune:
                kept.append(np.concatenate([np.ravel(value) for value in point.values()]))
                stats.append(told)
        found.append(kept)
    return np.array(found), stats


def twin_step(twin, **options):
    model = build_model(SigmoidChip(), INPUTS, LABELS, "standard_normal")
    with model:
        return TwinMetropolis(weight_variables(model), twin=twin, model=model, **options), model


@pytest.fixture(scope="module")
def known():
    return quadrature()


@pytest.mark.parametrize("fault", ["leak", "constant", "swapped"])
def test_draws_on_a_wrong_twin_are_the_chips(fault, known):
    # a swapped twin proposes where the chip's posterior is not: half its power, and a chain moves on
    step, model = twin_step(WrongTwin(fault), n_moves=1, n_replicas=2, power=0.3 if fault == "swapped" else 1.0)
    draws, stats = chains(step, model)
    assert 0.05 < np.mean([each["accept"] for each in stats]) < 0.98
    assert max(map(abs, z_scores(draws, known).values())) < LIMIT


def test_without_the_check_they_are_the_twins(known):
    """Negative control."""
    step, model = twin_step(WrongTwin("leak"), n_moves=1, n_replicas=1)
    step._look = lambda q, least: step._ask(step._matrices(q), step.op.inputs)
    step._log_p = lambda counts, q: 0.0
    draws, _ = chains(step, model)
    assert max(map(abs, z_scores(draws, known).values())) > LIMIT


def test_a_twin_equal_to_the_chip_accepts_every_check():
    step, model = twin_step(SigmoidChip(), n_moves=1)
    _, stats = chains(step, model, n_chains=1, draws=300)
    assert all(each["accept"] == 1 for each in stats)
    assert np.nanmax(np.abs([each[GAP] for each in stats])) < 1e-9


# nine states, a kernel of shifts and sweeps on a twin that is wrong by a nat


def toy(n=3, seed=0):
    """Log densities of a chip and of a twin over (n, n) states of two weights."""
    rng = np.random.default_rng(seed)
    chip = rng.normal(size=(n, n))
    return chip.ravel(), (chip + rng.choice((-1.0, 1.0), size=(n, n))).ravel()


def moves(log_p, n=3):
    """Transition matrices of a Metropolis proposal of either weight, and of a shift of both."""
    states = [(a, b) for a in range(n) for b in range(n)]
    found = {}
    for name, directions in {"a": [(1, 0), (-1, 0)], "b": [(0, 1), (0, -1)], "shift": [(1, 1), (-1, -1)]}.items():
        matrix = np.zeros((n * n, n * n))
        for i, (a, b) in enumerate(states):
            for da, db in directions:
                to = (a + da, b + db)
                if to in states:
                    j = states.index(to)
                    matrix[i, j] += 0.5 * min(1.0, np.exp(log_p[j] - log_p[i]))
            matrix[i, i] = 1.0 - matrix[i].sum()
        found[name] = matrix
    return found


def checked(kernel, chip, twin):
    """The chain of delayed acceptance: total variation of what it converges to from the chip's distribution."""
    log_ratio = (chip[None, :] - chip[:, None]) + (twin[:, None] - twin[None, :])
    matrix = kernel * np.minimum(1.0, np.exp(log_ratio))
    np.fill_diagonal(matrix, 0.0)
    np.fill_diagonal(matrix, 1.0 - matrix.sum(axis=1))
    values, vectors = np.linalg.eig(matrix.T)
    found = np.real(vectors[:, np.argmax(np.real(values))])
    exact = np.exp(chip) / np.exp(chip).sum()
    return 0.5 * np.abs(found / found.sum() - exact).sum()


@pytest.mark.parametrize("seed", range(5))
def test_a_palindrome_is_exact_and_shifts_before_a_sweep_are_not(seed):
    chip, twin = toy(seed=seed)
    each = moves(twin)
    sweep = 0.5 * (each["a"] @ each["b"] + each["b"] @ each["a"])  # in random order
    assert checked(each["shift"] @ sweep @ each["shift"], chip, twin) < 1e-10
    assert checked(each["shift"] @ sweep, chip, twin) > 1e-4


def test_the_palindrome_of_sitewise_is_reversible():
    """Pairs of draws at stationarity are exchangeable: E[f(W) g(W')] = E[g(W) f(W')]; a shift before a sweep is not."""
    chip = in_unit_scales(LIFChip((2, 2, 2), "comparator", 2.0, seed=100, n_steps=8))
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(12, 2))
    model = build_model(chip, inputs, (inputs[:, 0] > 0).astype(int), "standard_normal")
    with model:
        step = SitewiseMetropolis(weight_variables(model), model=model)
    step.rng = rng
    step.log_scales[:] = 0.5
    q, gaps = rng.normal(size=8), []
    for i in range(6000):
        new, _ = step.palindrome(q, (1.0, 1.0), False)
        if i >= 200:
            gaps.append(np.abs(q[:4]).sum() * np.abs(new[4:]).sum() - np.abs(new[:4]).sum() * np.abs(q[4:]).sum())
        q = new
    parts = np.array(gaps).reshape(20, -1).mean(axis=1)
    assert abs(parts.mean()) < 5 * parts.std(ddof=1) / 20**0.5


def test_replicas_keep_what_each_is_drawn_from(known):
    """The hottest of three replicas, read as a chain of its own, has its own posterior."""
    step, _ = twin_step(SigmoidChip(), n_moves=1, n_replicas=2)
    replicas: Replicas = step.replicas
    rng = np.random.default_rng(3)
    step.setup_chain(rng, 0, 1)
    replicas.ladder = np.array([1.0, 0.4])
    q, found = rng.normal(size=2), []
    for _ in range(4000):
        q = replicas.move(q, {}, rng, 1)
        found.append(replicas.places[0])
    draws = np.array(found[200:]).reshape(4, -1, 2)
    assert max(map(abs, z_scores(draws, quadrature(power=0.4)).values())) < LIMIT
    assert max(map(abs, z_scores(draws, known).values())) > LIMIT


def test_a_twin_of_another_chip_and_none_are_told():
    model = build_model(SigmoidChip(), INPUTS, LABELS, "standard_normal")
    with pytest.raises(InputError, match=r"without a twin.*learn_twin"):
        make_step("twin", model)
    with pytest.raises(InputError, match=r"n_steps 5, but the chip has 12"):
        make_step("twin", model, twin=SigmoidChip(5))


def test_a_tied_prior_moves_all_weights_at_once(known):
    def tied(chip):
        rotation = np.array([[0.6, 0.8], [-0.8, 0.6]])
        return [pm.MvNormal("w_1", mu=np.zeros(2), cov=rotation @ np.eye(2) @ rotation.T, shape=(1, 2))]

    model = build_model(SigmoidChip(), INPUTS, LABELS, tied)
    with model:
        step = TwinMetropolis(weight_variables(model), twin=WrongTwin("leak"), model=model, n_moves=1, n_replicas=1)
    step.replicas.movers[0].proposals = 5
    draws, _ = chains(step, model)
    assert max(map(abs, z_scores(draws, known).values())) < LIMIT


@pytest.mark.parametrize("n_moves", range(1, 12))
def test_moves_are_the_same_from_both_ends(n_moves, monkeypatch):
    """Swaps, draws and shifts of a whole move, in the opposite order, are those of the move."""
    step, _ = twin_step(SigmoidChip(), n_moves=n_moves, n_replicas=3)
    replicas, done = step.replicas, []

    def draw(number):
        def palindrome(q, powers, learn, shifts=True):
            done.append((number, shifts))
            return q, -1.0

        return palindrome

    for number, mover in enumerate(replicas.movers):
        monkeypatch.setattr(mover, "palindrome", draw(number))
    monkeypatch.setattr(replicas, "_swap", lambda places, heights, first, *others: done.append(("swaps", first)))
    q = np.zeros(sum(len(np.ravel(matrix)) for matrix in step.weights_and_readout(step._model.initial_point())[0]))
    replicas.move(q, {}, np.random.default_rng(0), n_moves)
    draws = [each for each in done if each[0] != "swaps"]
    swaps = [each for each in done if each[0] == "swaps"]
    by_move = [draws[k : k + 5] for k in range(0, len(draws), 5)]
    assert all([number for number, _ in each] == [0, 0, 0, 1, 2] for each in by_move)
    assert all(each[:3] == each[2::-1] for each in by_move)
    assert by_move == by_move[::-1]
    assert swaps == swaps[::-1]
    assert draws[1][1]
