"""Several fits side by side: their scores and costs, a column each, and leave-one-out cross-validation (LOO)."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from bayes_snn.checks.leave_one_out import check_same_samples, compare_scores, n_high, n_tied, no_ranking, pointwise_loo
from bayes_snn.errors import InputError
from bayes_snn.inference.fit_summary import readout_in_words
from bayes_snn.names import strengths_in_words
from bayes_snn.reports.material import Material
from bayes_snn.reports.page import Html, Sheet, element, gallery, joined, missing, paragraph, table
from bayes_snn.reports.scores import draw_accuracies
from bayes_snn.reports.words import counted, finite, ranged, said, three, two

_ELPD = ("elpd", "se", "elpd_diff", "dse", "p")


def comparison(materials: Sequence[Material], sheet: Sheet) -> Html:
    """The fits, a column each, then LOO where they share their training samples."""
    rows: list[list[object]] = [
        ["chains mixed", *(_mixed(m.diagnosis) for m in materials)],
        ["chip", *(_chip(m) for m in materials)],
        ["prior", *(said(m.result.arguments.get("model")) for m in materials)],
        ["sampler", *(said(m.result.arguments.get("sampler")) for m in materials)],
        ["chains and draws", *(_sizes(m) for m in materials)],
        ["data", *(said(m.result.arguments.get("data")) for m in materials)],
        ["training samples", *(f"{len(m.train[1]):,}" for m in materials)],
        ["test samples", *("not at hand" if m.test is None else f"{len(m.test[1]):,}" for m in materials)],
    ]
    readouts = [readout_in_words(m.result) for m in materials]
    if any(readouts):
        rows.insert(3, ["readout", *(words or "plain" for words in readouts)])
    apart = [len(rows)]
    for name in max((m.result.estimates for m in materials), key=len):
        tests = [m.number("test", name, "accuracy") for m in materials]
        rows.append([f"{name}, test accuracy", *map(three, tests)])
        rows.append(["90% interval", *(ranged(m.interval("test", t)) for m, t in zip(materials, tests, strict=True))])
    apart.append(len(rows))
    for score, label in (("log_score", "log score"), ("calibration_error", "calibration error")):
        rows.append([f"ensemble, test {label}", *(three(m.number("test", "ensemble", score)) for m in materials)])
    apart.append(len(rows))
    for space, label in (("function", "predictions"), ("log_likelihood", "log-likelihood"), ("weights", "weights")):
        rows.append([f"R-hat of the {label}", *(_r_hat(m, space) for m in materials)])
    apart.append(len(rows))
    for name, label in (
        ("presentations", "presentations"),
        ("passes", "passes"),
        ("presentations_per_effective_draw", "presentations for each effective draw"),
        ("programmings", "programmings"),
        ("seconds", "seconds"),
    ):
        rows.append([label, *(counted(m.number(name)) for m in materials)])
    scored = [
        (m.name, m.number("train", "ensemble", "accuracy"), m.number("test", "ensemble", "accuracy")) for m in materials
    ]
    drawn = [(*row, m.interval("test", row[2])) for row, m in zip(scored, materials, strict=True)]
    shown = [row for row in drawn if row[2] is not None]
    return joined(
        [
            table("The fits side by side.", ["", *(m.name for m in materials)], rows, apart=apart, class_="fits"),
            element(sheet.below, "Ensembles on the test samples"),
            gallery(sheet, [draw_accuracies(shown)], "pairs") if shown else missing("No fit holds test scores."),
            element(sheet.below, "Leave-one-out cross-validation"),
            leave_one_out(materials),
        ]
    )


def leave_one_out(materials: Sequence[Material]) -> Html:
    """az.compare by LOO, or why there is none."""
    fits = {m.name: m.result for m in materials}
    try:
        check_same_samples(fits)
    except InputError as error:
        return missing(str(error))
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")  # what they say the table states
            scores = {name: pointwise_loo(result) for name, result in fits.items()}
            found = compare_scores(scores)
        n = len(materials[0].train[1])
        bad = {name: n_high(score) / n for name, score in scores.items()}
        tied = {name: n_tied(score) / n for name, score in scores.items()}
        limits = {name: float(score.good_k) for name, score in scores.items()}
        rows = [
            [
                name,
                *("" if pd.isna(row[column]) else f"{row[column]:.1f}" for column in _ELPD),
                "" if pd.isna(row["weight"]) else f"{row['weight']:.2f}",
                f"{bad[name]:.0%}",
                f"{tied[name]:.0%}",
            ]
            for name, row in found.iterrows()
        ]
        unranked = no_ranking(scores)
    except Exception as error:  # of many kinds, from deep inside; the rest of the report does not need it
        return missing(f"LOO could not be computed ({type(error).__name__}: {' '.join(str(error).split())[:200]}).")
    limit = " to ".join(sorted({f"{value:.2f}" for value in limits.values()}))
    caption = (
        "Expected log predictive density (elpd, nats) of the training samples, each left out in turn; se: its standard "
        "error; difference to the best, and its standard error; p: effective parameters; stacking weight; share of "
        f"samples whose Pareto k is above {limit}; of samples without a k, their largest importance weights being tied."
    )
    header = ["fit", "elpd", "se", "difference", "se of it", "p", "weight", "k too high", "no k"]
    parts: list[object] = [table(caption, header, rows)]
    if unranked is not None:
        parts.append(paragraph(unranked))
    if worst := max(bad.values()):
        parts.append(
            paragraph(
                f"Up to {worst:.0%} of the samples have a Pareto k above {limit}: for them the posterior "
                "without the sample is too far from the one with it, and elpd cannot be relied on. Trust the test "
                "scores first."
            )
        )
    return joined(parts)


def _mixed(diagnosis: dict[str, Any]) -> str:
    if not diagnosis.get("converged"):
        return "no"
    return "yes" if diagnosis.get("weights_converged") else "predictions only"


def _sizes(material: Material) -> str:
    sizes = material.result.posterior["posterior"].sizes
    return f"{sizes['chain']} x {sizes['draw']:,}"


def _chip(material: Material) -> str:
    described = material.stored.get("chip", {})
    distorted = strengths_in_words(described.get("distortions") or {})
    layers = "-".join(str(n) for n in material.result.chip.spec.layers)
    if "distortions" not in described:
        return f"{described.get('class', 'chip')} {layers}"
    return f"{layers}, {distorted}, seed {said(described.get('seed'))}"


def _r_hat(material: Material, space: str) -> str:
    found = material.diagnosis.get(space)
    return two(finite(found.get("r_hat")) if isinstance(found, dict) else None)
