"""The likelihood for steps that move all weights at once: each evaluation is a chip run, and none is done twice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pymc as pm

from bayes_snn.likelihood import Readout
from bayes_snn.posterior.build import weight_variables
from bayes_snn.posterior.readout import normal_bias
from bayes_snn.samplers.shared.ravelled import ravelled_function
from bayes_snn.samplers.shared.watch import Watched


def weights_function(
    model: pm.Model, variables: Any, shared: dict[Any, Any], point: dict[str, np.ndarray], **options: Any
) -> Callable[[np.ndarray], Sequence[np.ndarray]]:
    """What the chip is programmed with, one (n_pre, n_post) matrix a layer, from a step's variables, ravelled.

    `options` are those of `ravelled_function`.
    """
    matrices = model.replace_rvs_by_values(model.likelihood.weights)
    found: Callable[[np.ndarray], Sequence[np.ndarray]] = ravelled_function(
        matrices, variables, shared, point, on_unused_input="ignore", **options
    )
    return found


def readout_of_variables(
    model: pm.Model, variables: Any, shared: dict[Any, Any], point: dict[str, np.ndarray]
) -> Callable[[np.ndarray], Readout]:
    """The readout from a step's variables, ravelled; of one that is fixed it is that."""
    likelihood = model.likelihood
    if likelihood.fixed is not None:
        return lambda q: likelihood.fixed
    if (known := normal_bias(model)) is not None and known.value in variables:
        sizes = [int(np.size(point[value.name])) for value in variables]
        first = sum(sizes[: list(variables).index(known.value)])
        return lambda q: Readout(known.beta, np.array(q[first : first + len(known.means)], np.float64))
    graphs = model.replace_rvs_by_values([likelihood.beta, likelihood.bias])
    function = ravelled_function(graphs, variables, shared, point, on_unused_input="ignore")

    def readout(q: np.ndarray) -> Readout:
        beta, bias = function(q)
        return Readout(float(beta), np.array(bias, np.float64))

    return readout


class CarriedLikelihood:
    """log L of weights, (n_weights,) -> float, ravelled and joined; its value at the chain's current point is carried.

    On a chip that answers differently each time the current point keeps its answer until a proposal is accepted,
    whatever the Op remembers, so that the chain is pseudo-marginal; or it is run again at each proposal, as `op.noise`
    says.

    Parameters
    ----------
    model, variables
        The model and the value variables of the step.
    shared
        Shared variables in the place of all other value variables.
    point
        Any point, for shapes.
    """

    def __init__(
        self,
        model: pm.Model,
        variables: Any,
        shared: dict[Any, Any],
        point: dict[str, np.ndarray],
        compile_kwargs: dict[str, Any] | None = None,
    ) -> None:
        likelihood = model.logp(vars=[model.likelihood.label])
        self.function = ravelled_function(likelihood, variables, shared, point, **(compile_kwargs or {}))
        self._op = model.likelihood.op
        varies = model.likelihood.fixed is None
        # the Op keeps the counts of the current point: an estimate on a noisy chip, and where the readout moves as well
        keeps = varies or not self._op.chip.spec.deterministic
        self._weights_at = weights_function(model, variables, shared, point) if keeps else None
        # where log L depends on other variables too, they may have moved since the last draw
        self._alone = not varies and set(weight_variables(model)) <= set(variables)
        self._last: tuple[np.ndarray, float] | None = None

    def answers_at(self, q: np.ndarray) -> np.ndarray:
        """What the chip answers there, where the readout moves as well: counts (n_runs, n_samples, n_classes)."""
        assert self._weights_at is not None
        return self._op.evaluate(self._weights_at(q))  # type: ignore[no-any-return]

    def __call__(self, q: np.ndarray) -> float:
        """A chip run."""
        return float(self.function(q))

    def current(self, q: np.ndarray) -> float:
        """Of the point that a draw begins at: from the last draw, which saves a run, or evaluated."""
        if self._alone and self._last is not None and np.array_equal(q, self._last[0]):
            return self._last[1]
        return self(q)

    def at_proposal(self, q: np.ndarray, value: float) -> float:
        """Of the current point, for a proposal to be compared with: the value it has, or that of another run.

        The proposal comes next: on a noisy chip it must not find what an earlier proposal, since rejected, was given.
        """
        if self._weights_at is None:
            return value
        if self._op.noise.refreshes:
            self._op.forget()
            return self(q)
        self._op.keep(self._weights_at(q))
        return value

    def carry(self, q: np.ndarray, value: float) -> None:
        """Keep the value of the point that a draw ends at, for the next one."""
        self._last = (q, value)

    def checkpoint_state(self) -> tuple[np.ndarray, float] | None:
        """The point that is carried and its value."""
        return self._last

    def restore_state(self, state: tuple[np.ndarray, float] | None) -> None:
        """Carry what was carried then; a `ValueError` where that is no point and value."""
        if state is not None:
            q, value = state
            if not isinstance(q, np.ndarray) or not isinstance(value, float):
                raise ValueError("a carried likelihood is an array and a number")
        self._last = state

    def forget(self) -> None:
        """Carry nothing into a new chain."""
        self._last = None


class Carrying(Watched):
    """Mixin of the step methods that carry log L of the current point from draw to draw, in `log_likelihood`."""

    log_likelihood: CarriedLikelihood

    def setup_chain(self, rng: Any, tune: int, draws: int) -> None:
        super().setup_chain(rng, tune, draws)
        self.log_likelihood.forget()

    def checkpoint_state(self) -> dict[str, Any]:
        return {**super().checkpoint_state(), "likelihood": self.log_likelihood.checkpoint_state()}

    def restore_state(self, state: dict[str, Any]) -> None:
        super().restore_state(state)
        self.log_likelihood.restore_state(state["likelihood"])

    def go_on_from(self, weights: Any, counts: np.ndarray) -> None:
        super().go_on_from(weights, counts)
        self.log_likelihood.forget()  # and then finds what the Op remembers
