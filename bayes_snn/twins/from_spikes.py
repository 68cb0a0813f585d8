"""Learning a twin from a chip that shows the spikes of all its neurons."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from bayes_snn.chips.contract import FloatArray
from bayes_snn.twins.asking import AskedChip, BudgetSpentError
from bayes_snn.twins.conductance.learning import fit_conductance
from bayes_snn.twins.contract import SPIKES, Learned, never_varied
from bayes_snn.twins.designs import GivenInputs, OwnInputs, ask_first, ask_second, known_neurons, typical_norm
from bayes_snn.twins.families import AnyTwin, fit_again
from bayes_snn.twins.lif import LIFTwin
from bayes_snn.twins.membrane import Floats
from bayes_snn.twins.recordings import Recordings
from bayes_snn.twins.teacher import fit_lif

FIRST_BATCH = 64  # presentations
ASKED = 1.0  # questions for each sample under random weights
GROWTH = 0.5  # of what was shown so far, the next batch
SAMPLES = 8  # shown under one programming
SMALL = 0.002  # share of wrong counts that is small enough
LEAST = 600  # presentations before a twin is believed: what a fit visits later is rare at first
MOST = 6_000  # presentations without a budget
DOUBTED, BAD = 350, 0.05  # presentations, and share of wrong counts, from which on other neurons are tried
FALLING = 0.7  # of the share of wrong counts of the batch before: neurons that come to less are still being learned
AGAIN = 4  # times as many presentations, after which they are tried once more
BETTER = 0.7  # share of the wrong counts that they may have, to be preferred
ENOUGH = 2_000  # presentations of neurons that are never exact: the rest is learned where a fit goes
SCALES = (0.3, 0.6, 1.0, 1.0, 1.5)  # of random weights
MEANS = (1.0, 3.0)  # standard deviations of what the weights of a later neuron have in common
JITTER = 0.3  # of given inputs, in their standard deviations

_NAMED = 8

Progress = Callable[[int, float], None]  # called with presentations so far, and the share of wrong counts


def learn_from_spikes(
    asked: AskedChip, seed: int, inputs: FloatArray | None = None, progress: Progress | None = None
) -> tuple[AnyTwin, Recordings]:
    """Learn a twin, and stop when it is good enough or the budget is spent.

    Each batch is predicted by the twin learned from those before it; how many counts were wrong says how good it was.
    Where leaky integrate-and-fire neurons stay bad, a twin of neurons with conductances predicts the next batch beside
    them, and is taken if it does better.

    Parameters
    ----------
    asked
        The chip, which counts what it is shown; it must have `spikes`.
    seed
        Of the weights and inputs that are shown.
    inputs
        (n, n_in) inputs like those that the twin is for; standard normal ones without. A chip that says `given_inputs`
        is shown these and no others.
    progress
        Called with presentations and the share of wrong counts after each batch.

    Raises
    ------
    BudgetSpentError
        When nothing may be shown at all.
    """
    spec, rng, recordings = asked.spec, np.random.default_rng([seed, 0x7419]), Recordings(asked.spec)
    twin: AnyTwin | None = None
    before = wrong = float("nan")
    compared, running, patience, chosen = 0, 0, DOUBTED, list[str]()
    while running < 2:
        most = MOST if twin is None or isinstance(twin, LIFTwin) else ENOUGH
        n = min(max(FIRST_BATCH, int(GROWTH * len(recordings))), asked.left, most - len(recordings))
        if n < 1:
            break
        twins = [] if twin is None else [twin]
        stays_bad = wrong > BAD and wrong >= FALLING * before and len(recordings) >= patience
        if isinstance(twin, LIFTwin) and stays_bad and spec.deterministic:
            twins.append(fit_conductance(spec, recordings))
            patience = AGAIN * len(recordings)
        shares, compared = _show_batch(asked, rng, recordings, int(n), inputs, twins)
        if len(twins) > 1:
            best = int(shares[1] < BETTER * shares[0])
            twins, chosen = [twins[best]], [_choice_in_words(shares, best, compared)]
            shares = [shares[best]]
        if twins:
            (twin,), (before, wrong) = twins, (wrong, *shares)
            running = running + 1 if wrong <= SMALL and len(recordings) >= LEAST else 0
            if progress is not None:
                progress(asked.presentations, wrong)
        if isinstance(twin, LIFTwin) and running < 2 and not twin.bends_currents:  # questions are put in currents
            _ask(asked, rng, recordings, int(n * ASKED), inputs, twin)
        twin = fit_lif(spec, recordings) if twin is None else fit_again(spec, recordings, twin)
    if twin is None:
        raise BudgetSpentError
    rates = [layer.mean(axis=(0, 1)) for layer in recordings.spikes()]
    if len(recordings) >= FIRST_BATCH and all(((rate == 0) | (rate == 1)).all() for rate in rates):
        raise never_varied(len(recordings), (rates[-1] * asked.spec.n_steps).astype(int).tolist())
    learned = Learned(SPIKES, asked.presentations, asked.programmings, wrong, compared, type(asked.chip).__name__)
    twin.learned = replace(learned, notes=(*chosen, *twin.learned.notes, *_constant_in_words(rates)))
    return twin, recordings


def _choice_in_words(shares: list[float], best: int, n: int) -> str:
    """Which neurons were taken, by the shares of wrong counts of both families in the same batch of n counts."""
    return (
        f"Of {n:,} counts that neither was learned from, leaky integrate-and-fire neurons had {shares[0]:.1%} wrong, "
        f"neurons with conductances, refractory time and adaptation {shares[1]:.1%}: the "
        f"{'latter were taken' if best else 'former were kept'}."
    )


def _constant_in_words(rates: list[Floats]) -> list[str]:
    """What is to be said of neurons that never fired, or at each step, by the spikes a step of each, layer by layer."""
    found = []
    for number, rate in enumerate(rates, 1):
        for value, does in ((0.0, "never fired"), (1.0, "fired at each step")):
            if len(which := np.flatnonzero(rate == value)):
                named = ", ".join(map(str, which[:_NAMED])) + (", ..." if len(which) > _NAMED else "")
                found.append(f"{len(which):,} of {len(rate):,} neurons of layer {number} {does}: {named}.")
    return found


def _show_batch(
    asked: AskedChip,
    rng: np.random.Generator,
    recordings: Recordings,
    n: int,
    inputs: FloatArray | None,
    twins: Sequence[AnyTwin],
) -> tuple[list[float], int]:
    """Show n samples under random weights: the share of counts that each twin had wrong, and of how many counts."""
    n_wrong, n_counts = np.zeros(len(twins), np.int64), 0
    while n > 0:
        weights = random_weights(rng, asked.spec.weight_shapes)
        jitter = 0.0 if asked.given_inputs else JITTER
        shown = random_inputs(rng, min(SAMPLES, n), asked.spec.layers[0], inputs, jitter)
        spikes = asked.spikes(weights, shown)
        counts = spikes[-1].sum(axis=1)
        n_wrong += np.array([(twin.run(weights, shown) != counts).sum() for twin in twins], np.int64)
        n_counts += counts.size
        recordings.add(weights, shown, spikes)
        n -= len(shown)
    return (n_wrong / n_counts).tolist(), n_counts if twins else 0


def _ask(
    asked: AskedChip,
    rng: np.random.Generator,
    recordings: Recordings,
    n: int,
    inputs: FloatArray | None,
    twin: LIFTwin,
) -> None:
    """Put questions to the neurons of the first two layers, at most n samples."""
    spec = asked.spec
    shown: GivenInputs | OwnInputs
    if inputs is None:
        shown = OwnInputs(spec.layers[0], np.sqrt(spec.layers[0]))
    elif asked.given_inputs:
        shown = GivenInputs(inputs)
    else:
        shown = OwnInputs(spec.layers[0], typical_norm(inputs))
    gains = [layer.gain.astype(np.float64) for layer in twin.layers]
    left = int(min(n, asked.left, MOST - len(recordings)))
    two = len(spec.layers) > 2
    hidden, behind = known_neurons(recordings, twin, 0), known_neurons(recordings, twin, 1) if two else []
    turn = 0
    while left > 0 and shown.amplitude > 0:
        weights = random_weights(rng, spec.weight_shapes)
        if two and turn % 3 == 2:
            weights[:2], samples = ask_second(rng, spec, hidden, behind, gains[:2], shown, min(left, shown.most))
        else:
            weights[0], samples = ask_first(rng, spec, hidden, gains[0], shown, min(left, shown.most))
        recordings.add(weights, samples, asked.spikes(weights, samples))
        left, turn = left - len(samples), turn + 1


def random_weights(rng: np.random.Generator, shapes: tuple[tuple[int, int], ...]) -> list[Floats]:
    """Normal weights of one of several scales, another in each layer; those of a later neuron have a mean in common,
    as trained ones may: its drives then add up, and reach neurons that a distortion holds where they are."""
    weights = [rng.choice(SCALES) * rng.normal(size=shape) for shape in shapes]
    return weights[:1] + [matrix + rng.choice(MEANS) * rng.normal(size=matrix.shape[1]) for matrix in weights[1:]]


def random_inputs(
    rng: np.random.Generator, n: int, n_in: int, inputs: FloatArray | None, jitter: float = JITTER
) -> Floats:
    """Inputs (n, n_in): standard normal ones, or rows of those that are given, jittered."""
    if inputs is None:
        return rng.normal(size=(n, n_in))
    rows = np.asarray(inputs, np.float64)
    chosen = rows[rng.integers(len(rows), size=n)]
    return chosen + jitter * rows.std(axis=0) * rng.normal(size=(n, n_in)) if jitter else chosen
