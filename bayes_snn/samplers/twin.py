"""`twin`: draws on a twin of the chip, each of them checked on the chip.

A twin costs nothing, so a chain moves far on it between two looks at the chip: from weights W by a move that is
reversible with respect to the twin's posterior, whose likelihood is raised to a power p, to W'. The chip is shown W',
and W' is accepted with probability

    min(1, [L_chip(W') / L_chip(W)] [L_twin(W) / L_twin(W')]^p)

so that the draws are from the chip's posterior, whatever is wrong with the twin (surrogate transition: Liu, Monte Carlo
Strategies, 2001; delayed acceptance: Christen and Fox, J. Comput. Graph. Stat. 14, 2005). What is wrong with it costs
rejections alone: with s the standard deviation of log L_chip - p log L_twin, about 2 Phi(-s / sqrt 2) of the checks are
accepted. On a noisy chip L_chip is an estimate, which stands until another is accepted (pseudo-marginal).

In the warm-up a chain moves on the twin alone, by replica exchange, and learns step sizes and powers; the chip is not
shown anything, and steps on hyperparameters that ask for log L are answered by the twin. All of it is frozen before the
first kept draw, which is where the chain begins on the chip.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import pymc as pm
from numpy.typing import NDArray
from pymc.blocking import RaveledVars
from pymc.pytensorf import make_shared_replacements
from pymc.step_methods.arraystep import ArrayStepShared
from pymc.step_methods.compound import Competence, StepMethodState
from pymc.step_methods.state import dataclass_state

from bayes_snn.chips.contract import Chip, FloatArray, frozen
from bayes_snn.chips.presentations import Programmings
from bayes_snn.errors import InputError
from bayes_snn.groups import COUNTS, GAP, NOTHING, PROGRAMMINGS
from bayes_snn.likelihood import Readout
from bayes_snn.posterior.build import weight_variables, weights_at
from bayes_snn.posterior.readout import readout_function, readout_variables, with_readout_variables
from bayes_snn.samplers.block import Block
from bayes_snn.samplers.shared.carried import readout_of_variables, weights_function
from bayes_snn.samplers.shared.directional import DirectionalMetropolis, why_not_directional
from bayes_snn.samplers.shared.joint import JointMetropolis
from bayes_snn.samplers.shared.prior import is_discrete, why_not_on_grid, why_not_separable
from bayes_snn.samplers.shared.replicas import N_REPLICAS, Replicas
from bayes_snn.samplers.shared.sweepers import block_ends
from bayes_snn.samplers.shared.watch import Watched
from bayes_snn.samplers.shared.with_readout import WithReadout, joined_dtype
from bayes_snn.samplers.sitewise import SitewiseMetropolis, warming
from bayes_snn.samplers.sitewise_grid import GridMetropolis
from bayes_snn.twins.contract import check_twin

N_MOVES = 20  # of all replicas, to a draw
N_FIRST = 3  # draws of the first one in each: on most chips it mixes by itself
TEMPERED = 0.4  # share of the warm-up that is tempered

Counts = NDArray[np.int64]


@dataclass_state
class TwinState(StepMethodState):
    """What is needed to continue: how far the warm-up is."""

    tune: bool
    n_tune: int
    n_done: int


class TwinMetropolis(Watched, ArrayStepShared):
    """Delayed acceptance; a draw is `n_moves` moves on the twin and one look at the chip.

    Parameters
    ----------
    vars
        Value variables of the weights; those of the readout are moved with them.
    twin
        A twin of the chip, or any chip that shall stand in for one.
    power
        Power p of the twin's likelihood; below 1 where the twin is surer than it should be.
    n_moves
        Moves of all replicas to a draw.
    n_replicas
        Replicas on the twin, 1 for none beside the chain.
    n_first
        Draws of the first one in each move; an odd number.

    Raises
    ------
    InputError
        When the twin takes other weights or inputs than the chip.
    """

    name = "twin_metropolis"
    default_blocked = True
    stats_dtypes_shapes: ClassVar[dict[str, Any]] = {
        "accept": (np.float64, []),
        "log_likelihood": (np.float64, []),
        GAP: (np.float64, []),
        PROGRAMMINGS: (np.int64, []),
        **Watched.stats_dtypes_shapes,
    }
    _state_class = TwinState

    def __init__(
        self,
        vars: Any = None,
        *,
        twin: Chip | None = None,
        power: float = 1.0,
        n_moves: int = N_MOVES,
        n_replicas: int = N_REPLICAS,
        n_first: int = N_FIRST,
        model: pm.Model | None = None,
        rng: Any = None,
        initial_point: Any = None,
        compile_kwargs: dict[str, Any] | None = None,
        blocked: bool = True,
    ) -> None:
        model = pm.modelcontext(model)
        names, vars = [value.name for value in vars], with_readout_variables(model, vars)
        self.find_op(model)
        if twin is None:
            raise InputError(
                "Sampler 'twin' came without a twin of the chip: make one with learn_twin(chip), or call "
                "fit(sampler='twin'), which does."
            )
        check_twin(twin, self.op.chip)
        point = model.initial_point() if initial_point is None else initial_point
        shared = make_shared_replacements(point, vars, model)
        self._labels = model.likelihood.target
        self._weights_at = weights_function(model, vars, shared, point)
        self._readout_of = readout_of_variables(model, vars, shared, point)
        self.twin = twin
        self._twin_model = model.likelihood.on(twin)
        self._model = model
        mover = make_mover(self._twin_model, names)
        self._twin_op = self._twin_model.likelihood.op
        self.replicas = Replicas(mover, n_replicas, power, n_first)
        self.n_moves = int(n_moves)
        self.tempers = True  # not where chains begin at draws from the twin's posterior
        self._in_blocks = bool(getattr(self.op.chip, "subsets", False)) and self.op.chip.spec.deterministic
        self._current: Counts | None = None
        self._programmings = Programmings()
        shape = (self.op.noise.repeats, len(self._labels), self.op.chip.spec.layers[-1])
        self._nothing = np.full(shape, -1, np.int32)  # the counts of draws that the chip was not shown
        super().__init__(vars, shared, blocked=blocked, rng=rng)
        self.tune = True
        self.n_tune = self.n_done = 0
        self.dtype = joined_dtype(vars)
        self.stats_dtypes_shapes = {  # type: ignore[misc]
            **self.stats_dtypes_shapes,
            COUNTS: (object, []),  # PyMC records arrays as objects alone
        }
        self.stats_dtypes = [{name: dtype for name, (dtype, _) in self.stats_dtypes_shapes.items()}]

    def reset_tuning(self) -> None:
        """Forget what was learned."""
        self.replicas.begin()
        self.n_done = 0

    def setup_chain(self, rng: Any, tune: int, draws: int) -> None:
        super().setup_chain(rng, tune, draws)
        self.n_tune = tune
        self.reset_tuning()
        self._current = None
        self.op.stand_in = self.twin
        self._programmings = Programmings()

    def look(self, point: dict[str, Any]) -> dict[str, float]:
        """In the warm-up the chip is not shown anything."""
        return NOTHING if self.tune else super().look(point)

    def astep(self, q0: RaveledVars) -> tuple[RaveledVars, list[dict[str, Any]]]:
        q = np.array(q0.data, dtype=self.dtype)
        values = {name: shared.get_value() for name, shared in self.shared.items()}
        # 1. move on the twin, reversibly; in the warm-up there is nothing more to a draw
        was = self.replicas.state()
        learn = self.tune
        new = self.replicas.move(q, values, self.rng, self.n_moves, learn, self._warming())
        self.n_done += 1
        if learn:
            self._current = None
            return self._end(new, q0, 1.0, float("nan"))
        # 2. the first kept draw is where the chain begins on the chip: there is nothing to compare it with
        if self._current is None:
            self.op.stand_in = None
            self._current = self._ask(self._matrices(new), self.op.inputs)
            return self._end(new, q0, 1.0, self._log_p(self._current, new) - self._tempered(new))
        if np.array_equal(new, q):
            return self._end(q, q0, 1.0, float("nan"))
        # 3. log u is drawn first, and says how low log L_chip(W') may be
        if self.op.noise.refreshes:
            self._current = self._ask(self._matrices(q), self.op.inputs)
        twin = self._tempered(new)
        least = -self.rng.exponential() + self._log_p(self._current, q) + twin - self._tempered(q)
        # 4. show W' to the chip, unless the readout alone has moved, and accept
        moved = not all(map(np.array_equal, self._matrices(new), self._matrices(q)))
        counts = self._look(new, least) if moved else self._current
        if counts is not None:
            log_p = self._log_p(counts, new)
            gap = log_p - twin
            if log_p > least:
                self._current = counts
                return self._end(new, q0, 1.0, gap)
            self.replicas.go_back(was)
            return self._end(q, q0, 0.0, gap)
        self.replicas.go_back(was)
        return self._end(q, q0, 0.0, float("nan"))

    def _end(self, q: Any, q0: RaveledVars, accept: float, gap: float) -> tuple[RaveledVars, list[dict[str, Any]]]:
        """The chain's draw and its stats; steps on hyperparameters and readout find the counts, and need no run."""
        known = self._current
        if known is not None:
            self.op.forget()
            self.op.remember(self._matrices(q), known)
        stats = {
            "accept": accept,
            "log_likelihood": float("nan") if known is None else self._log_p(known, q),
            GAP: gap,
            PROGRAMMINGS: self._programmings.n,
            COUNTS: self._nothing if known is None else known.astype(np.int32),
        }
        return RaveledVars(q, q0.point_map_info), [{**stats, **self.tally()}]

    def _look(self, q: Any, least: float) -> Counts | None:
        """What the chip answers to q, all of it or, where log L must end below `least`, None.

        On a chip whose runs of few samples cost accordingly less samples are shown in blocks, those first that the twin
        is least sure of. Every term of log L is <= 0, so the decision is the one that all samples would bring.
        """
        weights = self._matrices(q)
        if not self._in_blocks:
            return self._ask(weights, self.op.inputs)
        readout = self._readout_of(q)
        hardest = np.argsort(readout.log_p(self._twin_op.run(weights), self._labels), kind="stable")
        counts = np.empty((1, len(hardest), self.op.chip.spec.layers[-1]), np.int64)
        total = 0.0
        for part in np.split(hardest, block_ends(len(hardest))[:-1]):
            counts[:, part] = self._ask(weights, frozen(self.op.inputs[part]))
            total += float(readout.log_p(counts[:, part], self._labels[part]).sum())
            if not total > least:
                return None
        return counts

    def _ask(self, weights: list[np.ndarray], inputs: FloatArray) -> Counts:
        """The chip's answer, counted."""
        self._programmings.note(weights)
        counts = self.op.answers(weights, inputs)
        self.op.presentations += len(counts) * len(inputs)
        return counts

    def _warming(self) -> tuple[float, float]:
        """Powers of likelihood and prior at the start of the warm-up, as in sitewise.py."""
        tempered = TEMPERED * self.n_tune if self.tempers else 0
        widest = getattr(self.replicas.movers[0], "widest", 1.0)
        return warming(self.n_done, tempered if self.tune else 0, widest)

    def _log_p(self, counts: Counts, q: Any) -> float:
        """log L of counts (n_runs, n_samples, n_classes), under the readout that q says, or the moment."""
        return float(self._readout_of(q).log_p(counts, self._labels).sum())

    def _tempered(self, q: Any) -> float:
        """p log L_twin at q."""
        return self.replicas.power * self._log_p(self._twin_op.run(self._matrices(q)), q)

    def use(self, twin: Chip) -> None:
        """Move on another twin from now on: before a chain begins, or in its warm-up."""
        check_twin(twin, self.op.chip)
        self.twin = self._twin_op.chip = self.op.stand_in = twin
        self._twin_op.forget()
        for mover in self.replicas.movers:
            mover.forget_answers()

    @cached_property
    def _at_point(self) -> tuple[Any, Any]:
        """Functions of a point, compiled when they are first asked for."""
        return weights_at(self._model), readout_function(self._model)

    def weights_and_readout(self, point: dict[str, Any]) -> tuple[list[np.ndarray], Readout]:
        """What the chip is programmed with at a point, and the readout there."""
        weights, readout = self._at_point
        values = {value.name: point[value.name] for value in self._model.value_vars}
        return [np.asarray(matrix, np.float64) for matrix in weights(values)], readout(values)

    def _matrices(self, q: Any) -> list[np.ndarray]:
        return [np.asarray(matrix, np.float64) for matrix in self._weights_at(q)]

    def go_on_from(self, weights: Any, counts: np.ndarray) -> None:
        super().go_on_from(weights, counts)
        if self._current is not None:
            self._current = counts

    def checkpoint_state(self) -> dict[str, Any]:
        return {
            **super().checkpoint_state(),
            "replicas": self.replicas.checkpoint_state(),
            "counts": self._current,
            "programmings": self._programmings.checkpoint_state(),
        }

    def restore_state(self, state: dict[str, Any]) -> None:
        super().restore_state(state)
        self.replicas.restore_state(state["replicas"])
        self._current = None if state["counts"] is None else self.op.check_counts(state["counts"])
        self.op.stand_in = self.twin if self._current is None else None
        self._programmings.restore_state(state["programmings"])

    @staticmethod
    def competence(var: Any, has_grad: bool) -> Competence:
        return Competence.INCOMPATIBLE  # PyMC never picks it by itself


def make_mover(model: pm.Model, names: list[str], sampler: str = "twin") -> Any:
    """What draws the weights of a model reversibly, for a sampler, and its readout with them, if that is random."""
    mover = _mover_of_weights(model, names, sampler)
    readout = readout_variables(model)
    return WithReadout(mover, model, readout, model.initial_point()) if readout else mover


def _mover_of_weights(model: pm.Model, names: list[str], sampler: str) -> Any:
    """Single-weight sweeps where the prior allows them."""
    variables = {value.name: value for value in weight_variables(model)}
    chosen = [variables[name] for name in names]
    discrete = is_discrete(chosen)
    reason = why_not_on_grid(model, chosen) if discrete else why_not_separable(model, chosen)
    if reason is None and not discrete and why_not_directional(model, chosen) is None:
        return DirectionalMetropolis(chosen, model=model)
    if reason is None:
        return (GridMetropolis if discrete else SitewiseMetropolis)(chosen, model=model)
    if discrete:
        raise InputError(
            f"Sampler {sampler!r} cannot move these whole-number weights, because {reason}: take sampler 'pymc'."
        )
    return JointMetropolis(chosen, move=Block(), model=model)
