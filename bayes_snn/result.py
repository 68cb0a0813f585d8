"""A fit: the posterior, what it predicts, what it cost, and how it is kept in a folder.

A folder holds `posterior.nc` (an ArviZ DataTree: posterior, sample_stats, log_likelihood, log_prior, outputs,
observed_data, constant_data) and `fit.json` (arguments, chip, versions, presentations, scores, diagnosis). Every file
is written under a temporary name and then renamed, so that none is ever half-written.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from bayes_snn.chips.contract import AbsentChip, Chip, ChipSpec, FloatArray, IntArray, check_inputs, check_labels
from bayes_snn.chips.describe import describe_chip, make_chip, spec_from
from bayes_snn.chips.lif.chip import LIFChip
from bayes_snn.chips.link.faults import fault_counts
from bayes_snn.chips.presentations import AnswerMemory, Presentations, RememberingChip
from bayes_snn.diagnostics import Diagnosis, diagnose, unresponsive
from bayes_snn.errors import ChangedFileWarning, InputError, VersionWarning
from bayes_snn.estimates.metrics import evaluate
from bayes_snn.estimates.predict import (
    ALL_ESTIMATES,
    DISTIL_INPUTS,
    DISTIL_SWEEPS,
    DISTILLED,
    ENSEMBLE_SIZE,
    ESTIMATES,
    Draws,
    Weights,
    best_draw,
    check_estimate,
    medoid_draw,
    probabilities,
    run_draws,
)
from bayes_snn.files import (
    UnreadableError,
    check_regular,
    make_folder,
    netcdf_bytes,
    what_helps,
    why,
    write_then_rename,
)
from bayes_snn.fit_summary import describe_result, summarise
from bayes_snn.groups import CONSTANT, HIGH, LOW, OTHER_TERMS, OUTPUTS, REMEASURED, SUPPORT, UNRESPONSIVE
from bayes_snn.hdf5 import as_tree, read_hdf5
from bayes_snn.json_file import check, read_json
from bayes_snn.likelihood import BETA
from bayes_snn.names import CHECKPOINT
from bayes_snn.noisy import PSEUDO_MARGINAL, NoiseChoice
from bayes_snn.schema import FitFields
from bayes_snn.version import PACKAGES, __version__, version_note, written_by

if TYPE_CHECKING:
    from bayes_snn.model import WeightsFunction

FORMAT = 1  # of a fit folder
POSTERIOR = "posterior.nc"
GROUPS = ("posterior", "log_likelihood", "log_prior", "constant_data")  # of posterior.nc, that estimates need


@dataclass
class FitResult:
    """A fitted chip.

    Attributes
    ----------
    chip
        The chip that was trained.
    posterior
        ArviZ DataTree; weights have dims (chain, draw, pre_1, post_1), ...
    arguments
        How it was fitted: model, sampler, draws, tune, chains, seed, and what a caller adds.
    cost
        Samples shown to the chip so far, by what for.
    seconds
        Wall time of the fit, without compiling.
    compile_seconds
        Wall time of compiling the model before the sampling, which later fits of the prior take from a cache; nan where
        it is not known.
    interrupted
        True when Ctrl-C ended the sampling early.
    version
        Of bayes_snn that made the fit; None where its folder does not say.
    behaviour
        What `check_behaviour` found before the sampling; None where its folder does not say.
    """

    chip: Chip
    posterior: xr.DataTree
    arguments: dict[str, Any]
    cost: Presentations
    seconds: float = float("nan")
    interrupted: bool = False
    scores: dict[str, Any] = field(default_factory=dict)
    version: str | None = __version__
    compile_seconds: float = float("nan")
    behaviour: dict[str, Any] | None = None
    memory: AnswerMemory = field(default_factory=AnswerMemory, init=False, repr=False, compare=False)
    _stamps: set[tuple[int, ...] | None] = field(default_factory=set, init=False, repr=False, compare=False)

    @property
    def presentations(self) -> int:
        """Samples shown to the chip for training, warm-up included; `cost` has all others."""
        return self.cost.training

    @property
    def asked(self) -> RememberingChip:
        """The chip for predictions: it is charged to `cost`, and a deterministic one is not run twice for an answer."""
        return RememberingChip(self.chip, self.memory, lambda n: self.charge("prediction", n))

    def charge(self, purpose: str, n: int) -> None:
        """Add presentations to `cost`."""
        self.cost = self.cost.plus(purpose, n)

    def __repr__(self) -> str:
        return describe_result(self)

    def summary(self) -> pd.DataFrame:
        """A row for log L of the training samples, for each hyperparameter and for each weight: `az.summary`.

        Hidden neurons may swap roles from chain to chain: look at the R-hat of log L and of hyperparameters first, and
        at `diagnosis` for that of the predictions. Numbers are not rounded.
        """
        return summarise(self)

    def add_predictive(
        self, draws: int = ENSEMBLE_SIZE, seed: int = 0, weights: str | Path | WeightsFunction | None = None
    ) -> None:
        """Add the groups `posterior_predictive`, `prior` and `prior_predictive`, which ArviZ's predictive checks take.

        Labels of the training samples are drawn from the class probabilities of evenly spaced posterior draws, and of
        as many draws from the prior. Each takes a run of the training samples, charged to `cost.prediction`; a
        deterministic chip may have been asked already.

        Parameters
        ----------
        draws
            Draws of the posterior, all chains together, and of the prior.
        seed
            Of the prior's draws and the labels.
        weights
            The prior, where it was a function or a model file of your own.

        Raises
        ------
        InputError
            When the prior is not known, or cannot be drawn from.
        """
        from bayes_snn.predictive import add_predictive  # it comes with PyMC, which reading a fit does not need

        add_predictive(self, draws, seed, weights)

    @property
    def train_inputs(self) -> NDArray[np.float64]:
        """(n_train, n_in) inputs that the chip was trained on."""
        return np.asarray(self.posterior["constant_data/inputs"].values)

    @property
    def passes(self) -> float:
        """Training presentations in units of the training set."""
        return self.presentations / len(self.train_inputs)

    @property
    def repeats(self) -> int:
        """Runs of a noisy chip that are averaged in each evaluation of the likelihood, and in each prediction."""
        return int(self.arguments.get("repeats", 1))

    @property
    def beta(self) -> float:
        """Weight of a spike in the likelihood, and so in each prediction."""
        return float(self.arguments.get("beta") or BETA)

    @property
    def presentations_saved(self) -> int:
        """Samples that were not shown because a proposal was lost already; 0 for a sampler that shows them all."""
        stats = self.posterior.sample_stats
        return int(stats["saved"].isel(draw=-1).sum()) if "saved" in stats else 0

    @property
    def faults(self) -> dict[str, int] | None:
        """Faults of the chip's link in the fit, by kind; None when the chip was no `Link`. The group has them all."""
        return fault_counts(self.posterior)

    @cached_property
    def draws(self) -> Draws:
        """Draws of the weights, chains one after the other."""
        posterior = self.posterior.posterior.dataset
        weights = [posterior[name].values for name in self.chip.spec.weight_names]
        prior = sum(array.values for array in self.posterior.log_prior.dataset.values())
        logp = prior + self.posterior.log_likelihood["label"].sum("observation").values
        if OTHER_TERMS in self.posterior.children:
            logp = logp + sum(array.values for array in self.posterior[OTHER_TERMS].dataset.values())
        return Draws([layer.reshape(-1, *layer.shape[2:]) for layer in weights], np.ravel(logp), self.beta)

    @cached_property
    def diagnosis(self) -> Diagnosis:
        """R-hat, effective draws and a verdict."""
        weights = self.posterior.posterior.dataset[list(self.chip.spec.weight_names)]
        looks = self.posterior[REMEASURED].dataset if REMEASURED in self.posterior.children else None
        constant = self.posterior[OUTPUTS].dataset[CONSTANT] if OUTPUTS in self.posterior.children else None
        stats = self.posterior["sample_stats"].dataset if "sample_stats" in self.posterior.children else {}
        likelihood, diverging = self.posterior.log_likelihood["label"], stats.get("diverging")
        found = diagnose(weights, likelihood, looks, constant, diverging, self._hyperparameters())
        outputs = self.posterior[OUTPUTS].attrs if OUTPUTS in self.posterior.children else {}
        return unresponsive(found) if outputs.get(UNRESPONSIVE) else found

    def _hyperparameters(self) -> xr.Dataset:
        """All variables of the prior but the weights, and but what stands for single weights: their levels, say."""
        posterior, names = self.posterior.posterior.dataset, self.chip.spec.weight_names
        shapes = {posterior[name].shape for name in names}
        others = [name for name, array in posterior.items() if name not in names and array.shape not in shapes]
        found: xr.Dataset = posterior[[name for name in others if np.issubdtype(posterior[name].dtype, np.number)]]
        return found

    @property
    def distilled(self) -> dict[str, Any] | None:
        """`agreement` and `presentations` of `distil`; None where it was not called. The group has the weights."""
        if DISTILLED not in self.posterior.children:
            return None
        return {str(name): value for name, value in self.posterior[DISTILLED].attrs.items()}

    @property
    def estimates(self) -> tuple[str, ...]:
        """The estimates that can be asked for: four, and "distilled" once `distil` was called."""
        return ESTIMATES if self.distilled is None else ALL_ESTIMATES

    def distil(self, n_inputs: int = DISTIL_INPUTS, sweeps: int = DISTIL_SWEEPS, seed: int = 0) -> Weights:
        """Train one set of weights, on the chip, to answer as the ensemble does: from then on estimate "distilled".

        It is one set to program, as `mean`, `map` and `medoid` are, but nearly as accurate as the ensemble. It takes
        further presentations, which `cost` tells apart from those of training. `distilled` has those of the last
        call, and the share of inputs that it answers as the ensemble does.

        The weights stay where the prior lets them be: bounds and signs are kept, and weights that the prior fixes, or
        makes multiples of each other, stay as in the draw that distilling starts at.

        Parameters
        ----------
        n_inputs
            Inputs around the training inputs that the ensemble is asked about; see `bayes_snn.estimates.distil`. 0 for
            a chip whose inputs cannot be moved a little, such as whole numbers of events.
        sweeps
            Sweeps over all weights.
        seed
            Of the inputs and the sweeps.

        Returns
        -------
        The weights, (n_pre, n_post) for each layer; also kept in the fit, and saved with it.
        """
        from bayes_snn.estimates.distil import distil  # its sweepers come with PyMC, which reading a fit does not need

        kind = self.arguments.get("noise") or PSEUDO_MARGINAL
        noise = NoiseChoice(kind, self.repeats)
        support = None
        if SUPPORT in self.posterior.children:
            ends = self.posterior[SUPPORT].dataset
            support = [(ends[LOW + name].values, ends[HIGH + name].values) for name in self.chip.spec.weight_names]
        found = distil(
            self.chip,
            self.draws,
            self.train_inputs,
            noise,
            n_inputs=n_inputs,
            sweeps=sweeps,
            seed=seed,
            support=support,
        )
        self.charge("distilling", found.presentations)
        spec = self.chip.spec
        names = zip(spec.weight_names, spec.weight_dims, found.weights, strict=True)
        dataset = xr.Dataset({name: (dims, layer) for name, dims, layer in names})
        posterior = self.posterior.posterior
        dataset = dataset.assign_coords({dim: posterior[dim].values for dim in dataset.dims if dim in posterior.coords})
        attrs = {"agreement": found.agreement, "presentations": found.presentations}
        self.posterior[DISTILLED] = xr.DataTree(dataset.assign_attrs(attrs))
        return found.weights

    @cached_property
    def _medoid(self) -> int:
        return medoid_draw(self.asked, self.draws, self.train_inputs, repeats=self.repeats)

    def weights(self, estimate: str = "mean") -> Weights:
        """The one set of weights to program: any estimate but "ensemble"; (n_pre, n_post) for each layer."""
        if check_estimate(estimate) == "ensemble":
            raise InputError(
                "An ensemble is many sets of weights, but one set was asked for: take 'mean', 'map' or 'medoid', "
                "or call distil() and take 'distilled'."
            )
        if estimate == DISTILLED:
            if self.distilled is None:
                raise InputError(
                    "This fit has no distilled weights, but they were asked for: call distil() first (--distil at the "
                    "command line), or take another estimate."
                )
            stored = self.posterior[DISTILLED]
            return [np.asarray(stored[name].values) for name in self.chip.spec.weight_names]
        if estimate == "mean":
            return self.draws.mean()
        return self.draws[best_draw(self.draws) if estimate == "map" else self._medoid]

    def predict(self, inputs: FloatArray, estimate: str = "ensemble", size: int = ENSEMBLE_SIZE) -> NDArray[np.float64]:
        """Class probabilities (n_samples, n_classes) of new inputs, through the chip.

        Parameters
        ----------
        inputs
            (n_samples, n_in), standardised as the training inputs were.
        estimate
            "mean", "map", "medoid", "distilled" (after `distil`), or "ensemble" (averaged over at most `size` draws, a
            run each). On a noisy chip `repeats` runs are averaged in the place of each, as in the fit.
        """
        checked = check_inputs(inputs, self.chip.spec.layers[0])
        if check_estimate(estimate) == "ensemble":
            return run_draws(self.asked, self.draws, self.draws.spread(size), checked, self.repeats).mean(axis=0)
        return probabilities(self.asked, self.weights(estimate), checked, self.repeats, self.beta)

    def evaluate(self, inputs: FloatArray, labels: IntArray) -> dict[str, dict[str, float]]:
        """Accuracy, log score, calibration error and Brier score of each estimate."""
        checked = check_inputs(inputs, self.chip.spec.layers[0])
        labels = check_labels(labels, len(checked), self.chip.spec.layers[-1])
        return {estimate: evaluate(self.predict(checked, estimate), labels) for estimate in self.estimates}

    def as_dict(self) -> dict[str, Any]:
        """What `fit.json` holds; scores are at the top, as `test.ensemble.accuracy`."""
        return {
            "format": FORMAT,
            "versions": {
                "bayes_snn": self.version,
                "python": platform.python_version(),
                **{name: metadata.version(name) for name in PACKAGES},
            },
            "arguments": self.arguments,
            "chip": describe_chip(self.chip),
            "presentations": self.presentations,
            "cost": self.cost.as_dict(),
            "passes": self.passes,
            "presentations_saved": self.presentations_saved,
            "seconds": self.seconds,
            "compile_seconds": self.compile_seconds,
            "interrupted": self.interrupted,
            **({} if self.behaviour is None else {"behaviour": self.behaviour}),
            **({} if self.faults is None else {"faults": self.faults}),
            **({} if self.distilled is None else {"distilled": self.distilled}),
            **self.scores,
            "diagnosis": self.diagnosis.as_dict(),
        }

    def save(self, folder: str | Path, *, overwrite: bool = False) -> Path:
        """Write `posterior.nc` and `fit.json` into a folder, which is made when it is missing.

        Parameters
        ----------
        folder
            Where this fit was saved before, or read from, it is replaced without a question.
        overwrite
            Replace another fit that is in the folder; one that was stopped and could be resumed goes too.

        Raises
        ------
        InputError
            When the folder holds another fit, a fit is running in it, or it cannot be written to; files already there
            stay whole.
        """
        folder = Path(folder)
        unfinished = os.path.lexists(folder / CHECKPOINT / "lock")
        if self._stamp(folder) in self._stamps or not (unfinished or any(map(os.path.lexists, _own_files(folder)))):
            return self._write(folder)
        if not overwrite:
            state = "a fit that is running or was stopped" if unfinished else "another fit"
            raise InputError(
                f"{folder} holds {state}: give another folder, or save(..., overwrite=True) to replace it."
            )
        if not unfinished:
            return self._write(folder)
        from bayes_snn.checkpoint.checkpoint import Checkpoint  # it comes with PyMC, which other fits do not need

        checkpoint = Checkpoint(folder / CHECKPOINT)
        with checkpoint.locked():
            self._write(folder)
            checkpoint.discard()  # else it could be resumed, and would replace this fit
        return folder

    @staticmethod
    def _stamp(folder: Path) -> tuple[int, ...] | None:
        """What tells whether the fit in a folder is still the one that was written there or read; None without one."""
        try:
            found = os.stat(folder / "fit.json")
        except OSError:
            return None
        return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size

    def _write(self, folder: Path) -> Path:
        make_folder(folder)
        encoding = {
            f"/{group}": {name: {"zlib": True, "complevel": 1} for name in self.posterior[group].data_vars}
            for group in ("log_likelihood", "constant_data")
        }
        try:
            # made in memory: on a full disk HDF5 does not raise an error, it takes Python down with it
            content = netcdf_bytes(self.posterior, encoding=encoding)
        except OSError as error:
            raise InputError(
                f"{folder / POSTERIOR} cannot be written ({error.strerror or error}): {what_helps(error)} or "
                "give another folder."
            ) from error
        described = self.as_dict() | {"sha256": {POSTERIOR: hashlib.sha256(content).hexdigest()}}
        text = json.dumps(_finite(described), indent=2, allow_nan=False, default=str)

        def write_both(path: Path) -> None:
            path.write_text(text + "\n", encoding="utf-8")
            write_then_rename(folder / POSTERIOR, lambda temporary: temporary.write_bytes(content))

        # both are complete before either is renamed: an old fit.json never stands beside a new posterior.nc
        write_then_rename(folder / "fit.json", write_both)
        self._stamps.add(self._stamp(folder))
        return folder


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
        When posterior.nc is not the file that was written with fit.json.
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
    scores: dict[str, Any] = {part: stored[part] for part in ("train", "test", "baselines") if part in stored}
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
    )
    result._stamps.add(stamp)
    return result


