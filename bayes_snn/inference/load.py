"""Fit folders read: the description and the draws checked, the chip made again or passed."""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from bayes_snn.chips.contract import AbsentChip, Chip, ChipSpec
from bayes_snn.chips.describe import describe_chip, make_chip, spec_from
from bayes_snn.chips.lif.chip import LIFChip
from bayes_snn.chips.presentations import Presentations
from bayes_snn.errors import ChangedFileWarning, InputError, VersionWarning, said
from bayes_snn.estimates.predict import DISTILLED
from bayes_snn.files import UnreadableError, check_regular, why
from bayes_snn.groups import (
    BIAS,
    CONSTANT,
    HIGH,
    LOW,
    OTHER_TERMS,
    OUTPUTS,
    READOUT,
    REMEASURED,
    SAMPLE_WEIGHT,
    SCALE,
    SUPPORT,
)
from bayes_snn.hdf5 import as_tree, read_hdf5
from bayes_snn.inference.faults import fault_counts
from bayes_snn.inference.kept_twin import kept_twin
from bayes_snn.inference.result import FORMAT, POSTERIOR, FitResult
from bayes_snn.inference.schema import SCORES, FitFields
from bayes_snn.json_file import check, read_json
from bayes_snn.version import version_note, written_by

GROUPS = ("posterior", "log_likelihood", "log_prior", "constant_data")  # of posterior.nc, that estimates need


def load_fit(folder: str | Path, chip: Chip | None = None) -> FitResult:
    """Read a fit folder.

    Parameters
    ----------
    folder
        What `FitResult.save` wrote.
    chip
        The chip, where it was not a `LIFChip`: only a simulated chip can be made again from its description.

    Raises
    ------
    InputError
        When the folder is missing, torn, or of another format, or the chip does not fit it.

    Warns
    -----
    VersionWarning
        When another version of bayes_snn wrote the folder.
    ChangedFileWarning
        When posterior.nc is not the file that was written with fit.json, or the twin in the folder cannot be read.
    """
    folder = Path(folder)
    stamp = FitResult._stamp(folder)
    stored = read_description(folder)
    described = {**stored["chip"], "spec": {"drifting": False, **stored["chip"]["spec"]}}  # older fits do not say
    try:
        spec = spec_from(described["spec"])
    except InputError as error:
        raise InputError(f"{folder / 'fit.json'} cannot be used. {error}") from None
    if chip is not None:
        given = describe_chip(chip)["spec"]
        if "parameters" not in described["spec"]:
            given.pop("parameters", None)  # nor do they say these, which are compared with the draws
        if given != described["spec"]:
            raise InputError(
                f"The chip has {chip.spec}, but {folder} was fitted on {described['spec']!s:.300}: pass the chip it "
                "was fitted on."
            )
        spec = chip.spec
    # a chip is made of the description only when the draws agree with it
    posterior, changed = _read_posterior(folder, stored)
    _check_posterior(posterior, spec, folder)
    chip = make_chip(described) if chip is None else chip
    if changed:
        warnings.warn(
            f"{folder / POSTERIOR} is not the file that was written with {folder / 'fit.json'}: if nobody has edited "
            "it, it is damaged, so take it from a copy.",
            ChangedFileWarning,
            stacklevel=2,
        )
    version = written_by(stored)
    if (note := version_note(version)) is not None:
        warnings.warn(f"{folder} {note}", VersionWarning, stacklevel=2)
    scores: dict[str, Any] = {part: stored[part] for part in SCORES if part in stored}
    result = FitResult(
        chip,
        posterior,
        stored["arguments"],
        _cost(stored, posterior),
        float("nan") if stored["seconds"] is None else float(stored["seconds"]),
        stored["interrupted"],
        scores,
        version,
        float(stored.get("compile_seconds") or "nan"),  # older fits do not say
        stored.get("behaviour"),
        stored.get("note", ""),
        twin=kept_twin(folder, spec),
        twin_check=stored.get("twin"),
        programmings=stored.get("programmings"),
    )
    result._stamps.add(stamp)
    return result


