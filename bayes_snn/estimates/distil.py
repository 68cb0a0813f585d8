"""One set of weights that answers as the whole posterior does, trained in the loop: the estimate "distilled".

An ensemble is more accurate than any of its draws, but a chip holds one set of weights at a time. Distillation shows
many unlabelled inputs to the ensemble and trains a single network to give the same answers (Bucila, Caruana,
Niculescu-Mizil, KDD 2006; of a posterior: Korattikara, Rathod, Murphy, Welling, NIPS 2015). Here the network is the
chip, with all its distortions, and it is trained as in a fit, by Metropolis sweeps over single weights. No label is
used, and no test sample. The start is the member of the ensemble that gives its answers the highest likelihood; its
readout stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bayes_snn.chips.contract import Chip, as_matrices
from bayes_snn.errors import check_whole
from bayes_snn.estimates.predict import ENSEMBLE_SIZE, Draws, Weights, run_draws
from bayes_snn.likelihood import Readout
from bayes_snn.posterior.noisy import NoiseChoice
from bayes_snn.posterior.op import ChipCounts
from bayes_snn.samplers.shared.jumps import jump, tune_scales
from bayes_snn.samplers.shared.sweepers import make_sweeper
from bayes_snn.waiting import tracked

JITTER = 0.3  # standard deviation of what is added to a training input, in standard deviations of a feature


@dataclass(frozen=True)
class Distilled:
    """Weights, (n_pre, n_post) for each layer, their readout, what share of answers is the ensemble's, and the cost."""

    weights: Weights
    readout: Readout
    agreement: float
    presentations: int


def distil(
    chip: Chip,
    draws: Draws,
    train_inputs: NDArray[np.float64],
    noise: NoiseChoice,
    *,
    n_inputs: int,
    sweeps: int,
    seed: int,
    support: Sequence[tuple[NDArray[np.float64], NDArray[np.float64]]] | None = None,
) -> Distilled:
    """Train one set of weights to give the answers of an ensemble; `FitResult.distil` is the way to call it.

    Parameters
    ----------
    chip, draws
        The chip, and the posterior draws of its weights.
    train_inputs
        (n_train, n_in), standardised. The ensemble is asked about these and about `n_inputs` more, each a training
        input with normal noise of standard deviation JITTER on every feature (a smoothed bootstrap).
    noise
        How a noisy chip was treated in the fit.
    sweeps
        Sweeps over all weights.
    support
        Lower and upper ends, (n_pre, n_post) each, of every layer's weights under the prior, as `find_support` finds
        them; none by default. A weight that it fixes, or ties to others, stays as in the draw that training starts at.

    Raises
    ------
    InputError
        When a number cannot be used.
    """
    for name, value, least in (("n_inputs", n_inputs, 0), ("sweeps", sweeps, 1), ("seed", seed, 0)):
        check_whole(name, value, least, None, least)
    rng = np.random.default_rng(seed)
    drawn = train_inputs[rng.integers(len(train_inputs), size=n_inputs)]
    inputs = np.concatenate([train_inputs, drawn + JITTER * rng.normal(size=drawn.shape)])
    inputs.setflags(write=False)
    members = draws.spread(ENSEMBLE_SIZE)
    each = run_draws(chip, draws, members, inputs, noise.repeats)
    answers = each.mean(axis=0).argmax(axis=1)
    # where chains sit in modes of unequal worth, most draws may be of a poor one that no sweep leaves
    fits_best = np.log(np.maximum(each[:, np.arange(len(inputs)), answers], 1e-300)).sum(axis=1).argmax()
    best = int(members[fits_best])
    start, readout = draws[best], draws.readout(best)
    op = ChipCounts(chip, inputs)
    op.noise = noise
    op.presentations = len(members) * noise.repeats * len(inputs)
    weights = _imitate(op, answers, start, readout, sweeps, rng, support)
    given = readout.probabilities(op.answers(weights, inputs)).mean(axis=0)
    agreed = np.mean(given.argmax(axis=1) == answers)
    return Distilled(weights, readout, float(agreed), op.presentations)


def _imitate(
    op: ChipCounts,
    answers: NDArray[np.int64],
    start: Weights,
    readout: Readout,
    sweeps: int,
    rng: np.random.Generator,
    support: Sequence[tuple[NDArray[np.float64], NDArray[np.float64]]] | None = None,
) -> Weights:
    """Metropolis sweeps at the likelihood of the answers, each weight uniform over the chip's range and its support.

    Thousands of answers leave a posterior so narrow that the last weights are as good as any.
    """
    low, high = op.chip.spec.weight_range
    shapes = op.chip.spec.weight_shapes
    q = np.concatenate([np.ravel(layer) for layer in start])
    free = np.ones(len(q), np.bool_)
    if support is None:
        lowest, highest = np.full(len(q), low), np.full(len(q), high)
    else:
        ends = [np.concatenate([np.ravel(layer[side]) for layer in support]) for side in (0, 1)]
        lowest, highest = np.maximum(ends[0], low), np.minimum(ends[1], high)
        free = lowest < highest  # neither equal nor nan
    q = np.where(free, np.clip(q, np.where(free, lowest, -np.inf), np.where(free, highest, np.inf)), q)
    sweeper, log_scales = make_sweeper(op, answers, early=True), np.zeros(len(q))
    if not sweeper.charges_op:  # its first start shows all inputs
        op.presentations += len(op.inputs)
    for number in tracked(range(sweeps), "Distilling, sweep by sweep"):
        sweeper.start(as_matrices(q, shapes), readout)
        proposals, far = jump(rng, q, np.exp(log_scales))
        inside = free & (proposals >= lowest) & (proposals <= highest)
        bounds = np.where(inside, -rng.exponential(size=len(q)), np.inf)
        sweep = sweeper.sweep(np.where(inside, proposals, q), bounds, rng.permutation(len(q)))
        q = np.where(sweep.accepted, proposals, q)
        if not sweeper.charges_op:
            op.presentations += sweep.presentations
        # a step wider than the range would seldom stay inside
        tune_scales(log_scales, number, sweep.accepted, far, largest=np.log(high - low))
    return as_matrices(q, shapes)
