"""A chip as a scikit-learn classifier: pipelines, cross-validation and grid search over a chip trained by `fit`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from bayes_snn.chips.contract import Chip, check_chip
from bayes_snn.chips.lif.chip import LIFChip
from bayes_snn.data import add_bias, bias_name
from bayes_snn.errors import InputError
from bayes_snn.estimates.predict import DISTILLED, check_estimate
from bayes_snn.inference.fit import fit
from bayes_snn.inference.sampling import Sampling
from bayes_snn.names import AUTO, PSEUDO_MARGINAL
from bayes_snn.posterior.priors import PriorFunction

ChipFactory = Callable[[tuple[int, ...]], Chip]

_LARGEST_SEED = 2**31 - 1


class BayesSNNClassifier(ClassifierMixin, BaseEstimator):
    """Train a chip by Metropolis-Hastings sampling and predict with the posterior of its weights.

    The data say how many inputs and classes there are; so the estimator takes not a chip but a function that makes one
    of given layers. Put a `StandardScaler` in front: input currents are in units of the threshold.

    Parameters
    ----------
    chip
        A function (layers) -> chip, called once in `fit` with the neurons of each layer, inputs first; for example
        `functools.partial(LIFChip, distortion="comparator", sigma=3.0, seed=0)`, which unlike a lambda can be pickled.
        None for an ideal `LIFChip`.
    hidden
        Hidden neurons: a number, or one for each hidden layer, () for none.
    bias
        Whether the chip has one more input, a constant current, beside those of the features: without it, standardised
        data have their middle where the chip tells nothing apart.
    weights
        The prior: the name or path of a model file, or a function `weights(chip)`.
    class_weight
        How often the samples of a class count: "balanced", or a dict {label: number}; once by default.
    sampler, budget, draws, tune, chains, cores, noise, repeats, remeasure, until
        As in `fit`; but `cores` is 1, for scikit-learn's tools run estimators in parallel themselves.
    estimate
        What predicts: "ensemble", "mean", "map", "medoid", or "stacked" of chains with 25 draws at least; setting one
        of these after `fit` needs no new fit. Or "distilled", one set of weights that `fit` then trains to answer as
        the ensemble does.
    random_state
        A whole number is the `seed` of `fit`. A RandomState draws one at every fit, None takes NumPy's global one.

    Attributes
    ----------
    result_
        The `FitResult`: posterior, diagnosis, presentations. Its labels are positions in `classes_`.
    chip_
        The chip that was trained.
    classes_
        (n_classes,) sorted labels.
    n_features_in_, feature_names_in_
        Number of features, and their names where X was a DataFrame.

    Notes
    -----
    Chains that have not converged raise no warning, as in `fit`: read `result_.diagnosis.verdict`.
    """

    def __init__(
        self,
        chip: ChipFactory | None = None,
        hidden: int | Sequence[int] = 16,
        *,
        bias: bool = True,
        weights: str | Path | PriorFunction = "gaussian",
        class_weight: str | Mapping[Any, float] | None = None,
        sampler: str = AUTO,
        budget: int | None = None,
        draws: int | None = None,
        tune: int | None = None,
        chains: int | None = None,
        cores: int | None = 1,
        noise: str = PSEUDO_MARGINAL,
        repeats: int = 1,
        remeasure: int | None = None,
        until: str | int | None = None,
        estimate: str = "ensemble",
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.chip = chip
        self.hidden = hidden
        self.bias = bias
        self.weights = weights
        self.class_weight = class_weight
        self.sampler = sampler
        self.budget = budget
        self.draws = draws
        self.tune = tune
        self.chains = chains
        self.cores = cores
        self.noise = noise
        self.repeats = repeats
        self.remeasure = remeasure
        self.until = until
        self.estimate = estimate
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> BayesSNNClassifier:
        """Train a new chip.

        Parameters
        ----------
        X
            (n_samples, n_features) finite numbers, at most 1e6 in size; standardise them first.
        y
            (n_samples,) labels of any type, of at least two classes.
        sample_weight
            (n_samples,) how often each sample counts in the likelihood, numbers >= 0; once by default.

        Raises
        ------
        InputError
            When an argument cannot be used; it is a ValueError.
        ValueError, TypeError
            scikit-learn's own, for X and y.
        ChipError
            When the chip answers something else than spike counts.
        KeyboardInterrupt
            On Ctrl-C; if there were draws to keep, `result_` holds them and the estimator predicts.
        """
        check_estimate(self.estimate)
        inputs, y = validate_data(self, X, y, dtype=np.float64)
        check_classification_targets(y)
        self.classes_, labels = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise InputError(
                f"y holds one class only, {self.classes_.tolist()[0]!r}, but there must be two classes at least to "
                "tell apart: pass samples of another class as well."
            )
        self.chip_ = self._make_chip(
            (self.n_features_in_ + self._has_bias(), *self._hidden_layers(), len(self.classes_))
        )
        names = getattr(self, "feature_names_in_", None)
        names = None if names is None else [str(name) for name in names]
        if names is not None and self.bias:
            names.append(bias_name(names))
        seed = self._seed()
        sampling = Sampling(
            self.sampler,
            self.draws,
            self.tune,
            self.chains,
            seed,
            self.cores,
            self.noise,
            self.repeats,
            self.remeasure,
            self.budget,
            self.until,
        )
        self.result_ = fit(
            self.chip_,
            self.shown(inputs),
            labels,
            self.weights,
            **sampling.keywords(),
            sample_weight=sample_weight,
            class_weight=self._class_weight(),
            feature_names=names,
            class_names=[str(label) for label in self.classes_],
        )
        if self.result_.interrupted:  # or else Ctrl-C would end one fit of a grid search after the other
            raise KeyboardInterrupt
        if self.estimate == DISTILLED:
            self.result_.distil(seed=seed)
        return self

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:
        """Class probabilities (n_samples, n_classes), in the order of `classes_`, through the chip.

        An ensemble costs a run for each draw, 200 at most; any other estimate one run.
        """
        check_is_fitted(self)
        inputs = validate_data(self, X, dtype=np.float64, reset=False)
        return self.result_.predict(self.shown(inputs), self.estimate)

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """The most probable class of each sample, (n_samples,); of several, the first in `classes_`."""
        most_probable = self.predict_proba(X).argmax(axis=1)
        return np.asarray(self.classes_[most_probable])

    def shown(self, X: ArrayLike) -> NDArray[np.float64]:
        """What the chip is shown of samples (n_samples, n_features): they, and with `bias` a column of ones.

        These are the inputs that whatever takes `result_` expects.
        """
        inputs = np.asarray(X, np.float64)
        return add_bias(inputs) if self._has_bias() else inputs

    def _has_bias(self) -> bool:
        if not isinstance(self.bias, bool | np.bool_):
            raise InputError(f"bias was {self.bias!r}, but True or False is expected: leave it out for True.")
        return bool(self.bias)

    def _class_weight(self) -> Any:
        """`class_weight` by position in `classes_`."""
        if not isinstance(self.class_weight, Mapping):
            return self.class_weight
        places = {label: place for place, label in enumerate(self.classes_.tolist())}
        if unknown := [label for label in self.class_weight if label not in places]:
            raise InputError(
                f"class_weight has a weight for {unknown[0]!r:.40}, but y has the classes {list(places)!r:.80}: leave "
                "it out."
            )
        return {places[label]: weight for label, weight in self.class_weight.items()}

    def _hidden_layers(self) -> tuple[int, ...]:
        hidden = self.hidden
        layers = (hidden,) if isinstance(hidden, int | np.integer) else hidden
        valid = isinstance(layers, Sequence | np.ndarray) and not isinstance(layers, str)
        if not valid or any(isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1 for n in layers):
            raise InputError(
                f"hidden was {hidden!r}, but a positive number of neurons is expected, or one for each hidden layer: "
                "try 16, or (16, 8)."
            )
        return tuple(int(n) for n in layers)

    def _make_chip(self, layers: tuple[int, ...]) -> Chip:
        if self.chip is None:
            return LIFChip(layers)
        if not callable(self.chip):
            raise InputError(
                f"chip was {self.chip!r}, but a function that makes a chip of given layers is expected: pass "
                "lambda layers: LIFChip(layers), or one that returns your own chip."
            )
        chip = check_chip(self.chip(layers))
        if chip.spec.layers != layers:
            raise InputError(
                f"The chip that was made has layers {chip.spec.layers}, but X, bias, hidden and y ask for {layers}: "
                "hand the layers on to the chip, or select features and set bias and hidden to fit it."
            )
        return chip

    def _seed(self) -> int:
        if isinstance(self.random_state, int | np.integer):
            return int(self.random_state)
        return int(check_random_state(self.random_state).randint(_LARGEST_SEED))
