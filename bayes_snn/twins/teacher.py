"""Learning LIF neurons by teacher forcing: spikes that were seen stand for those that the twin would make.

Each neuron is then learned alone (membrane.py): its leak, and either how it bends its input current (bends.py) or the
gains of its synapses (gains.py) and its firing region. The simplest explanation of what was seen is kept.
"""

from __future__ import annotations

from itertools import chain

import numpy as np
from threadpoolctl import threadpool_limits

from bayes_snn.chips.contract import ChipSpec
from bayes_snn.chips.lif.circuit import TabulatedLayer
from bayes_snn.chips.lif.distortion import weight_grid
from bayes_snn.twins.bends import bend_of, bent_cost, fit_bends, table_of
from bayes_snn.twins.contract import SPIKES, Learned
from bayes_snn.twins.gains import WIDEST, cost_of, fit_gains, improve_gains, spread_of, whole_gains
from bayes_snn.twins.leaks import find_common_decay, find_decay
from bayes_snn.twins.lif import LIFTwin
from bayes_snn.twins.membrane import Floats, Neuron, neurons_of
from bayes_snn.twins.recordings import Recordings
from bayes_snn.twins.regions import PRICE, find_region, settled_region
from bayes_snn.twins.scoring import NO_REGION, Fit
from bayes_snn.twins.slopes import STRAIGHT

BENT = "Each neuron bends its input current in a way of its own."
_ERRORS = 2  # labels a neuron that may stay unexplained
_CLEARLY = 0.5  # of the cost of a simpler explanation, that a more flexible one may have
_PROBED = 3  # neurons of which both bends and gains are sought


def fit_lif(spec: ChipSpec, recordings: Recordings, start: LIFTwin | None = None) -> LIFTwin:
    """A twin of LIF neurons that explains recordings.

    Parameters
    ----------
    spec
        Of the chip.
    recordings
        At least one presentation.
    start
        A twin to start from, learned from fewer recordings. Gains are sought from nothing only when there are about
        twice as many as when that was done last; between that those of the twin are made better.
    """
    layers = [neurons_of(recordings, layer) for layer in range(len(spec.layers) - 1)]
    neurons = list(chain(*layers))
    with threadpool_limits(1):  # matrices are small
        warm = None if start is None else _warm_fits(start, len(recordings))
        if warm is None:
            fits, notes = _explain(neurons, start, spec.deterministic)
        else:
            fits, notes = _improved(neurons, warm)
    tabulated, first = [], 0
    for number, size in enumerate(spec.layers[1:]):
        part = slice(first, first + size)
        tabulated.append(_layer(spec, number, neurons[part], fits[part]))
        first += size
    learned = Learned(SPIKES, len(recordings), len(recordings.weights), notes=tuple(notes))
    twin = LIFTwin(spec, tabulated, learned)
    twin.n_sought = len(recordings) if start is None or warm is None else start.n_sought
    return twin


def _warm_fits(start: LIFTwin, n: int) -> list[Fit] | None:
    """What each neuron of a twin computes with; None where it has neither gains nor bends, or where n recordings are so
    many more than those in which they were sought last that they are to be sought again."""
    if n.bit_length() > start.n_sought.bit_length() or not (start.bends_currents or _has_gains(start)):
        return None
    known = []
    for layer in start.layers:
        bends = [STRAIGHT] * len(layer.decay) if layer.current is None else [bend_of(table) for table in layer.current]
        for gain, decay, bend in zip(layer.gain.T, layer.decay, bends, strict=True):
            known.append(Fit(gain.astype(np.float64), float(decay), bend, NO_REGION, np.inf))
    return known


def _has_gains(twin: LIFTwin) -> bool:
    """Whether some synapse is neither sound nor stuck."""
    return not all(np.isin(layer.gain, (0.0, 1.0)).all() for layer in twin.layers)


def _improved(neurons: list[Neuron], known: list[Fit]) -> tuple[list[Fit], list[str]]:
    """The same explanation with numbers that fit better, and what is to be said of it."""
    if any(not fit.bend.is_straight for fit in known):
        fits = fit_bends(neurons, known)
        notes = [_leaks_in_words(fits), BENT]
    else:
        fits = improve_gains(neurons, known, spread_of([fit.gain for fit in known]))
        notes = [_leaks_in_words(fits), _gains_in_words(fits, False)]
    if _total(fits) > _ERRORS * len(neurons):
        notes.append(_unexplained(fits))
    return fits, notes


def _unexplained(fits: list[Fit]) -> str:
    return f"{_total(fits):,} spikes or silences are not explained."


