"""The sections of a report that are numbers and words: verdict, accuracies, cost and provenance."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bayes_snn.chips.link.faults import in_words
from bayes_snn.chips.presentations import NAMES
from bayes_snn.estimates.predict import DISTILLED
from bayes_snn.inference.diagnostics import ESS_PER_CHAIN, R_HAT_LIMIT, shown_ess, shown_r_hat
from bayes_snn.inference.fit_summary import distilled_in_words, weighted_in_words
from bayes_snn.names import DISTORTIONS, strengths_in_words
from bayes_snn.posterior.noisy import noise_in_words
from bayes_snn.reports.material import Material
from bayes_snn.reports.page import Html, Sheet, element, gallery, joined, missing, pairs, paragraph, table
from bayes_snn.reports.scores import draw_accuracies
from bayes_snn.reports.words import _NOT_KNOWN, counted, finite, ranged, said, three
from bayes_snn.version import version_note, written_by

_BASELINES = {"chance": "chance", "logistic": "logistic (digital)"}
_SCORES = {
    "log_score": "log score",
    "calibration_error": "ECE",
    "brier_score": "Brier",
    "balanced_accuracy": "balanced",
    "auc": "AUC",
}
_SPACES = {
    "function": "predictions",
    "log_likelihood": "log-likelihood",
    "weights": "weights",
    "hyperparameters": "hyperparameters",
}


def verdict(material: Material, sheet: Sheet) -> Html:
    """The verdict on the chains, and the numbers to take away."""
    diagnosis = material.diagnosis
    good = bool(diagnosis.get("converged"))
    headline, rest = split_verdict(str(diagnosis["verdict"]))
    grade = "good" if good and diagnosis.get("weights_converged") else "fair" if good else "bad"
    box = [paragraph(element("strong", headline)), paragraph(rest) if rest else ""]
    if material.stored.get("interrupted"):
        box.append(paragraph("The sampling was interrupted: these are the draws up to then."))
    if (note := version_note(written_by(material.stored))) is not None:
        box.append(paragraph(f"This fit {note}"))
    if words := weighted_in_words(material.result):
        box.append(paragraph(words))
    shown = [_headline(material, "ensemble", "Ensemble, test accuracy")]
    if best := material.best_single:
        shown.append(_headline(material, best, f"Single set of weights to program ({best}), test accuracy"))
    return joined(
        [
            element("div", *box, class_=f"verdict {grade}"),
            element("dl", *shown, class_="numbers"),
            paragraph(
                "The ensemble runs the chip with many draws and averages their answers. A single set of weights is "
                f"programmed once; {how_chosen(material)}"
            ),
            _chain_table(diagnosis),
        ]
    )


def how_chosen(material: Material) -> str:
    """How the single set of weights was chosen, and whether another did better on the test samples."""
    chosen = material.best_single
    if chosen is None:
        return "no scores say which."
    reason = "is trained to answer as the ensemble does" if chosen == DISTILLED else "has the best training log score"
    text = f"the one shown here {reason}. A choice by test accuracy would flatter what is chosen"
    singles = [name for name in material.result.estimates if name != "ensemble"]
    found = {name: material.number("test", name, "accuracy") for name in singles}
    known = {name: accuracy for name, accuracy in found.items() if accuracy is not None}
    if chosen not in known or (better := sum(accuracy > known[chosen] for accuracy in known.values())) == 0:
        return f"{text}."
    best = max(known, key=known.__getitem__)
    return (
        f"{text}: by it, this set is number {better + 1} of {len(known)}, and {best} is the first with "
        f"{known[best]:.3f}."
    )


def accuracies(material: Material, sheet: Sheet) -> Html:
    """Scores of every estimate and of the baselines, with intervals."""
    rows = score_rows(material)
    if all(train is None and test is None for _, train, test, _ in rows):
        return missing(
            "The fit holds no scores: python -m bayes_snn.fit stores them; from Python, set result.scores before save."
        )
    estimates = material.result.estimates
    paths = [("test", name) for name in estimates] + [("baselines", name, "test") for name in _BASELINES]
    cells, n_estimates = [], 0
    for path, (name, train, test, interval) in zip(paths, rows, strict=True):
        if train is None and test is None:
            continue
        others = (three(material.number(*path, score)) for score in _SCORES)
        cells.append([name, three(train), three(test), ranged(interval), *others])
        n_estimates += name in estimates
    n_test = "" if material.test is None else f" of {len(material.test[1]):,} samples"
    caption = (
        "Accuracies; then the log score (mean log probability of the true class, nats), expected calibration error "
        "(ECE), Brier score, balanced accuracy (mean recall of the classes) and area under the ROC curve (AUC) of the "
        f"test part{n_test}."
    )
    header = ["estimate", "train", "test", "90% interval", *_SCORES.values()]
    drawn = [row for row in rows if row[1] is not None or row[2] is not None]
    scores = table(caption, header, cells, apart=[n_estimates])
    parts: list[object] = [element("div", scores, gallery(sheet, [draw_accuracies(drawn)], "pairs"), class_="beside")]
    if material.test is None:
        parts.append(missing(f"Test intervals are missing with the test samples. {material.why_no_test}"))
    if words := distilled_in_words(material.result):
        parts.append(paragraph(words))
    parts.append(
        paragraph(
            "Intervals are Wilson intervals over the test samples: how another chip would do is not in them. Chance "
            "answers with the classes' frequencies; logistic regression runs in float64, without a chip."
        )
    )
    return joined(parts)


def by_class(names: Sequence[str], counts: NDArray[np.float64], kind: str) -> Html:
    """Recall of each class, and what its samples were answered as, from the confusion matrix of the ensemble."""
    rows = [
        [name, f"{row.sum():,.0f}", three(row[k] / row.sum() if row.sum() else None), *(f"{n:,.4g}" for n in row)]
        for k, (name, row) in enumerate(zip(names, counts, strict=True))
    ]
    caption = (
        f"The ensemble on the {kind} samples of each class: how many, the share answered right (recall), and how many "
        "were answered as each class. Where m classes tie, each counts 1/m."
    )
    return table(caption, ["class", "samples", "recall", *names], rows)


def cost(material: Material, sheet: Sheet) -> Html:
    """What training cost the chip."""
    n_train = len(material.train[1])
    shown, saved, seconds = material.number("presentations"), _saved(material), material.number("seconds")
    kept = material.result.posterior["posterior"].sizes
    passes = None if shown is None else shown / n_train
    rows: list[tuple[object, object]] = [
        ("presentations (a sample shown once)", counted(shown)),
        (f"passes (all {n_train:,} training samples shown once)", counted(passes)),
        ("passes for each kept draw", "" if passes is None else f"{passes / (kept['chain'] * kept['draw']):,.1f}"),
    ]
    if (each := material.number("presentations_per_effective_draw")) is not None:
        rows.append(("presentations for each effective draw of predictions and log-likelihood", counted(each)))
    if (written := material.number("programmings")) is not None:
        rows.append(("programmings (the weights written once)", counted(written)))
    whole = saved + (shown or 0)
    share = f"{saved:,.0f} presentations, {saved / whole:.1%} of {whole:,.0f}" if saved else "none"
    rows.append(("saved by early rejection", share))
    if (faults := material.result.faults) is not None:
        rows.append(("faults of the link, none of which became a likelihood", in_words(faults)))
    if noise := noise_in_words(material.result.arguments):
        rows.append(("noise", noise))
    if (distilled := material.result.distilled) is not None:
        rows.append(("presentations to distil the ensemble, beside those", counted(float(distilled["presentations"]))))
    for purpose, name in NAMES.items():
        if purpose not in ("training", "distilling") and (n := material.number("cost", purpose)) is not None:
            rows.append((f"presentations for {name}, beside those", counted(n)))
    if (total := material.number("cost", "total")) is not None:
        rows.append(("presentations in all", counted(total)))
    if material.shown:  # the last section that runs the chip comes before this one
        rows.append(("presentations for this report", counted(float(material.shown))))
    rows.append(("wall time", _NOT_KNOWN if seconds is None else f"{seconds:,.1f} s"))
    if (compiling := material.number("compile_seconds")) is not None:
        rows.append(("wall time of compiling, before it", f"{compiling:,.1f} s"))
    return joined(
        [
            pairs("What training cost the chip, warm-up included, and what came after it.", rows),
            paragraph(
                "Presentations are what a chip on a bench would see, too; the wall time is that of the computer that "
                "made the fit."
            ),
        ]
    )


def provenance(material: Material, sheet: Sheet) -> Html:
    """Arguments, chip, versions and dates, as the fit has them."""
    tables: list[object] = []
    absent: list[object] = []
    for name, caption in (("arguments", "Arguments"), ("chip", "Chip"), ("versions", "Versions")):
        found = material.stored.get(name)
        if isinstance(found, dict) and found:
            tables.append(pairs(caption, [(element("code", k), said(v)) for k, v in _flat(found)]))
        else:
            absent.append(missing(f"fit.json holds no {name}."))
    if distorted := _distortions(material):
        tables.insert(2, pairs("Distortions of the chip", distorted))
    attributes = material.result.posterior["posterior"].attrs
    rows = [(element("code", name), said(attributes[name])) for name in ("created_at",) if name in attributes]
    rows.append((element("code", "format"), said(material.stored.get("format", _NOT_KNOWN))))
    return joined([element("div", *tables, pairs("Fit", rows), class_="beside"), *absent])


def _distortions(material: Material) -> list[tuple[object, object]]:
    """Strength and meaning of each distortion; a newer version may have written one that this one does not know."""
    strengths = (material.stored.get("chip") or {}).get("distortions") or {}
    return [
        (strengths_in_words({name: sigma}), DISTORTIONS[name])
        for name, sigma in strengths.items()
        if name in DISTORTIONS
    ]


def score_rows(material: Material) -> list[tuple[str, float | None, float | None, tuple[float, float] | None]]:
    """Name, training accuracy, test accuracy and its interval of every estimate and baseline."""
    rows = []
    for name in material.result.estimates:
        test = material.number("test", name, "accuracy")
        rows.append((name, material.number("train", name, "accuracy"), test, material.interval("test", test)))
    for name, label in _BASELINES.items():
        test = material.number("baselines", name, "test", "accuracy")
        train = material.number("baselines", name, "train", "accuracy")
        rows.append((label, train, test, material.interval("test", test)))
    return rows


def split_verdict(text: str) -> tuple[str, str]:
    """The first clause of a verdict, for the eye, and the rest."""
    found = re.search(r"[:.] +", text)
    if found is None:
        return text, ""
    rest = text[found.end() :]
    return f"{text[: found.start()]}.", rest[:1].upper() + rest[1:]


def _flat(values: dict[str, Any], before: str = "") -> Iterable[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", "none" if value == {} else value


def _chain_table(diagnosis: dict[str, Any]) -> Html:
    """R-hat and effective draws in the figures of the verdict, and whether they are within its limits."""
    rows, n_chains = [], int(finite(diagnosis.get("n_chains")) or 1)
    wanted = ESS_PER_CHAIN * n_chains
    for space, label in _SPACES.items():
        found = diagnosis.get(space)
        if not isinstance(found, dict):
            if space != "hyperparameters":
                rows.append([label, *[_NOT_KNOWN] * 5])
            continue
        r_hat, ess, above, n = (finite(found.get(name)) for name in ("r_hat", "ess", "share_r_hat_above", "n"))
        if r_hat is None and n and n_chains > 1:  # JSON has no infinity
            r_hat = math.inf
        known = r_hat is not None and ess is not None
        rows.append(
            [
                label,
                _NOT_KNOWN if r_hat is None else shown_r_hat(r_hat),
                _NOT_KNOWN if ess is None else shown_ess(ess),
                counted(n),
                _NOT_KNOWN if above is None else f"{above:.0%}",
                said(r_hat <= R_HAT_LIMIT and ess >= wanted) if known else _NOT_KNOWN,  # type: ignore[operator]
            ]
        )
    caption = (
        f"The chains: R-hat (limit {R_HAT_LIMIT:.2f}) and effective draws (wanted {wanted:,}), in which 95% of the "
        "quantities are better, the share of quantities beyond the limit of R-hat, and whether both limits are met."
    )
    return table(caption, ["", "R-hat", "effective draws", "quantities", "beyond", "met"], rows)


def _saved(material: Material) -> float:
    """Presentations saved by early rejection; older fits do not state them, but have the sampler's count."""
    stored = material.number("presentations_saved")
    if stored is None and "sample_stats" in material.result.posterior.children:
        return float(material.result.presentations_saved)
    return stored or 0.0


def _headline(material: Material, estimate: str, label: str) -> Html:
    test = material.number("test", estimate, "accuracy")
    interval = material.interval("test", test)
    note = f"90% interval {ranged(interval)}" if interval else "no interval"
    return element("div", element("dt", label), element("dd", element("b", three(test)), element("small", note)))
