"""A fit: the posterior, what it predicts, what it cost, and how it is kept in a folder.

A folder holds `posterior.nc` (an ArviZ DataTree: posterior, sample_stats, log_likelihood, log_prior, outputs,
observed_data, constant_data), `fit.json` (arguments, chip, versions, presentations, scores, diagnosis) and, of a fit
with a twin, the folder `twin`. Every file is written under a temporary name and then renamed, so that none is ever
half-written.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from bayes_snn.chips.contract import Chip, FloatArray, IntArray, check_inputs, check_labels
from bayes_snn.chips.describe import describe_chip
from bayes_snn.chips.presentations import AnswerMemory, Presentations, RememberingChip
from bayes_snn.errors import InputError, unknown_name
from bayes_snn.estimates.metrics import evaluate, recall
from bayes_snn.estimates.predict import (
    DISTIL_INPUTS,
    DISTIL_SWEEPS,
    DISTILLED,
    ENSEMBLE_SIZE,
    ESTIMATES,
    OF_MANY,
    STACKED,
    Draws,
    Weights,
    best_draw,
    check_estimate,
    medoid_draw,
    probabilities,
    run_draws,
)
from bayes_snn.files import (
    make_folder,
    netcdf_bytes,
    what_helps,
    write_then_rename,
)
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
    UNRESPONSIVE,
)
from bayes_snn.inference.diagnostics import Diagnosis, diagnose, total_log_likelihood, unresponsive
from bayes_snn.inference.faults import fault_counts
from bayes_snn.inference.fit_summary import describe_result, summarise
from bayes_snn.inference.kept_twin import keep_twin
from bayes_snn.inference.stacking import FEWEST_DRAWS, chain_weights, is_worth_stacking
from bayes_snn.inference.twin_checks import twin_checks
from bayes_snn.likelihood import BETA, Readout
from bayes_snn.names import CHECKPOINT, ENDED
from bayes_snn.posterior.noisy import PSEUDO_MARGINAL, NoiseChoice
from bayes_snn.version import PACKAGES, __version__

if TYPE_CHECKING:
    from bayes_snn.posterior.priors import PriorFunction, ReadoutFunction

FORMAT = 1  # of a fit folder
POSTERIOR = "posterior.nc"
PLACES = ("twin", "chip")  # where an ensemble can be distilled


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
    note
        Which sampler was chosen and why, where it was chosen.
    twin, twin_check
        The twin that was sampled, None of a fit without one; how it was learned, and how far its log-likelihood was
        from the chip's (`spread`) at draws that were checked before the sampling.
    programmings
        Times that the chip's weights were written for learning and training; None where it was not counted.
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
    note: str = ""
    twin: Any = field(default=None, repr=False, compare=False)
    twin_check: dict[str, Any] | None = None
    programmings: int | None = None
    memory: AnswerMemory = field(default_factory=AnswerMemory, init=False, repr=False, compare=False)
    _stamps: set[tuple[int, ...] | None] = field(default_factory=set, init=False, repr=False, compare=False)

    @property
    def presentations(self) -> int:
        """Samples shown for training, warm-up and the learning of a twin included; `cost` has all others."""
        return self.cost.training + self.cost.learning

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
        self,
        draws: int = ENSEMBLE_SIZE,
        seed: int = 0,
        weights: str | Path | PriorFunction | None = None,
        readout: ReadoutFunction | None = None,
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
        weights, readout
            The prior, where it was a function or a model file of your own, and the readout, where it was a function.

        Raises
        ------
        InputError
            When the prior is not known, or cannot be drawn from.
        """
        from bayes_snn.inference.predictive import (
            add_predictive,  # it comes with PyMC, which reading a fit does not need
        )

        add_predictive(self, draws, seed, weights, readout)

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

    def readout(self, estimate: str = "mean") -> Readout:
        """What is made of spike counts in the predictions of an estimate, any but "ensemble": scale and class biases.

        Where the readout was drawn with the weights, `mean` has its posterior mean, and a draw its own.
        """
        if check_estimate(estimate) == DISTILLED and DISTILLED in self.posterior.children:
            stored = self.posterior[DISTILLED].dataset
            if SCALE in stored:
                return Readout(float(stored[SCALE]), stored[BIAS].values)
        if estimate in ("map", "medoid") and np.ndim(self.draws.bias):
            return self.draws.readout(best_draw(self.draws) if estimate == "map" else self._medoid)
        return self.draws.mean_readout()

    @property
    def presentations_per_effective_draw(self) -> float:
        """`presentations` over the effective draws of predictions and log-likelihood, the lesser of the two.

        nan of a fit of too few draws to tell.
        """
        effective = self.diagnosis.effective_draws
        return self.presentations / effective if effective > 0 else float("nan")

    @property
    def presentations_saved(self) -> int:
        """Samples that were not shown because a proposal was lost already; 0 for a sampler that shows them all."""
        stats = self.posterior.sample_stats
        return int(stats["saved"].isel(draw=-1).sum()) if "saved" in stats else 0

    @property
    def faults(self) -> dict[str, int] | None:
        """Faults of the chip's link in the fit, by kind; None when the chip was no `Link`. The group has them all."""
        return fault_counts(self.posterior)

    @property
    def log_likelihood(self) -> xr.DataArray:
        """log L of each draw, dims (chain, draw)."""
        return total_log_likelihood(self.posterior.log_likelihood["label"], self.sample_weight)

    @cached_property
    def draws(self) -> Draws:
        """Draws of the weights, chains one after the other."""
        posterior = self.posterior.posterior.dataset
        weights = [posterior[name].values for name in self.chip.spec.weight_names]
        prior = sum(array.values for array in self.posterior.log_prior.dataset.values())
        logp = prior + self.log_likelihood.values
        if OTHER_TERMS in self.posterior.children:
            logp = logp + sum(array.values for array in self.posterior[OTHER_TERMS].dataset.values())
        readout: tuple[Any, Any] = float(self.arguments.get("beta") or BETA), 0.0
        if posterior.attrs.get(READOUT):
            scale = posterior[SCALE].values.ravel() if SCALE in posterior else float(posterior.attrs[SCALE])
            readout = scale, posterior[BIAS].values.reshape(-1, self.chip.spec.layers[-1])
        return Draws([layer.reshape(-1, *layer.shape[2:]) for layer in weights], np.ravel(logp), *readout)

    @cached_property
    def diagnosis(self) -> Diagnosis:
        """R-hat, effective draws and a verdict."""
        weights = self.posterior.posterior.dataset[[*self.chip.spec.weight_names, *self._of_readout()]]
        looks = self.posterior[REMEASURED].dataset if REMEASURED in self.posterior.children else None
        constant = self.posterior[OUTPUTS].dataset[CONSTANT] if OUTPUTS in self.posterior.children else None
        stats = self.posterior["sample_stats"].dataset if "sample_stats" in self.posterior.children else {}
        likelihood, diverging = self.posterior.log_likelihood["label"], stats.get("diverging")
        checks = twin_checks(self.posterior)
        inputs = self.train_inputs
        has_bias = bool(((inputs == inputs[0]).all(axis=0) & (inputs[0] != 0)).any())
        found = diagnose(
            *(weights, likelihood, looks, constant, diverging, self._hyperparameters(), checks, has_bias),
            sample_weight=self.sample_weight,
        )
        outputs = self.posterior[OUTPUTS].attrs if OUTPUTS in self.posterior.children else {}
        return unresponsive(found) if outputs.get(UNRESPONSIVE) else found

    def _hyperparameters(self) -> xr.Dataset:
        """All variables of the prior but the weights and the readout, and but what stands for single weights: their
        levels, say."""
        posterior, names = self.posterior.posterior.dataset, self.chip.spec.weight_names
        shapes, known = {posterior[name].shape for name in names}, {*names, *self._of_readout()}
        others = [name for name, array in posterior.items() if name not in known and array.shape not in shapes]
        found: xr.Dataset = posterior[[name for name in others if np.issubdtype(posterior[name].dtype, np.number)]]
        return found

    def _of_readout(self) -> tuple[str, ...]:
        """Variables of the readout, which belong to the weights as those of a last layer do."""
        posterior = self.posterior.posterior
        return tuple(name for name in (SCALE, BIAS) if posterior.attrs.get(READOUT) and name in posterior)

    @property
    def distilled(self) -> dict[str, Any] | None:
        """What `distil` found, in numbers; None where it was not called. The group has the weights.

        `agreement` and `presentations`; where it was searched on a twin, `twin_agreement`, `differing` and `wrong` too.
        """
        if DISTILLED not in self.posterior.children:
            return None
        return {str(name): value for name, value in self.posterior[DISTILLED].attrs.items()}

    @property
    def estimates(self) -> tuple[str, ...]:
        """The estimates that are scored: four, "stacked" of chains that have not mixed, "distilled" after `distil`."""
        stacked = (STACKED,) if is_worth_stacking(self.diagnosis) else ()
        return (*ESTIMATES, *stacked, *(() if self.distilled is None else (DISTILLED,)))

    @cached_property
    def chain_weights(self) -> NDArray[np.float64]:
        """Weight of each chain in the estimate "stacked", (n_chains,).

        Raises
        ------
        InputError
            When the chains are too short.
        """
        terms: Any = self.posterior.log_likelihood["label"]
        if terms.sizes["draw"] < FEWEST_DRAWS:
            raise InputError(
                f"The chains have {terms.sizes['draw']} draws, but to weigh them takes {FEWEST_DRAWS}: draw more, or "
                "take estimate 'ensemble'."
            )
        return chain_weights(terms, self.sample_weight)

    def distil(
        self, n_inputs: int = DISTIL_INPUTS, sweeps: int = DISTIL_SWEEPS, seed: int = 0, *, on: str | None = None
    ) -> Weights:
        """Train one set of weights to answer as the ensemble does: from then on there is the estimate "distilled".

        It is one set to program, as `mean`, `map` and `medoid` are, but nearly as accurate as the ensemble. It takes
        further presentations, which `cost` keeps apart from those of training. `distilled` has those of the last
        call, and the share of inputs that the chip answers as the ensemble does.

        A fit with a twin is distilled on the twin, ensemble and search, at no presentation; the chip is then shown the
        inputs once. `distilled` has the share of them that the chip answers otherwise than its twin, `differing`, and
        that of the output counts that the twin has wrong, `wrong`. Where `differing` is above 2%, the twin errs too
        much: take `on="chip"`.

        The weights stay where the prior lets them be: bounds and signs are kept, and weights that the prior fixes, or
        makes multiples of each other, stay as in the draw that distilling starts at.

        Parameters
        ----------
        n_inputs
            Inputs around the training inputs that the ensemble is asked about; see `bayes_snn.estimates.distil`. 0 for
            a chip whose inputs cannot be moved a little, such as whole numbers of events; always 0 for one that says
            `given_inputs`.
        sweeps
            Sweeps over all weights.
        seed
            Of the inputs and the sweeps.
        on
            "twin" or "chip", where to search; by default on the twin, if the fit has one.

        Returns
        -------
        The weights, (n_pre, n_post) for each layer; also kept in the fit, and saved with it.
        """
        from bayes_snn.estimates.distil import distil

        if on not in (None, *PLACES):
            raise unknown_name("place to distil", str(on), PLACES)
        if on == "twin" and self.twin is None:
            raise InputError(
                "The ensemble was to be distilled on a twin, but this fit has none: take on='chip', or leave it out."
            )
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
            twin=None if on == "chip" else self.twin,
        )
        self.charge("distilling", found.presentations)
        spec = self.chip.spec
        names = zip(spec.weight_names, spec.weight_dims, found.weights, strict=True)
        dataset = xr.Dataset({name: (dims, layer) for name, dims, layer in names})
        posterior = self.posterior.posterior
        if posterior.attrs.get(READOUT):
            dataset[SCALE], dataset[BIAS] = found.readout.beta, (posterior[BIAS].dims[2:], found.readout.bias)
        dataset = dataset.assign_coords({dim: posterior[dim].values for dim in dataset.dims if dim in posterior.coords})
        attrs = {"agreement": found.agreement, "presentations": found.presentations}
        if (told := found.on_twin) is not None:
            attrs |= {"twin_agreement": told.agreement, "differing": told.differing, "wrong": told.wrong}
        self.posterior[DISTILLED] = xr.DataTree(dataset.assign_attrs(attrs))
        return found.weights

    @cached_property
    def _medoid(self) -> int:
        return medoid_draw(self.asked, self.draws, self.train_inputs, repeats=self.repeats)

    def weights(self, estimate: str = "mean") -> Weights:
        """The one set of weights to program: any estimate but "ensemble"; (n_pre, n_post) for each layer."""
        if check_estimate(estimate) in OF_MANY:
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
            "mean", "map", "medoid", "distilled" (after `distil`), "ensemble" (averaged over at most `size` draws, a
            run each) or "stacked" (the same draws, with a weight for each chain). On a noisy chip `repeats` runs are
            averaged in the place of each, as in the fit.
        """
        checked = check_inputs(inputs, self.chip.spec.layers[0])
        if check_estimate(estimate) in OF_MANY:
            stacked = estimate == STACKED
            chosen = self.draws.spread(max(size, len(self.chain_weights)) if stacked else size)
            each = run_draws(self.asked, self.draws, chosen, checked, self.repeats)
            return np.average(each, axis=0, weights=self._stacked(chosen)) if stacked else each.mean(axis=0)
        return probabilities(self.asked, self.weights(estimate), checked, self.repeats, self.readout(estimate))

    def _stacked(self, chosen: NDArray[np.int64]) -> NDArray[np.float64]:
        """Weights of draws by the weights of their chains."""
        chains = chosen // self.posterior.posterior.sizes["draw"]
        each = np.bincount(chains, minlength=len(self.chain_weights))
        return np.asarray(self.chain_weights[chains] / each[chains])

    def evaluate(self, inputs: FloatArray, labels: IntArray) -> dict[str, dict[str, float]]:
        """Scores of each estimate by name, as `bayes_snn.estimates.metrics.evaluate` gives them."""
        checked = check_inputs(inputs, self.chip.spec.layers[0])
        labels = check_labels(labels, len(checked), self.chip.spec.layers[-1])
        return {estimate: evaluate(self.predict(checked, estimate), labels) for estimate in self.estimates}

    def by_class(
        self, inputs: FloatArray, labels: IntArray, estimate: str = "ensemble"
    ) -> dict[str, dict[str, float | None]]:
        """Samples and recall of each class, by its name; a class without samples has None for it."""
        checked = check_inputs(inputs, self.chip.spec.layers[0])
        labels = check_labels(labels, len(checked), self.chip.spec.layers[-1])
        found = recall(self.predict(checked, estimate), labels)
        samples = np.bincount(labels, minlength=len(self.classes))
        return {
            name: {"samples": int(n), "recall": float(share) if n else None}
            for name, n, share in zip(self.classes, samples, found, strict=True)
        }

    @property
    def sample_weight(self) -> NDArray[np.float64] | None:
        """How often each training sample counts in the likelihood, (n_samples,); None where each counts once."""
        found = self.posterior.constant_data.dataset
        return np.asarray(found[SAMPLE_WEIGHT].values, np.float64) if SAMPLE_WEIGHT in found else None

    @property
    def classes(self) -> list[str]:
        """Names of the classes, numbers where they have none."""
        posterior = self.posterior.posterior
        last = self.chip.spec.weight_dims[-1][1]
        names = posterior[last].values if last in posterior.coords else range(self.chip.spec.layers[-1])
        return [str(name) for name in names]

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
            "presentations_per_effective_draw": self.presentations_per_effective_draw,
            "seconds": self.seconds,
            "compile_seconds": self.compile_seconds,
            "interrupted": self.interrupted,
            **({} if self.behaviour is None else {"behaviour": self.behaviour}),
            **({"note": self.note} if self.note else {}),
            **({} if self.twin_check is None else {"twin": self.twin_check}),
            **({} if self.programmings is None else {"programmings": self.programmings}),
            **({} if self.faults is None else {"faults": self.faults}),
            **({} if self.distilled is None else {"distilled": self.distilled}),
            **self.scores,
            "diagnosis": self.diagnosis.as_dict(),
        }

    def save(self, folder: str | Path, *, overwrite: bool = False) -> Path:
        """Write `posterior.nc`, `fit.json` and the twin, if any, into a folder, which is made when it is missing.

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
        shutil.rmtree(folder / ENDED, ignore_errors=True)  # of the fit that is replaced
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

        keep_twin(self.twin, folder)
        # both are complete before either is renamed: an old fit.json never stands beside a new posterior.nc
        write_then_rename(folder / "fit.json", write_both)
        self._stamps.add(self._stamp(folder))
        return folder


def _own_files(folder: Path) -> tuple[Path, Path]:
    return folder / "posterior.nc", folder / "fit.json"


def _finite(value: Any) -> Any:
    """None in the place of nan and infinities, which JSON does not have."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_finite(item) for item in value]
    value = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(value, float) and not np.isfinite(value) else value