def _explain(neurons: list[Neuron], start: LIFTwin | None, exact: bool) -> tuple[list[Fit], list[str]]:
    """The simplest explanation of each neuron, and what was found; `exact` where equal questions have equal answers."""
    ones = [np.ones(neuron.u.shape[2]) for neuron in neurons]
    fits = _leaks(neurons, ones, start)
    notes = [_leaks_in_words(fits)]
    if not exact:
        if _total(fits):
            notes.append(f"{_total(fits):,} spikes or silences are against the edges: the twin has no noise.")
        return fits, notes
    if start is not None and _total(fits) > _ERRORS * len(neurons):  # what explained so far may do so still
        known = _leaks(neurons, [gain for layer in start.layers for gain in layer.gain.T.astype(np.float64)], start)
        if _total(known) <= _ERRORS * len(neurons) and all(np.isin(fit.gain, (0.0, 1.0)).all() for fit in known):
            return known, [_leaks_in_words(known), _gains_in_words(known, True)]
    if _total(fits) > _ERRORS * len(neurons):
        starts = _started(fits, start)
        spread = WIDEST if starts is fits else spread_of([fit.gain for fit in starts])
        plain, least = fits, sum(map(cost_of, fits))
        bent_before = start is not None and start.bends_currents  # what explained so far is tried first
        if not bent_before or not _bends_tell_more(neurons, plain, starts, spread):
            gained, is_whole = _gained(neurons, plain, starts, spread, start)
            if (cost := sum(map(cost_of, gained))) < least:
                fits, notes, least = gained, [_leaks_in_words(gained), _gains_in_words(gained, is_whole)], cost
        if bent_before or least > _CLEARLY * sum(map(cost_of, plain)):
            bent = fit_bends(neurons)
            if sum(map(bent_cost, bent)) < _CLEARLY * least:
                fits, notes = bent, [_leaks_in_words(bent), BENT]
    if _total(fits) > _ERRORS * len(neurons):
        notes.append(_unexplained(fits))
    return fits, notes


def _bends_tell_more(neurons: list[Neuron], plain: list[Fit], starts: list[Fit], spread: float) -> bool:
    """Whether bends explain those few neurons better than gains that leaks alone explain worst: gains take long."""
    worst = np.argsort([-fit.region.errors for fit in plain], kind="stable")[:_PROBED]
    gained = fit_gains([neurons[n] for n in worst], [plain[n] for n in worst], [starts[n] for n in worst], spread)
    bent = fit_bends([neurons[n] for n in worst])
    return sum(map(bent_cost, bent)) < sum(map(cost_of, gained))


def _gained(
    neurons: list[Neuron], plain: list[Fit], starts: list[Fit], spread: float, start: LIFTwin | None
) -> tuple[list[Fit], bool]:
    """Fits with gains, and whether all these are 0 or 1: stuck synapses, and sound ones."""
    gained = fit_gains(neurons, plain, starts, spread)
    whole = _leaks(neurons, whole_gains(gained), start)
    is_whole = sum(map(cost_of, whole)) <= sum(map(cost_of, gained)) + PRICE * len(plain)
    return (whole if is_whole else gained), is_whole


def _total(fits: list[Fit]) -> int:
    """Labels that are not explained."""
    return sum(fit.region.errors for fit in fits)


def _leaks(neurons: list[Neuron], gains: list[Floats], start: LIFTwin | None) -> list[Fit]:
    """At given gains: one leak for all, or one each where that explains more."""
    currents = [neuron.currents(gain) for neuron, gain in zip(neurons, gains, strict=True)]
    before = None if start is None else float(np.median(np.concatenate([layer.decay for layer in start.layers])))
    common = find_common_decay(neurons, currents, before)
    trios = list(zip(neurons, gains, currents, strict=True))
    tied = [_plain(*trio, common) for trio in trios]
    own = [_plain(*trio, find_decay(trio[0], trio[2], common)) for trio in trios]
    gained = sum(map(cost_of, tied)) - sum(map(cost_of, own))
    return own if gained > PRICE * len(neurons) else tied


def _plain(neuron: Neuron, gain: Floats, currents: Floats, decay: float) -> Fit:
    return Fit(gain, decay, STRAIGHT, find_region(*neuron.points(currents, decay)), np.inf)


def _started(fits: list[Fit], start: LIFTwin | None) -> list[Fit]:
    """Fits at the gains and leaks of a twin that was learned before, if it has any."""
    if start is None or not _has_gains(start):
        return fits
    known = [(layer.gain[:, n], layer.decay[n]) for layer in start.layers for n in range(len(layer.decay))]
    return [
        fit._replace(gain=gain.astype(np.float64), decay=float(decay))
        for fit, (gain, decay) in zip(fits, known, strict=True)
    ]


def _leaks_in_words(fits: list[Fit]) -> str:
    decays = np.array([fit.decay for fit in fits])
    if decays.min() == decays.max():
        return f"All neurons have the leak alpha = {decays[0]:.4f}."
    return f"Each neuron has a leak of its own, alpha from {decays.min():.4f} to {decays.max():.4f}."


def _gains_in_words(fits: list[Fit], whole: bool) -> str:
    gains = np.concatenate([fit.gain for fit in fits])
    stuck = f"{int((gains == 0).sum()):,} of {len(gains):,} synapses are stuck at zero"
    if whole:
        return f"{stuck}."
    return f"Each synapse has a gain of its own, of spread {float(gains[gains > 0].std()):.2f}; {stuck}."


def _layer(spec: ChipSpec, number: int, neurons: list[Neuron], fits: list[Fit]) -> TabulatedLayer:
    """A layer as the kernels take it."""
    edges = []
    bent = any(not fit.bend.is_straight for fit in fits)
    for neuron, fit in zip(neurons, fits, strict=True):
        if bent:  # its threshold is in the scale of the bend
            edges.append(fit.region.edges.astype(np.float32))
            continue
        # as the twin will compute
        points = fit._replace(
            gain=fit.gain.astype(np.float32).astype(np.float64), decay=float(np.float32(fit.decay))
        ).points(neuron)
        edges.append(settled_region(*points).edges.astype(np.float32))
    gain = np.stack([fit.gain for fit in fits], axis=1).astype(np.float32)
    decays = np.array([fit.decay for fit in fits], np.float32)
    current = np.stack([table_of(fit.bend) for fit in fits]) if bent else None
    return TabulatedLayer(decays, edges, gain, weight_grid(spec, number, gain), current, np.zeros(0, np.float32))
