"""The section of a report on the chip as its twin has learned it: what that cost, what is wrong with the chip, and
where the twin errs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bayes_snn.inference.twin_checks import TwinChecks, twin_checks
from bayes_snn.inference.twin_figure import (
    IDEAL_LEAK,
    MOST_NEURONS,
    Neuron,
    draw_gains,
    draw_leaks,
    draw_regions,
    fires_where,
    neurons_of,
)
from bayes_snn.reports.chains import line_of
from bayes_snn.reports.material import Material
from bayes_snn.reports.page import (
    FAINT,
    INK,
    LINES,
    WIDTH,
    Drawing,
    Html,
    Sheet,
    element,
    gallery,
    joined,
    key,
    missing,
    pairs,
    paragraph,
    plot,
)
from bayes_snn.reports.words import _NOT_KNOWN, counted, finite
from bayes_snn.twins.contract import COUNTS, SPIKES
from bayes_snn.twins.lif import LIFTwin

COMPARED = 50  # draws, at most, of which chip and twin are compared sample by sample
_LEARNING = ("cost", "learning")  # keys of `fit.json`
_SAME = 1e-9  # nats: the same counts
_WAYS = {SPIKES: "the spikes of all its neurons", COUNTS: "its output counts alone"}
_TALL, _ROW = 0.8, 0.16  # inches: a figure of neurons without its rows, and each of them


def has_twin(material: Material) -> bool:
    """Whether the fit sampled a twin."""
    return twin_checks(material.result.posterior) is not None


def the_chip(material: Material, sheet: Sheet) -> Html:
    """What the twin cost, what is wrong with the chip as the twin has learned it, and where the twin errs."""
    checks = twin_checks(material.result.posterior)
    assert checks is not None  # see `has_twin`
    parts: list[object] = [
        paragraph(
            "The chip was learned first: a twin of it, a simulated chip, was sampled, and what it proposed was checked "
            "on the chip. The draws are the chip's, whatever is wrong with the twin, which costs rejections alone."
        ),
        pairs("The twin and its checks.", _rows(material, checks)),
        *(paragraph(note) for note in _told(material).get("notes", ())),
        element(sheet.below, "What is wrong with the chip"),
        *_faults(material, sheet),
        element(sheet.below, "Where the twin errs"),
        *_errors(material, sheet, checks),
    ]
    return joined(parts)


def _told(material: Material) -> dict[str, Any]:
    """What `fit.json` says of the twin; a file that was edited may say anything."""
    told = material.stored.get("twin")
    found = dict(told) if isinstance(told, dict) else {}
    notes = found.get("notes")
    return found | {"notes": [str(note) for note in notes] if isinstance(notes, list) else []}


def _rows(material: Material, checks: TwinChecks) -> list[tuple[object, object]]:
    told, result = _told(material), material.result
    given = result.arguments.get("twin") == "given"
    share = f", {checks.share_accepted:.0%}" if checks.n else ""
    rows: list[tuple[object, object]] = [
        ("learned from", _WAYS.get(str(told.get("way")), _NOT_KNOWN)),
        ("learned for this fit", "no, it was given" if given else "yes"),
        ("presentations that taught it", counted(finite(told.get("presentations")))),
        ("presentations of this fit to learn it, and to see how good it is", counted(material.number(*_LEARNING))),
        ("presentations that checked its draws", counted(material.number("cost", "training"))),
        ("presentations for each effective draw", counted(material.number("presentations_per_effective_draw"))),
        ("programmings", counted(material.number("programmings"))),
        ("checks accepted", f"{checks.n_accepted:,} of {checks.n:,}{share}"),
        ("s, the standard deviation of log L of the chip less that of the twin", _nats(checks.spread)),
    ]
    if (hidden := checks.n - checks.n_whole) > 0:
        rows.append(("checks lost before all samples were shown, which are not in s", f"{hidden:,}"))
    mismatch, n = finite(told.get("mismatch")), finite(told.get("n_compared"))
    if mismatch is not None and n:
        rows.append(("counts that it had wrong under random weights", f"{mismatch:.2%} of {n:,.0f}"))
    if (wrong := finite(told.get("wrong"))) is not None:
        rows.append(("counts that it had wrong where the chains began", f"{wrong:.2%}"))
    return rows


def _faults(material: Material, sheet: Sheet) -> list[object]:
    """Firing regions, leaks and gains."""
    twin = material.result.twin
    if twin is None:
        return [missing("The fit's folder holds no twin: it was not saved with the fit, or cannot be read.")]
    if not isinstance(twin, LIFTwin):
        family = getattr(twin, "family", type(twin).__name__)
        return [missing(f"The twin is of the family {family!s:.40}, whose neurons cannot be drawn here.")]
    neurons = neurons_of(twin)
    n = sum(len(layer.edges) for layer in twin.layers)
    few = f" Shown are the last {MOST_NEURONS} of {n:,} neurons." if n > len(neurons) else ""
    return [
        paragraph(
            "A row for each neuron, as the twin has learned it. On an ideal chip all bars would begin at the dashed "
            f"line and never end, and all dots would lie on theirs.{few}"
        ),
        key([f"layer {number}" for number in range(1, len(twin.layers) + 1)]),
        gallery(sheet, [_regions(neurons, twin), _leaks(neurons), _gains(neurons)]),
    ]


def _figure(neurons: Sequence[Neuron], draw: Any) -> str:
    return plot(WIDTH, _TALL + _ROW * len(neurons), partial(draw, neurons=neurons, colours=LINES, ink=INK))


def _regions(neurons: Sequence[Neuron], twin: LIFTwin) -> Drawing:
    does = Counter(neuron.does for neuron in neurons)
    found = [float(neuron.edges[0]) for neuron in neurons if neuron.does == "beyond"]
    run = f", which run from {min(found):.2f} to {max(found):.2f}" if found else ""
    return Drawing(
        _figure(neurons, partial(draw_regions, where=fires_where(twin))),
        f"{'Constant currents under' if twin.bends_currents else 'Voltages at'} which each of {len(neurons)} neurons "
        f"fires, in thresholds: {does['beyond']} fire beyond one threshold{run}; {does['between']} in other intervals, "
        f"{does['always']} always, {does['never']} never. The "
        "threshold of an ideal chip is 1.",
        f"firing sets: {does['beyond']} of {len(neurons)} neurons have one threshold.",
    )


def _leaks(neurons: Sequence[Neuron]) -> Drawing:
    found = np.array([neuron.leak for neuron in neurons])
    return Drawing(
        _figure(neurons, draw_leaks),
        f"Leak alpha of each of {len(neurons)} neurons, from {found.min():.3f} to {found.max():.3f}, median "
        f"{np.median(found):.3f}; that of an ideal chip is {IDEAL_LEAK:.3f}.",
        f"leaks: alpha from {found.min():.3f} to {found.max():.3f}, ideally {IDEAL_LEAK:.3f}.",
    )


def _gains(neurons: Sequence[Neuron]) -> Drawing:
    found = np.concatenate([neuron.gains for neuron in neurons])
    stuck = int((found == 0).sum())
    return Drawing(
        _figure(neurons, draw_gains),
        f"Gain of each of {len(found):,} synapses, from {found.min():.2f} to {found.max():.2f}, standard deviation "
        f"{found.std():.2f}; {stuck:,} are stuck at 0. That of an ideal chip is 1.",
        f"gains: from {found.min():.2f} to {found.max():.2f}, ideally 1; {stuck:,} synapses are stuck at 0.",
    )


def _errors(material: Material, sheet: Sheet, checks: TwinChecks) -> list[object]:
    """log L of the chip less that of the twin, check by check, and the samples on which they differ."""
    chains = range(min(len(checks.gaps), 12))
    parts: list[object] = []
    drawings = []
    if np.isfinite(checks.gaps).any():
        drawings.append(_gaps(checks))
    else:
        parts.append(missing("No check was shown all samples, so that log L of chip and twin cannot be compared."))
    if (shares := differing(material)) is not None:
        drawings.append(_samples(shares, material))
    text = (
        "log L of the chip less that of the twin, at all that the chip was shown. A level is no fault; what scatters "
        "about it costs rejections, and a slope means that the chip moves away from its twin."
    )
    parts += [paragraph(text), key([f"chain {chain}" for chain in chains])] if drawings else []
    return [*parts, gallery(sheet, drawings, "pairs")] if drawings else parts


def _gaps(checks: TwinChecks) -> Drawing:
    """A dot for each accepted check, a circle for each rejected one."""

    def draw(axes: Any) -> None:
        axes.axhline(0, color=FAINT, lw=0.8)
        for chain, gaps in enumerate(checks.gaps):
            colour = line_of(chain)["color"]
            lost = checks.rejected[chain]
            draws = np.arange(len(gaps))
            axes.plot(draws[~lost], gaps[~lost], "o", color=colour, ms=2.5)
            axes.plot(draws[lost], gaps[lost], "o", mfc="none", mec=colour, ms=4, mew=0.8)
        axes.set(xlabel="draw", ylabel="nats")
        axes.margins(x=0.02)

    known = checks.gaps[np.isfinite(checks.gaps)]
    return Drawing(
        plot(WIDTH, 2.4, draw),
        f"log L of the chip less log L of the twin at {len(known):,} draws of {len(checks.gaps)} chains: mean "
        f"{known.mean():.3g} nats, from {known.min():.3g} to {known.max():.3g}; {checks.rejected.sum():,} were not "
        "accepted.",
        "log L of the chip less that of the twin: dots were accepted, circles were not.",
    )


def differing(material: Material) -> NDArray[np.float64] | None:
    """Share of draws under which chip and twin give the label of a training sample another probability, (n_samples,).

    The twin is run with kept draws, evenly spaced; the chip is not shown anything. None where there is no twin, and of
    a noisy chip, which differs from itself.
    """
    result = material.result
    if result.twin is None or not result.chip.spec.deterministic:
        return None
    inputs, labels = material.train
    terms = result.posterior["log_likelihood/label"].transpose("chain", "draw", ...).values.reshape(-1, len(labels))
    chosen = result.draws.spread(COMPARED)
    differ = np.zeros(len(labels))
    for draw in chosen:
        counts = np.asarray(result.twin.run(result.draws[draw], inputs), np.int64)
        differ += np.abs(result.draws.readout(draw).log_p(counts[None], labels) - terms[draw]) > _SAME
    return differ / len(chosen)


def _samples(shares: NDArray[np.float64], material: Material) -> Drawing:
    labels = material.train[1]

    def draw(axes: Any) -> None:
        for label in np.unique(labels):
            mine = np.flatnonzero(labels == label)
            axes.plot(mine, shares[mine], "o", color=LINES[int(label) % len(LINES)], ms=2.5)
        axes.set(xlabel="training sample, in the colour of its class", ylabel="share of draws", ylim=(-0.03, 1.03))
        axes.margins(x=0.02)

    worst = int(np.argmax(shares))
    classes = material.class_names
    told = f"most often {worst}, of class {classes[int(labels[worst])]}, under {shares[worst]:.0%}"
    told = told if shares[worst] else "none of them"
    return Drawing(
        plot(WIDTH, 2.4, draw),
        f"Share of draws under which the twin gives the label of each of {len(labels):,} training samples another "
        f"probability than the chip; on average {shares.mean():.1%}; {told}.",
        f"where the twin errs: {shares.mean():.1%} of samples and draws, {told}.",
    )


def _nats(value: float) -> str:
    return f"{value:.2f} nats" if np.isfinite(value) else _NOT_KNOWN
