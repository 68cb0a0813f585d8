"""Chains driven as `pm.sample` drives them, without compiling a model anew for each: stopped, resumed, compared."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pymc.step_methods.compound import CompoundStep, flatten_steps

from bayes_snn.checkpoint.steps import CheckpointedSteps
from bayes_snn.inference.fit import _other_steps
from bayes_snn.inference.starts import prior_starts
from bayes_snn.likelihood import PLAIN
from bayes_snn.posterior.build import build_model
from bayes_snn.posterior.noisy import choose_noise
from bayes_snn.samplers.by_name import make_step
from bayes_snn.samplers.shared.joint import JointMetropolis
from bayes_snn.samplers.shared.watch import Watch

SEED = 5
TIMES = ("perf_counter_diff", "process_time_diff", "perf_counter_start")  # stats that are never twice the same


class Chains:
    """One model and its steps, and any number of chains on them.

    Parameters
    ----------
    chip, inputs, labels, weights
        As for `build_model`.
    sampler
        Name of a step method.
    tune, draws
        Of every chain.
    noise
        Options of `choose_noise`.
    """

    def __init__(self, chip, inputs, labels, weights, sampler, tune, draws, **noise):
        self.model = build_model(chip, inputs, labels, weights)
        self.model.likelihood.op.noise = choose_noise(chip.spec, sampler, **noise)
        self.tune, self.total = tune, tune + draws
        with self.model:
            step = make_step(sampler, self.model)
            self.steps = [*_other_steps(self.model, step), step]
            starts = prior_starts(self.model, 2, np.random.SeedSequence(3))
            points = self.model.initial_point()
            self.starts = [{name: np.array(value) for name, value in points.items()} for _ in starts]
            for start, drawn in zip(self.starts, starts, strict=True):
                for variable in self.model.free_RVs:
                    value = self.model.rvs_to_values[variable]
                    if self.model.rvs_to_transforms[variable] is None:
                        start[value.name] = np.array(drawn[variable.name])
        self.fresh = [step.sampling_state for step in self.steps]

    def stored(self, folder: Path, fit="fit", draws=1, seconds=1e9):
        """The steps with a checkpoint that is saved after every so many draws."""
        op = self.model.likelihood.op
        return CheckpointedSteps(self.steps, op, folder, fit, seconds=seconds, draws=draws, spent=0.0)

    def unstored(self):
        """The steps without a checkpoint, as PyMC has them."""
        return self.steps[0] if len(self.steps) == 1 else CompoundStep(self.steps)

    def scramble(self):
        """Leave the steps in the midst of another chain, so that whatever is not restored is another."""
        self.run(self.unstored(), n=3, chain=1)

    def run(self, step, n=None, chain=0, forget=False):
        """The first n draws of a chain, all by default: points and stats of each."""
        for method, state in zip(self.steps, self.fresh, strict=True):
            method.sampling_state = state
        if self.model.likelihood.op.chip.spec.drifting:  # it continues from chain to chain, as a new process finds it
            for method in self.steps:
                for step_of_it in flatten_steps(method):
                    step_of_it.watch = Watch()
            self.model.likelihood.op.chip.restart_noise(SEED)
            self.model.likelihood.op.forget()
        rng = np.random.default_rng(SEED).spawn(2)[chain]
        step.setup_chain(rng, self.tune, self.total - self.tune)
        step.tune = bool(self.tune)
        step.reset_tuning()
        found, point = [], {name: value.copy() for name, value in self.starts[chain].items()}
        for i in range(self.total if n is None else n):
            if i == self.tune:
                step.stop_tuning()
            point, stats = step.step(point)
            kept = [{k: v for k, v in s.items() if k not in (*TIMES, "warning")} for s in stats]
            found.append(({name: np.array(value) for name, value in point.items()}, kept))
        if forget:
            step._store = None
        return found


def run_chain(step, start, tune, draws, rng):
    """The points of one chain of a step, warm-up left out, and the stats of each draw."""
    step.setup_chain(rng, tune, draws)
    step.tune = True
    step.reset_tuning()
    point, points, stats = {name: np.array(value) for name, value in start.items()}, [], []
    for draw in range(tune + draws):
        if draw == tune:
            step.stop_tuning()
        point, told = step.step(point)
        if draw >= tune:
            points.append({name: np.array(value) for name, value in point.items()})
            stats.append(told)
    return points, stats


def run_chains(step, starts, tune, draws, seed=0):
    """(chain, draw, *shape) of each value variable, and the stats of all draws."""
    found, stats = [], []
    for start, rng in zip(starts, np.random.default_rng(seed).spawn(len(starts)), strict=True):
        points, told = run_chain(step, start, tune, draws, rng)
        found.append(points)
        stats += told
    return {name: np.array([[point[name] for point in chain] for chain in found]) for name in found[0][0]}, stats


def carried(step, weights, labels):
    """log L of the current point by the plain readout, as the step itself has it, else as the Op remembers it."""
    if isinstance(step, JointMetropolis) and step.log_likelihood._last is not None:
        return step.log_likelihood._last[1]
    sweeper = getattr(step, "_sweeper", None)
    counts = step.op.known(weights) if sweeper is None else sweeper.counts()
    return float("nan") if counts is None else float(PLAIN.log_p(counts, labels).sum())


def same(first, second):
    """Whether two runs hold the same points and stats, bit for bit."""
    if len(first) != len(second):
        return False
    for (point, stats), (other_point, other_stats) in zip(first, second, strict=True):
        if list(point) != list(other_point) or len(stats) != len(other_stats):
            return False
        pairs = [(point[name], other_point[name]) for name in point]
        for found, other in zip(stats, other_stats, strict=True):
            if found.keys() != other.keys():
                return False
            pairs += [(found[name], other[name]) for name in found]
        if not all(np.array_equal(np.asarray(a), np.asarray(b), equal_nan=True) for a, b in pairs):
            return False
    return True