def _cost(stored: dict[str, Any], posterior: xr.DataTree) -> Presentations:
    """What the chip was shown for a stored fit; older fits hold training and the last distillation alone."""
    distilling = int(posterior[DISTILLED].attrs["presentations"]) if DISTILLED in posterior.children else 0
    known = stored.get("cost", {"distilling": distilling})
    others = {each.name: known.get(each.name, 0) for each in fields(Presentations)}
    return Presentations(**{**others, "training": max(stored["presentations"] - others["learning"], 0)})


def read_description(folder: Path) -> dict[str, Any]:
    """What the `fit.json` of a folder holds, checked; an `InputError` says what is wrong with it."""
    path = folder / "fit.json"
    try:
        stored = read_json(path)
        if not isinstance(stored, dict) or "format" not in stored:
            raise UnreadableError("it does not say of which format it is, as every fit does")
    except UnreadableError as error:
        raise InputError(
            f"{folder} holds no readable fit.json, because {error.reason}: "
            f"{error.advice or 'give the folder that --out named, or take the file from a copy'}."
        ) from None
    if stored["format"] != FORMAT:
        raise InputError(
            f"{folder} was written in format {stored['format']!r:.60}, by bayes_snn {written_by(stored)}, but this "
            f"version reads format {FORMAT}: install that version, or fit again."
        )
    try:
        check(stored, FitFields)
    except UnreadableError as error:
        raise error.input_error(path) from None
    return stored


def _read_posterior(folder: Path, stored: dict[str, Any]) -> tuple[xr.DataTree, bool]:
    """The draws of a folder, and whether their file is another than the one that was written.

    They are read apart from this process, whatever the digest says: who makes a file makes its digest, too.
    """
    path = folder / POSTERIOR
    try:
        check_regular(path)
        digest = stored.get("sha256", {}).get(POSTERIOR)  # older folders have none
        changed = digest is not None and _digest(path) != digest
        found = as_tree(read_hdf5(path))
    except UnreadableError as error:
        raise error.input_error(path) from None
    except (ValueError, TypeError, KeyError, OverflowError, AttributeError, NotImplementedError) as error:  # of xarray
        reason = UnreadableError(f"its parts contradict each other ({' '.join(str(error).split())[:200]})")
        raise reason.input_error(path) from None
    return found, changed


def _digest(path: Path) -> str:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise why(error) from None


def _check_posterior(tree: xr.DataTree, spec: ChipSpec, folder: Path) -> None:
    """An `InputError` where the draws lack what estimates need, or are of another chip than `spec`."""

    def problem() -> str | None:
        for group in GROUPS:
            if group not in tree.children:
                return f"it has no group {group}"
        draws = tree["posterior"].dataset
        size = (draws.sizes.get("chain", 0), draws.sizes.get("draw", 0))
        if 0 in size:
            return "it has no draws"
        for name, shape in zip(spec.weight_names, spec.weight_shapes, strict=True):
            if name not in draws:
                return f"it has no weights {name}"
            found = draws[name]
            if found.dims[:2] != ("chain", "draw") or found.shape != (*size, *shape) or found.dtype.kind != "f":
                return f"its weights {name} have the shape {found.shape[2:]}, and those of the chip in fit.json {shape}"
            if not np.isfinite(found.values).all():
                return f"its weights {name} hold NaN or infinity"
        if draws.attrs.get(READOUT):
            n_classes = spec.layers[-1]
            expected: list[tuple[str, tuple[int, ...]]] = [(BIAS, (*size, n_classes))]
            if SCALE in draws or not _is_positive(draws.attrs.get(SCALE)):
                expected.insert(0, (SCALE, size))
            for name, dims in expected:
                values = draws[name].values if name in draws else np.empty(0)
                if values.shape != dims or values.dtype.kind != "f" or not np.isfinite(values).all():
                    return f"its readout has no {name} of the shape {dims}"
            if SCALE in draws and not (draws[SCALE].values > 0).all():
                return f"the {SCALE} of its readout is not above 0"
        inputs = tree["constant_data"].dataset.get("inputs")
        if inputs is None or inputs.dims != ("observation", "pre_1") or inputs.shape[1] != spec.layers[0]:
            return f"it has no training inputs with {spec.layers[0]} features"
        if inputs.dtype.kind != "f" or not np.isfinite(inputs.values).all():
            return "its training inputs are no finite numbers"
        counted = tree["constant_data"].dataset.get(SAMPLE_WEIGHT)
        if counted is not None:
            numbers = (
                counted.dims == ("observation",) and counted.dtype.kind == "f" and np.isfinite(counted.values).all()
            )
            if not numbers or (counted.values < 0).any():
                return "its weights of training samples are not one number of 0 or more for each"
        terms = tree["log_likelihood"].dataset.get("label")
        if terms is None or terms.dtype.kind != "f" or terms.dims != ("chain", "draw", "observation"):
            return "it has no log-likelihood of the labels"
        if terms.shape != (*size, len(inputs)):
            return f"its log-likelihood has the shape {terms.shape}, and {(*size, len(inputs))} is expected"
        prior = [*tree["log_prior"].dataset.data_vars.values()]
        if OTHER_TERMS in tree.children:
            prior += tree[OTHER_TERMS].dataset.data_vars.values()
        if any(array.dims != ("chain", "draw") or array.shape != size or array.dtype.kind != "f" for array in prior):
            return "its log-density of the prior is not one number for each draw"
        return _wrong_extra(tree, spec)

    if (found := problem()) is not None:
        raise UnreadableError(found).input_error(folder / POSTERIOR)