def _own_files(folder: Path) -> tuple[Path, Path]:
    return folder / "posterior.nc", folder / "fit.json"


def _cost(stored: dict[str, Any], posterior: xr.DataTree) -> Presentations:
    """What the chip was shown for a stored fit; older fits tell training and the last distillation alone."""
    distilling = int(posterior[DISTILLED].attrs["presentations"]) if DISTILLED in posterior.children else 0
    known = stored.get("cost", {"distilling": distilling})
    others = {each.name: known.get(each.name, 0) for each in fields(Presentations)}
    return Presentations(**{**others, "training": stored["presentations"]})


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
        inputs = tree["constant_data"].dataset.get("inputs")
        if inputs is None or inputs.dims != ("observation", "pre_1") or inputs.shape[1] != spec.layers[0]:
            return f"it has no training inputs with {spec.layers[0]} features"
        if inputs.dtype.kind != "f" or not np.isfinite(inputs.values).all():
            return "its training inputs are no finite numbers"
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


def _wrong_extra(tree: xr.DataTree, spec: ChipSpec) -> str | None:
    """What is wrong with the groups that only some fits have."""
    if DISTILLED in tree.children:
        group = tree[DISTILLED].dataset
        agreement, shown = group.attrs.get("agreement"), group.attrs.get("presentations")
        if not isinstance(agreement, int | float) or not isinstance(shown, int) or shown < 0:
            return f"its group {DISTILLED} does not say what distilling took"
        for name, shape in zip(spec.weight_names, spec.weight_shapes, strict=True):
            if name not in group or group[name].shape != shape or not np.isfinite(group[name].values).all():
                return f"its group {DISTILLED} has no weights {name} of the shape {shape}"
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
                f"--chip {source} is a {found}, but {folder} was fitted on a {stored['class']}: give the fit's own."
            )
        return load_fit(folder, chip)
    if stored["class"] == LIFChip.__name__:
        return load_fit(folder)
    spec = spec_from({"drifting": False, **stored["spec"]})
    return load_fit(folder, AbsentChip(stored["class"], spec))












def _finite(value: Any) -> Any:
    """None in the place of nan and infinities, which JSON does not have."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_finite(item) for item in value]
    value = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(value, float) and not np.isfinite(value) else value
