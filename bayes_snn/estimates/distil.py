"""One set of weights that answers as the whole posterior does, trained in the loop: the estimate "distilled".

An ensemble is more accurate than any of its draws, but a chip holds one set of weights at a time. Distillation shows
many unlabelled inputs to the ensemble and trains a single network to give the same answers (Bucila, Caruana, Niculescu-
Mizil, KDD 2006; of a posterior: Korattikara, Rathod, Murphy, Welling, NIPS 2015). Here the network is the chip, with
all its distortions, and it is trained as in a fit, by the sampler `sitewise`, under a prior that is uniform over the
chip's range, where the model's own prior lets weights be. No label is used, and no test sample. The start is the member
of the ensemble that gives its answers the highest likelihood; its readout stays.

Where the chip has a twin, all of this runs on the twin, and the chip is shown the inputs once, with the weights that
were found: how many it answers as the ensemble does is the chip's score, how many it answers otherwise than the twin
says whether the twin could be trusted there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bayes_snn.chips.contract import Chip, ask_counts, frozen
from bayes_snn.errors import check_whole
from bayes_snn.estimates.predict import ENSEMBLE_SIZE, Draws, Weights, run_draws
from bayes_snn.likelihood import Readout
from bayes_snn.posterior.noisy import NoiseChoice
from bayes_snn.waiting import tracked

Ends = Sequence[tuple[NDArray[np.float64], NDArray[np.float64]]]  # lower and upper, of each layer

JITTER = 0.3  # standard deviation of what is added to a training input, in standard deviations of a feature
MOST_DIFFERING = 0.02  # share of answers that chip and twin may give differently, else the twin errs too much


@dataclass(frozen=True)
class OnTwin:
    """What the chip says of weights that were found on its twin.

    Attributes
    ----------
    agreement
        Share of the inputs that the twin answers as the ensemble does.
    differing
        Share of them that the chip answers otherwise than the twin.
    wrong
        Share of the output counts that the twin has wrong.
    """

    agreement: float
    differing: float
    wrong: float


@dataclass(frozen=True)
class Distilled:
    """Weights, (n_pre, n_post) for each layer, their readout, what share of answers is the ensemble's, and the cost.

    `on_twin` is None where they were found on the chip itself.
    """

    weights: Weights
    readout: Readout
    agreement: float
    presentations: int
    on_twin: OnTwin | None = None


def distil(
    chip: Chip,
    draws: Draws,
    train_inputs: NDArray[np.float64],
    noise: NoiseChoice,
    *,
    n_inputs: int,
    sweeps: int,
    seed: int,
    support: Ends | None = None,
    twin: Chip | None = None,
) -> Distilled:
    """Train one set of weights to give the answers of an ensemble; `FitResult.distil` is the way to call it.

    Parameters
    ----------
    chip, draws
        The chip, and the posterior draws of its weights.
    train_inputs
        (n_train, n_in), standardised. The ensemble is asked about these and about `n_inputs` more, each a training
        input with normal noise of standard deviation JITTER on every feature that varies (a smoothed bootstrap). A chip
        that says `given_inputs` is asked about the training inputs alone.
    noise
        How a noisy chip was treated in the fit.
    sweeps
        Sweeps over all weights.
    support
        Lower and upper ends, (n_pre, n_post) each, of every layer's weights under the prior, as `find_support` finds
        them; none by default. A weight that it fixes, or ties to others, stays as in the draw that training starts at.
    twin
        A twin of the chip to search on: the chip is then shown the inputs once, `noise.repeats` times if it is noisy.

    Raises
    ------
    InputError
        When a number cannot be used.
    """
    for name, value, least in (("n_inputs", n_inputs, 0), ("sweeps", sweeps, 1), ("seed", seed, 0)):
        check_whole(name, value, least, None, least)
    rng = np.random.default_rng(seed)
    n_inputs = 0 if getattr(chip, "given_inputs", False) else n_inputs
    drawn, varies = train_inputs[rng.integers(len(train_inputs), size=n_inputs)], np.ptp(train_inputs, axis=0) > 0
    inputs = np.concatenate([train_inputs, drawn + JITTER * varies * rng.normal(size=drawn.shape)])
    inputs.setflags(write=False)
    if twin is None:
        found, _ = _search(chip, draws, inputs, noise, sweeps, support, rng)
        return found
    alone = NoiseChoice() if twin.spec.deterministic else noise
    found, answers = _search(twin, draws, inputs, alone, sweeps, support, rng)
    return _checked(chip, twin, found, answers, inputs, noise)


def _checked(
    chip: Chip,
    twin: Chip,
    found: Distilled,
    answers: NDArray[np.int64],
    inputs: NDArray[np.float64],
    noise: NoiseChoice,
) -> Distilled:
    """What was found on a twin, with the chip's answers in the place of the twin's, which are compared with them."""
    shown = frozen(inputs)
    runs = np.stack([ask_counts(chip, found.weights, shown) for _ in range(noise.repeats)])
    predicted = ask_counts(twin, found.weights, shown)
    given = found.readout.probabilities(runs).mean(axis=0).argmax(axis=1)
    expected = found.readout.probabilities(predicted).argmax(axis=1)
    told = OnTwin(found.agreement, float(np.mean(given != expected)), float(np.mean(runs != predicted)))
    agreement = float(np.mean(given == answers))
    return replace(found, agreement=agreement, presentations=noise.repeats * len(inputs), on_twin=told)


def _search(
    chip: Chip,
    draws: Draws,
    inputs: NDArray[np.float64],
    noise: NoiseChoice,
    sweeps: int,
    support: Ends | None,
    rng: np.random.Generator,
) -> tuple[Distilled, NDArray[np.int64]]:
    """One set of weights that answers as the ensemble does on a chip, and the ensemble's answers (n_inputs,)."""
    members = draws.spread(ENSEMBLE_SIZE)
    each = run_draws(chip, draws, members, inputs, noise.repeats)
    answers = each.mean(axis=0).argmax(axis=1)
    # where chains sit in modes of unequal worth, most draws may be of a poor one that no sweep leaves
    fits_best = np.log(np.maximum(each[:, np.arange(len(inputs)), answers], 1e-300)).sum(axis=1).argmax()
    best = int(members[fits_best])
    start, readout = draws[best], draws.readout(best)
    shown = len(members) * noise.repeats * len(inputs)
    lowest, highest, start = _ends(chip, start, support)
    model = _model(chip, inputs, answers, noise, readout, lowest, highest)
    weights = _imitate(model, start, sweeps, rng)
    op = model.likelihood.op
    given = readout.probabilities(op.run(weights)).mean(axis=0)
    agreed = np.mean(given.argmax(axis=1) == answers)
    return Distilled(weights, readout, float(agreed), shown + op.presentations), answers


