"""The sections of a fit's report, in the order in which they are read."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from bayes_snn.errors import ChipError
from bayes_snn.predict import ESTIMATES
from bayes_snn.report_figures import (
    FEWEST_RANKED,
    Drawing,
    acceptance,
    draw_accuracies,
    draw_calibration,
    draw_ranks,
    draw_trace,
    quantities,
)
from bayes_snn.report_material import SINGLE, Material
from bayes_snn.report_page import Html, Sheet, element, joined, key, missing, pairs, paragraph, table
from bayes_snn.report_weights import draw_spikes, draw_weights

_BASELINES = {"chance": "chance", "logistic": "logistic (digital)"}
_NOT_KNOWN = "not known"


def verdict(material: Material, sheet: Sheet) -> Html:
    """The verdict on the chains, and the numbers to take away."""
    diagnosis = material.diagnosis
    good = bool(diagnosis.get("converged"))
    headline, _, rest = str(diagnosis["verdict"]).partition(": ")
    grade = "good" if good and diagnosis.get("weights_converged") else "fair" if good else "bad"
    box = [paragraph(element("strong", headline + (":" if rest else ""))), paragraph(rest) if rest else ""]
    if material.stored.get("interrupted"):
        box.append(paragraph("The sampling was interrupted: these are the draws up to then."))
    shown = [_headline(material, "ensemble", "Ensemble, test accuracy")]
    if best := material.best_single:
        shown.append(_headline(material, best, f"Best single set of weights, {best}, test accuracy"))
    return joined(
        [
            element("div", *box, class_=f"verdict {grade}"),
            element("dl", *shown, class_="numbers"),
            paragraph(
                "The ensemble runs the chip with many draws and averages their answers. A single set of weights is "
                "programmed once; the one shown here has the best log score on the training samples."
            ),
        ]
    )


def accuracies(material: Material, sheet: Sheet) -> Html:
    """Scores of every estimate and of the baselines, with intervals."""
    rows = score_rows(material)
    if all(train is None and test is None for _, train, test, _ in rows):
        return missing(
            "The fit holds no scores: python -m bayes_snn.fit stores them; from Python, set result.scores before save."
        )
    keys = [("", name) for name in ESTIMATES] + [("baselines", name) for name in _BASELINES]
    cells = []
    for (group, name), (label, train, test, interval) in zip(keys, rows, strict=True):
        if train is None and test is None:
            continue
        path = ("test", name) if not group else (group, name, "test")
        scores = [material.number(*path, score) for score in ("log_score", "calibration_error", "brier_score")]
        cells.append([label, three(train), three(test), ranged(interval), *(three(score) for score in scores)])
    n_test = "" if material.test is None else f" of {len(material.test[1]):,} samples"
    n_estimates = sum(1 for row in cells if row[0] in ESTIMATES)
    caption = (
        f"Accuracies; log score (mean log probability of the true class, nats), expected calibration error (ECE) and "
        f"Brier score of the test part{n_test}."
    )
    header = ["estimate", "train", "test", "90% interval", "log score", "ECE", "Brier"]
    parts: list[object] = [table(caption, header, cells, apart=[n_estimates])]
    if material.test is None:
        parts.append(
            missing(f"There are no test intervals, for the test samples are not at hand. {material.why_no_test}")
        )
    drawn = [row for row in rows if row[1] is not None or row[2] is not None]
    parts.append(gallery(sheet, [draw_accuracies(drawn)], "pairs"))
    parts.append(
        paragraph(
            "Intervals are Wilson intervals over the test samples: how another chip would do is not in them. Chance "
            "answers with the classes' frequencies; logistic regression runs in float64, without a chip."
        )
    )
    return joined(parts)


def calibration(material: Material, sheet: Sheet) -> Html:
    """Reliability diagrams of the four estimates."""
    part = "training" if material.test is None else "test"
    samples = material.train if material.test is None else material.test
    drawings = [
        draw_calibration(material.predict("train" if material.test is None else "test", name), samples[1], name, part)
        for name in ("ensemble", *SINGLE)
    ]
    parts: list[object] = [
        paragraph(
            f"Answers on {len(samples[1]):,} {part} samples, in bins of confidence, the probability of the class "
            "answered. On the dashed line, a chip that is 80% sure is right 80% of the time; below it, it is too sure. "
            "Bars are 90% intervals, the grey columns say where the samples are."
        )
    ]
    if material.test is None:
        parts.append(missing(f"These are training samples, which flatter: {material.why_no_test}"))
    return joined([*parts, gallery(sheet, drawings)])


def traces(material: Material, sheet: Sheet) -> Html:
    """Log-likelihood, acceptance and weights against the draw."""
    shown = quantities(material)
    if (accepted := acceptance(material)) is not None:
        shown.insert(1, accepted)
    text = (
        "A trace should look like noise about one level, the same for all chains: a slope means that the warm-up was "
        "too short, levels apart that chains sit in different regions."
    )
    if material.result.arguments.get("sampler") == "smc":
        text = "The particles of a population have no order: a trace only shows how widely they lie."
    parts: list[object] = [paragraph(text), _chain_key(material)]
    if accepted is None:
        parts.append(missing("The sampler does not record its acceptance draw by draw."))
    return joined([*parts, gallery(sheet, map(draw_trace, shown))])


def ranks(material: Material, sheet: Sheet) -> Html:
    """Rank plots of the same quantities."""
    shown = quantities(material)
    n_chains, n_draws = shown[0].values.shape
    if n_chains < 2:
        return missing("Ranks compare chains, and this fit has one: run at least 2, better 4 chains.")
    if n_draws < FEWEST_RANKED:
        return missing(f"Ranks of {n_draws} draws say nothing: at least {FEWEST_RANKED} in each chain are needed.")
    return joined(
        [
            paragraph(
                "All draws of all chains are put in order; each line shows where one chain's draws fall. Chains that "
                "sample the same distribution stay near the dashed line. A line that leans to one side belongs to a "
                "chain that sits higher or lower than the others; a line high in the middle, to one that moves less."
            ),
            _chain_key(material),
            gallery(sheet, map(draw_ranks, shown)),
        ]
    )


def weights(material: Material, sheet: Sheet) -> Html:
    """Heat maps of every layer."""
    parts: list[object] = []
    if not material.diagnosis.get("weights_converged"):
        parts.append(
            missing(
                "The weights have not mixed. Hidden neurons may have swapped roles between chains, so that a mean over "
                "draws need not be one network: read these maps with care."
            )
        )
    spec = material.result.chip.spec
    for layer, (name, (n_pre, n_post)) in enumerate(zip(spec.weight_names, spec.weight_shapes, strict=True)):
        parts.append(element(sheet.below, f"{name}: {n_pre} by {n_post} weights"))
        parts.append(gallery(sheet, draw_weights(material, layer)))
    return joined(parts)


def spikes(material: Material, sheet: Sheet) -> Html:
    """Rasters of the chip and of the ideal chip."""
    if not callable(getattr(material.result.chip, "spikes", None)):
        return missing(
            f"This chip, a {material.stored.get('chip', {}).get('class', 'chip')}, does not show its hidden spikes: a "
            "chip that does has a method spikes(weights, inputs)."
        )
    chosen = material.best_single or "map"
    parts: list[object] = [
        paragraph(
            f"One sample of each class, with the weights of the {chosen}, on the chip and on an ideal chip with the "
            "same weights. What differs is what the distortion does, and what training had to learn to live with."
        )
    ]
    for heading, drawings in draw_spikes(material):
        parts += [element(sheet.below, heading), gallery(sheet, drawings, "pairs")]
    return joined(parts)


def cost(material: Material, sheet: Sheet) -> Html:
    """What training cost the chip."""
    n_train = len(material.train[1])
    shown, saved = material.number("presentations"), material.number("presentations_saved")
    seconds, kept = material.number("seconds"), material.result.posterior["posterior"].sizes
    draws = kept["chain"] * kept["draw"]
    rows: list[tuple[object, object]] = [
        ("presentations (a sample shown once)", counted(shown)),
        (f"passes (all {n_train:,} training samples shown once)", counted(None if shown is None else shown / n_train)),
    ]
    if saved:
        whole = saved + (shown or 0)
        rows.append(("saved by early rejection", f"{saved:,.0f} presentations, {saved / whole:.1%} of {whole:,.0f}"))
    else:
        rows.append(("saved by early rejection", "none: this sampler shows every sample"))
    rows.append(("passes for each kept draw", _NOT_KNOWN if shown is None else f"{shown / n_train / draws:,.1f}"))
    rows.append(("wall time", _NOT_KNOWN if seconds is None else f"{seconds:,.1f} s"))
    return joined(
        [
            pairs("What training cost the chip, warm-up included; predictions are not in it.", rows),
            paragraph(
                "A simulated chip and a chip on a bench take the same presentations. The wall time is this computer's."
            ),
        ]
    )


def provenance(material: Material, sheet: Sheet) -> Html:
    """Arguments, chip, versions and dates, as the fit has them."""
    parts: list[object] = []
    for name, caption in (("arguments", "Arguments"), ("chip", "Chip"), ("versions", "Versions")):
        found = material.stored.get(name)
        if isinstance(found, dict) and found:
            parts.append(pairs(caption, [(element("code", k), said(v)) for k, v in _flat(found)]))
        else:
            parts.append(missing(f"fit.json holds no {name}."))
    attributes = material.result.posterior["posterior"].attrs
    rows = [(element("code", name), said(attributes[name])) for name in ("created_at",) if name in attributes]
    rows.append((element("code", "format"), said(material.stored.get("format", _NOT_KNOWN))))
    return joined([*parts, pairs("Fit", rows)])


Section = Callable[[Material, Sheet], Html]
SECTIONS: dict[str, tuple[str, Section]] = {
    "verdict": ("Verdict", verdict),
    "accuracies": ("Accuracies", accuracies),
    "calibration": ("Calibration", calibration),
    "traces": ("Traces", traces),
    "ranks": ("Ranks", ranks),
    "weights": ("Weights by layer", weights),
    "spikes": ("Spikes", spikes),
    "cost": ("Cost", cost),
    "provenance": ("Provenance", provenance),
}
RUNS_THE_CHIP = ("calibration", "spikes")


def write_section(name: str, material: Material, sheet: Sheet) -> Html:
    """The content of a section; a chip that is missing or fails costs the section, not the report."""
    try:
        if name in RUNS_THE_CHIP and not material.has_chip:
            material.result.chip.run([], material.train[0])  # which says what to do
        return SECTIONS[name][1](material, sheet)
    except ChipError as error:
        return missing(str(error))


def score_rows(material: Material) -> list[tuple[str, float | None, float | None, tuple[float, float] | None]]:
    """Name, training accuracy, test accuracy and its interval of every estimate and baseline."""
    rows = []
    for name in ESTIMATES:
        test = material.number("test", name, "accuracy")
        rows.append((name, material.number("train", name, "accuracy"), test, material.interval("test", test)))
    for name, label in _BASELINES.items():
        test = material.number("baselines", name, "test", "accuracy")
        train = material.number("baselines", name, "train", "accuracy")
        rows.append((label, train, test, material.interval("test", test)))
    return rows


def gallery(sheet: Sheet, drawings: Iterable[Drawing], kind: str = "") -> Html:
    """Sheet beside each other, as many as the page is wide."""
    return element("div", joined(sheet.figure(*drawing) for drawing in drawings), class_=f"figures {kind}".strip())


def three(value: float | None) -> str:
    return _NOT_KNOWN if value is None else f"{value:.3f}"


def ranged(interval: tuple[float, float] | None) -> str:
    return _NOT_KNOWN if interval is None else f"{interval[0]:.3f} to {interval[1]:.3f}"


def counted(value: float | None) -> str:
    return _NOT_KNOWN if value is None else f"{value:,.0f}"


def said(value: object) -> str:
    """A stored value as people read it."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(said(item) for item in value)
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def _flat(values: dict[str, Any], before: str = "") -> Iterable[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", "none" if value == {} else value


def _headline(material: Material, estimate: str, label: str) -> Html:
    test = material.number("test", estimate, "accuracy")
    interval = material.interval("test", test)
    note = f"90% interval {ranged(interval)}" if interval else "no interval: the test samples are not at hand"
    return element("div", element("dt", label), element("dd", element("b", three(test)), element("small", note)))


def _chain_key(material: Material) -> Html:
    return key([f"chain {chain}" for chain in range(min(material.result.posterior["posterior"].sizes["chain"], 12))])