def _is_positive(number: Any) -> bool:
    """Whether this is one finite number above 0."""
    return isinstance(number, float | np.floating) and 0 < float(number) < np.inf


def _wrong_extra(tree: xr.DataTree, spec: ChipSpec) -> str | None:
    """What is wrong with the groups that only some fits have."""
    if DISTILLED in tree.children:
        group = tree[DISTILLED].dataset
        agreement, shown = group.attrs.get("agreement"), group.attrs.get("presentations")
        if not isinstance(agreement, int | float) or not isinstance(shown, int) or shown < 0:
            return f"its group {DISTILLED} does not say what distilling took"
        if any(not isinstance(group.attrs.get(name, 0.0), int | float) for name in ("differing", "wrong")):
            return f"its group {DISTILLED} does not say how far chip and twin differ"
        for name, shape in zip(spec.weight_names, spec.weight_shapes, strict=True):
            if name not in group or group[name].shape != shape or not np.isfinite(group[name].values).all():
                return f"its group {DISTILLED} has no weights {name} of the shape {shape}"
        if SCALE in group and (group[SCALE].shape != () or BIAS not in group or group[BIAS].shape != spec.layers[-1:]):
            return f"its group {DISTILLED} has no readout of {spec.layers[-1]} classes"
    if SUPPORT in tree.children:
        ends = tree[SUPPORT].dataset
        for name, shape in zip(spec.weight_names, spec.weight_shapes, strict=True):
            if any(f"{end}{name}" in ends and ends[f"{end}{name}"].shape != shape for end in (LOW, HIGH)):
                return f"its group {SUPPORT} is of other weights than {name}"
    if OUTPUTS in tree.children and CONSTANT not in tree[OUTPUTS]:
        return f"its group {OUTPUTS} has no {CONSTANT}"
    if REMEASURED in tree.children:
        looks = tree[REMEASURED]
        if "goes_on" not in looks.attrs or not {"chain", "draw", "reference"} <= set(looks.variables):
            return f"its group {REMEASURED} is not one of a chip that was watched"
    try:
        fault_counts(tree)
    except (ValueError, TypeError, AttributeError, RecursionError):
        return "its group faults does not say how many there were"
    return None


def load_described(folder: str | Path, source: str | None = None, token: str | None = None) -> FitResult:
    """A fit for a command, which has no chip at hand.

    Its chip is the one that `source` names ("module:name", or the address of a server), else a simulated one made from
    its description, else an `AbsentChip`: what is in the draws can be had without a chip, predictions cannot. A name
    that is stored in the folder is never imported: it would run code that somebody else has chosen.
    """
    stored = read_description(Path(folder))["chip"]
    if source is not None:
        from bayes_snn.chips.by_name import find_chip

        chip = find_chip(source, token)
        if (found := describe_chip(chip)["class"]) != stored["class"]:
            raise InputError(
                f"--chip {source} is a {found}, but {folder} was fitted on a {said(stored['class'])}: give the "
                "fit's own."
            )
        return load_fit(folder, chip)
    if stored["class"] == LIFChip.__name__:
        return load_fit(folder)
    spec = spec_from({"drifting": False, **stored["spec"]})
    return load_fit(folder, AbsentChip(stored["class"], spec))
