"""What comes before the first draw of sampler `twin`: a twin is learned, and learned again from where the chains go.

Chains on the twin first find its posterior. What the chip answers there says how good the twin is where it matters,
and, on a chip that shows its spikes, teaches it. All of it is frozen before the first kept draw: the draws are exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pymc as pm
from pymc.initial_point import make_initial_point_fns_per_chain
from pymc.step_methods.compound import CompoundStep

from bayes_snn.chips.contract import ask_counts
from bayes_snn.errors import InputError
from bayes_snn.samplers.shared.replicas import Replicas
from bayes_snn.samplers.twin import N_MOVES
from bayes_snn.twins.asking import AskedChip, BudgetSpentError
from bayes_snn.twins.conductance.learning import fit_conductance
from bayes_snn.twins.contract import SPIKES
from bayes_snn.twins.families import fit_again
from bayes_snn.twins.from_spikes import BETTER
from bayes_snn.twins.learn import learn
from bayes_snn.twins.lif import LIFTwin
from bayes_snn.waiting import tracked

LEARNING, CHECKING = 0.5, 0.2  # shares of the budget for learning, and for learning again, at most
ROUNDS = 4  # of learning again, at most
WARM_UP, AFTER = 30, 10  # draws on the twin before the first round, and before each other
MOVES = 5  # to such a draw
MOVES_OF_CHAIN, FEWEST_MOVES = 2_500, 5  # in all kept draws of a chain, and to each of them
GOOD = 0.2  # standard deviation of log L_chip - log L_twin that is not worth a further round
DOUBTFUL = 0.02  # share of wrong counts beyond which a twin that was learned before is not one of the chip as it is
MOST_SPREAD = 4.0  # beyond it hardly any check would be accepted


@dataclass(frozen=True)
class Prepared:
    """A twin, ready to be sampled.

    Attributes
    ----------
    twin, steps
        The twin as it will be used, and the steps of the fit, the last of which moves on it.
    starts
        Of each chain, values by name of random variable: draws from the twin's posterior.
    presentations, programmings
        What the chip was shown for it, and how often its weights were written.
    spread
        s, the standard deviation of log L_chip - log L_twin over the draws that were checked last; nan if none were.
    n_checks
        Draws that were checked.
    wrong
        Share of the output counts that the twin had wrong there.
    n_taught
        How often the twin was learned again; the last time after these checks.
    """

    twin: Any
    steps: list[Any]
    starts: list[dict[str, Any]]
    presentations: int
    programmings: int
    spread: float
    n_checks: int
    wrong: float
    n_taught: int = 0

    @property
    def is_hopeless(self) -> bool:
        """Whether hardly any check would be accepted; of a twin that was taught since the checks it is not known."""
        return self.spread > MOST_SPREAD and self.n_taught in (0, ROUNDS)

    def as_dict(self) -> dict[str, Any]:
        """What is told of it, in plain values."""
        learned = getattr(self.twin, "learned", None)
        told = {} if learned is None else learned.as_dict()
        return {**told, "spread": self.spread, "n_checks": self.n_checks, "wrong": self.wrong}


def prepare_twin(
    model: pm.Model,
    steps: Any,
    starts: Sequence[dict[str, Any]],
    asked: AskedChip,
    seed: np.random.SeedSequence,
    twin: Any,
    budget: int,
) -> Prepared:
    """Learn a twin of the model's chip, unless there is one, and see how good it is where the chains go.

    Parameters
    ----------
    steps
        A function of the twin: all steps of the fit, the last of them the `TwinMetropolis`.
    starts
        Of each chain, values by name of random variable.
    asked
        The chip.
    twin
        A twin that was learned before, None to learn one.
    budget
        Presentations of the whole fit.

    Raises
    ------
    InputError
        When the chip cannot be learned, or the budget is too small.
    """
    learn_seed, chain_seed = seed.spawn(2)
    given = twin is not None
    if twin is None:
        asked.budget = int(LEARNING * budget)
        twin = learn(asked, int(learn_seed.generate_state(1)[0]), model.likelihood.op.inputs)
    op = model.likelihood.op
    kept = 2 * len(starts) * op.noise.repeats * len(op.inputs)  # two draws of each chain come before more learning
    asked.budget = min(budget - kept, asked.presentations + int(CHECKING * budget))
    made = steps(twin)
    warm = _WarmUp(model, made, starts, chain_seed)
    spread, n_checks, wrong, n_taught = float("nan"), 0, float("nan"), 0
    rival: Any = None  # of another family, once the twin was taught and is hopeless all the same
    for round_ in range(ROUNDS):
        warm.run(WARM_UP if round_ == 0 else AFTER, tempered=round_ == 0)
        gaps, gaps_of_rival, wrong = warm.check(asked, not given and twin.learned.way == SPIKES, rival)
        if not gaps:
            break
        n_checks += len(gaps)
        spread, of_rival = _spread(gaps), _spread(gaps_of_rival)
        if of_rival < BETTER * spread:
            twin, spread = _instead(rival, twin, spread, of_rival), of_rival
            warm.step.use(twin)
        if spread < GOOD or given or twin.learned.way != SPIKES:
            break
        learned, recordings = twin.learned, twin.recordings
        twin = fit_again(asked.spec, recordings, twin)
        twin.learned, twin.recordings = learned, recordings
        warm.step.use(twin)
        n_taught += 1
        doubted = twin.family == LIFTwin.family and spread > MOST_SPREAD and asked.spec.deterministic
        rival = fit_conductance(asked.spec, recordings) if doubted and rival is None else None
    return Prepared(
        twin, made, warm.values(), asked.presentations, asked.programmings, spread, n_checks, wrong, n_taught
    )


def _spread(gaps: Sequence[float]) -> float:
    """Their standard deviation, nan of fewer than two."""
    return float(np.std(gaps, ddof=1)) if len(gaps) > 1 else float("nan")


def _instead(rival: Any, twin: Any, spread: float, of_rival: float) -> Any:
    """The rival, with what is known of how the twin was learned, and why it was taken."""
    note = (
        f"Where the chains went, log L of leaky integrate-and-fire neurons differed from the chip's by {spread:.1f}, "
        f"of neurons with conductances, refractory time and adaptation by {of_rival:.1f} (standard deviations): the "
        "latter were taken."
    )
    rival.learned = replace(twin.learned, notes=(note, *rival.learned.notes))
    rival.recordings = twin.recordings
    return rival


class _WarmUp:
    """Chains on the twin alone, side by side in this process."""

    def __init__(
        self, model: pm.Model, steps: Sequence[Any], starts: Sequence[dict[str, Any]], seed: np.random.SeedSequence
    ) -> None:
        self.model, self.step = model, steps[-1]
        self._all = CompoundStep(list(steps))
        n = len(starts)
        makers = make_initial_point_fns_per_chain(model=model, overrides=list(starts), jitter_rvs=set(), chains=n)
        self._points = [make(0) for make in makers]
        self._rngs = [np.random.default_rng(child) for child in seed.spawn(n)]
        self._replicas = [Replicas(self.step.replicas.movers[0], 1) for _ in starts]
        self._states: list[Any] = [None] * n

    def run(self, draws: int, tempered: bool) -> None:
        """So many draws of each chain, the first of them tempered or not."""
        step, kept = self.step, (self.step.replicas, self.step.n_moves)
        for chain in tracked(range(len(self._points)), "Finding the twin's posterior, chain by chain"):
            rng = self._rngs[chain]
            self._all.setup_chain(rng, draws if tempered else 0, 0)
            step.replicas, step.n_moves, step.tune = self._replicas[chain], MOVES, True
            if self._states[chain] is not None:
                step.replicas.restore_state(self._states[chain])
            for _ in range(draws):
                self._points[chain], _ = self._all.step(self._points[chain])
            self._states[chain] = step.replicas.checkpoint_state()
            self._states[chain]["places"] = []
        step.replicas, step.n_moves = kept

    def check(self, asked: AskedChip, learns: bool, rival: Any = None) -> tuple[list[float], list[float], float]:
        """log L_chip - log L_twin where each chain is, for as many as the budget allows; the twin's recordings grow.

        With it the same of a rival, if there is any, and the share of counts that the twin had wrong.
        """
        likelihood, wrong = self.model.likelihood, []
        gaps, gaps_of_rival = list[float](), list[float]()
        for point in self._points:
            weights, readout = self.step.weights_and_readout(point)
            try:
                if learns:
                    spikes = asked.spikes(weights, likelihood.op.inputs)
                    counts = spikes[-1].sum(axis=1)
                    self.step.twin.recordings.add(weights, likelihood.op.inputs, spikes)
                else:
                    counts = asked.run(weights, likelihood.op.inputs)
            except BudgetSpentError:
                break
            predicted = ask_counts(self.step.twin, weights, likelihood.op.inputs)
            answers = [counts, predicted]
            if rival is not None:
                answers.append(ask_counts(rival, weights, likelihood.op.inputs))
            of_chip, *of_twins = (
                float(readout.log_p(np.asarray(each, np.int64)[None], likelihood.labels).sum()) for each in answers
            )
            gaps.append(of_chip - of_twins[0])
            gaps_of_rival += [of_chip - each for each in of_twins[1:]]
            wrong.append(float(np.mean(predicted != counts)))
        return gaps, gaps_of_rival, float(np.mean(wrong)) if wrong else float("nan")

    def values(self) -> list[dict[str, Any]]:
        """Where each chain is, by name of random variable."""
        model = self.model
        with model:
            back = model.compile_fn(
                model.unobserved_value_vars, inputs=model.value_vars, mode="FAST_COMPILE", on_unused_input="ignore"
            )
        names = [variable.name for variable in model.unobserved_value_vars]
        free = {variable.name for variable in model.free_RVs}
        found = []
        for point in self._points:
            values = back({value.name: point[value.name] for value in model.value_vars})
            found.append({name: np.array(v) for name, v in zip(names, values, strict=True) if name in free})
        return found


def moves_for(draws: int) -> int:
    """Moves on the twin to a draw: where draws are few, each of them is far from the one before."""
    return min(max(MOVES_OF_CHAIN // draws, FEWEST_MOVES), N_MOVES)


def affordable_draws(budget: int, spent: int, n_samples: int, chains: int, repeats: int, draws: int | None) -> int:
    """Draws of each chain that a budget leaves room for, at most those asked for; an `InputError` for none."""
    each = n_samples * chains * repeats
    room = max(budget - spent, 0) // each
    if room < 1:
        raise InputError(
            f"A budget of {budget:,} presentations leaves {max(budget - spent, 0):,} once the twin is learned, but one "
            f"draw of each of {chains} chains shows the chip {each:,} samples: give a budget of at least "
            f"{spent + each:,}, or fewer chains."
        )
    return int(room if draws is None else min(room, draws))
