"""Chips that count, fail or interrupt, and a fit made by hand, which needs no sampling."""

from __future__ import annotations

import multiprocessing
import os
import signal
from functools import partial

import numpy as np
import xarray as xr
from scipy import stats

from bayes_snn.chips.presentations import Presentations
from bayes_snn.inference.result import FitResult
from bayes_snn.likelihood import log_likelihood
from bayes_snn.names import SAMPLERS
from bayes_snn.posterior.op import ChipCounts
from bayes_snn.samplers.shared.sweepers import BlackBoxSweeper
from tests.helpers.toys import SigmoidChip


class CountingChip:
    """Any chip, with its runs and the samples shown to it counted."""

    def __init__(self, chip):
        self.chip, self.spec, self.runs, self.shown = chip, chip.spec, 0, 0

    def run(self, weights, inputs):
        self.runs += 1
        self.shown += len(inputs)
        return self.chip.run(weights, inputs)


class FaultyChip(SigmoidChip):
    """Works for `good_runs` runs; then `fault` makes the answer out of the right one."""

    def __init__(self, fault, good_runs):
        super().__init__()
        self.fault, self.good_runs = fault, good_runs

    def run(self, weights, inputs):
        counts = super().run(weights, inputs)
        return counts if self.runs <= self.good_runs else self.fault(counts)


class InterruptingChip(SigmoidChip):
    """Presses Ctrl-C in the process that made it, at each run whose number is in `when`; once, if it was copied."""

    def __init__(self, *when):
        super().__init__()
        self.when, self.pid = when, os.getpid()
        self.pressed = multiprocessing.get_context("fork").Value("i", 0)  # shared with copies in forked processes

    def run(self, weights, inputs):
        counts = super().run(weights, inputs)
        with self.pressed.get_lock():
            press = self.pressed.value < len(self.when) and self.runs >= self.when[self.pressed.value]
            self.pressed.value += press
        if press:
            os.kill(self.pid, signal.SIGINT)
        return counts


def twin_for(sampler, chip):
    """What `fit` and `make_step` need beside the name of a sampler: for "twin" a twin, for which any chip can stand."""
    return {"twin": chip} if sampler == "twin" else {}


def sweeping(chip, op=None):
    """The chip itself, which offers black-box sweeps as its own from now on, by way of an Op where one is given."""
    chip.site_sweeper = partial(_black_box, chip, op)
    return chip


def _black_box(chip, op, inputs, labels):
    return BlackBoxSweeper(ChipCounts(chip, inputs) if op is None else op, labels)


def chip_for(sampler, chip):
    """The chip, with sweeps of its own where the sampler asks for them."""
    return sweeping(chip) if SAMPLERS[sampler].simulated else chip


def hand_made_fit(chip, inputs, labels, chains=2, draws=10, seed=0):
    """A FitResult whose weights are draws from the prior Normal(0, 1)."""
    rng = np.random.default_rng(seed)
    weights, prior = {}, {}
    for name, dims, shape in zip(chip.spec.weight_names, chip.spec.weight_dims, chip.spec.weight_shapes, strict=True):
        values = rng.normal(size=(chains, draws, *shape))
        weights[name] = (("chain", "draw", *dims), values)
        prior[name] = (("chain", "draw"), stats.norm.logpdf(values).sum(axis=(2, 3)))
    terms = np.empty((chains, draws, len(labels)))
    for place in np.ndindex(chains, draws):
        counts = chip.run([values[place] for _, values in weights.values()], inputs)
        terms[place] = log_likelihood(np.asarray(counts), labels, 0.5)
    presentations = len(labels) * 100 * np.tile(np.arange(1, draws + 1), (chains, 1))
    accept = rng.uniform(size=(chains, draws))
    datasets = {
        "posterior": xr.Dataset(weights),
        "sample_stats": xr.Dataset(
            {"accept": (("chain", "draw"), accept), "presentations": (("chain", "draw"), presentations)}
        ),
        "log_likelihood": xr.Dataset({"label": (("chain", "draw", "observation"), terms)}),
        "log_prior": xr.Dataset(prior),
        "observed_data": xr.Dataset({"label": ("observation", labels)}),
        "constant_data": xr.Dataset({"inputs": (("observation", "pre_1"), inputs)}),
    }
    tree = xr.DataTree.from_dict(datasets)
    arguments = {"model": "gaussian", "sampler": "block", "draws": draws, "tune": 0, "chains": chains, "seed": seed}
    return FitResult(chip, tree, arguments, Presentations(int(presentations[:, -1].sum())), 1.5)


def same_draws(first, second):
    """Whether two fits hold the same draws of every weight, bit for bit."""
    names = first.chip.spec.weight_names
    return all(
        np.array_equal(first.posterior.posterior[name].values, second.posterior.posterior[name].values)
        for name in names
    )
