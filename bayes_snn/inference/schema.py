"""What `fit.json` holds: types and bounds, checked before anything is made of them."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from bayes_snn.checkpoint.schema import Arguments
from bayes_snn.chips.describe import ChipFields
from bayes_snn.json_file import Text, Whole


class ScoreFields(Struct):
    """Scores of one estimate; there are others, which nothing is made of."""

    accuracy: float | None = None


SCORES = ("train", "test", "baselines", "classes")  # in `fit.json` and `FitResult.scores` alike


class FitFields(Struct):
    """`fit.json`."""

    format: int
    chip: ChipFields
    arguments: Arguments
    presentations: Whole
    seconds: float | None
    interrupted: bool
    versions: dict[str, Any] = {}
    presentations_saved: Whole = 0
    compile_seconds: float | None = None
    behaviour: dict[str, Any] | None = None
    train: dict[str, ScoreFields] = {}
    test: dict[str, ScoreFields] = {}
    baselines: dict[str, Any] = {}
    classes: dict[str, Any] = {}
    sha256: dict[str, str] = {}
    cost: dict[str, Whole] = {}
    note: Text = ""
    twin: dict[str, Any] | None = None
    programmings: Whole | None = None


class SpaceFields(Struct):
    """R-hat and effective draws in a diagnosis."""

    r_hat: float | None
    ess: float | None


class DiagnosisFields(Struct):
    """What a report reads of a stored diagnosis."""

    weights: SpaceFields
    function: SpaceFields
    log_likelihood: SpaceFields
    verdict: str
    converged: bool
    weights_converged: bool