def _ends(chip: Chip, start: Weights, support: Ends | None) -> tuple[Weights, Weights, Weights]:
    """Lower and upper ends of every weight, (n_pre, n_post) for each layer, and the start between them.

    They are equal where a weight stays as it is.
    """
    low, high = chip.spec.weight_range
    lowest, highest, inside = [], [], []
    allowed = support or [(np.full_like(layer, low), np.full_like(layer, high)) for layer in start]
    for layer, ends in zip(start, allowed, strict=True):
        least, most = np.maximum(ends[0], low), np.minimum(ends[1], high)
        free = least < most  # neither equal nor nan
        inside.append(np.where(free, np.clip(layer, least, most), layer))
        lowest.append(np.where(free, least, layer))
        highest.append(np.where(free, most, layer))
    return lowest, highest, inside


def _model(
    chip: Chip,
    inputs: NDArray[np.float64],
    answers: NDArray[np.int64],
    noise: NoiseChoice,
    readout: Readout,
    lowest: Weights,
    highest: Weights,
) -> Any:
    """The PyMC model that is sampled: weights that are uniform between their ends, and the answers as labels."""
    import pymc as pm  # not needed to read a fit

    from bayes_snn.posterior.build import make_model

    def uniform(chip: Chip) -> list[Any]:
        ends = zip(chip.spec.weight_names, lowest, highest, strict=True)
        return [pm.Uniform(name, low, high, default_transform=None) for name, low, high in ends]

    biases = readout.biases(chip.spec.layers[-1])
    return make_model(chip, inputs, answers, uniform, lambda chip: (readout.beta, biases), noise=noise)


def _imitate(model: Any, start: Weights, sweeps: int, rng: np.random.Generator) -> Weights:
    """Where `sitewise` is after so many draws of a warm-up that is not tempered.

    Thousands of answers leave a posterior so narrow that the last weights are as good as any.
    """
    from bayes_snn.samplers.sitewise import SitewiseMetropolis

    names = model.likelihood.op.chip.spec.weight_names
    point = dict(zip(names, start, strict=True))
    step = SitewiseMetropolis(model.value_vars, model=model, rng=rng, initial_point=point)
    for _ in tracked(range(sweeps), "Distilling, sweep by sweep"):
        point, _ = step.step(point)
    return [point[name] for name in names]
