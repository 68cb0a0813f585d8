"""What comes before the first draw of sampler `twin`: a twin is learned, and learned again from where the chains go.

Chains on the twin first find its posterior. What the chip answers there says how good the twin is where it matters,
and, on a chip that shows its spikes, teaches it. All of it is frozen before the first kept draw: the draws are exact.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pymc as pm
from numpy.typing import NDArray
from pymc.initial_point import make_initial_point_fns_per_chain
from pymc.step_methods.compound import CompoundStep

from bayes_snn.chips.contract import ask_counts
from bayes_snn.errors import InputError
from bayes_snn.samplers.shared.replicas import Replicas
from bayes_snn.samplers.twin import N_MOVES
from bayes_snn.twins.asking import AskedChip
from bayes_snn.twins.conductance.learning import fit_conductance
from bayes_snn.twins.families import AnyTwin, fit_again
from bayes_snn.twins.from_spikes import BETTER
from bayes_snn.twins.learn import learn
from bayes_snn.twins.lif import LIFTwin
from bayes_snn.waiting import tracked

LEARNING = 0.5  # share of a budget that goes into learning and checking, at most
FIRST, FIRST_SHARE = 400, 0.02  # presentations of random weights, or share of a budget: checks teach what is rare
ROUNDS = 6  # of checks, at most
WARM_UP, AFTER = 60, 20  # draws on the twin before the first round, and before each other
MOVES, N_REPLICAS = 10, 3  # moves to such a draw, and replicas: one alone may stay where a distorted neuron is silent
CHECKED, SAMPLES = 256, 16  # presentations of a round, and those of one draw, at least
GROWTH = 0.4  # of what was shown so far, the next round
MOVES_OF_CHAIN, FEWEST_MOVES = 2_500, 3  # in all kept draws of a chain, and to each of them
DOUBTFUL = 0.02  # share of wrong counts beyond which a twin that was learned before is not one of the chip as it is
MOST_SPREAD = 4.0  # beyond it hardly any check would be accepted
AT_ODDS = 0.1  # share of wrong counts beyond which neurons of another family are tried


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
    noisy
        Whether the chip answers otherwise each time: what s has of that, no teaching takes away.
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
    noisy: bool = False

    @property
    def is_hopeless(self) -> bool:
        """Whether hardly any check would be accepted; of a twin that was taught since the checks it is not known."""
        return self.spread > MOST_SPREAD and (self.noisy or not 0 < self.n_taught < ROUNDS)

    def as_dict(self) -> dict[str, Any]:
        """What a fit keeps of it, in plain values."""
        learned = getattr(self.twin, "learned", None)
        how = {} if learned is None else learned.as_dict()
        return {**how, "spread": self.spread, "n_checks": self.n_checks, "wrong": self.wrong}


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
    learn_seed, chain_seed, check_seed = seed.spawn(3)
    op = model.likelihood.op
    each = op.noise.repeats * len(op.inputs)  # presentations of a draw
    most = min(int(LEARNING * budget), budget - 2 * len(starts) * each)
    learns = twin is None and callable(getattr(asked.chip, "spikes", None))
    if twin is None:
        first = max(FIRST, int(FIRST_SHARE * budget)) if learns else most
        asked.budget = max(min(first, int(LEARNING * budget)), 0)
        twin = learn(asked, int(learn_seed.generate_state(1)[0]), op.inputs)
    asked.budget = most
    made = steps(twin)
    warm = _WarmUp(model, made, starts, chain_seed)
    rng, n_checks, n_taught, n_next = np.random.default_rng(check_seed), 0, 0, CHECKED
    spread = wrong = float("nan")
    rivals: list[AnyTwin] = []  # of another family, once the twin was taught and is at odds with the chip all the same
    for round_ in range(ROUNDS + 1):
        warm.run(WARM_UP if round_ == 0 else AFTER, tempered=round_ == 0)
        checked = warm.check(asked, rng, int(min(n_next, asked.left)), learns, [twin, *rivals])
        if not checked:
            break
        spreads = [each.spread(len(op.inputs)) for each in checked]
        best = int(len(checked) > 1 and spreads[1] < BETTER * spreads[0])
        spread, wrong, n_checks = spreads[best], float(np.mean(checked[best].wrong)), n_checks + checked[best].n_draws
        if not learns:
            break
        if best:
            twin = _instead(rivals[0], twin, spreads)
            made = steps(twin)  # it may be moved in another way
            warm = _WarmUp(model, made, warm.values(), chain_seed)
        learned, recordings = twin.learned, twin.recordings
        twin = fit_again(asked.spec, recordings, twin)
        twin.learned, twin.recordings = learned, recordings
        warm.step.use(twin)
        n_taught += 1
        at_odds = spread > MOST_SPREAD or wrong > AT_ODDS
        doubted = twin.family == LIFTwin.family and at_odds and asked.spec.deterministic
        rivals = [fit_conductance(asked.spec, recordings)] if doubted and not rivals else []
        left, of_all = budget - asked.presentations, len(starts) * each
        n_next = max(CHECKED, int(GROWTH * asked.presentations))
        # what was just learned halved s, about, and so would another round: would it bring more draws than it costs?
        pays = accepted_draws(left - n_next, of_all, 0.25 * spread) > accepted_draws(left, of_all, 0.5 * spread)
        hopeless = spread > MOST_SPREAD and left - n_next >= of_all  # no draw would be accepted
        if round_ >= ROUNDS - 1 or not (pays or hopeless):
            n_next = left % of_all  # what is no draw of each chain
            if round_ >= ROUNDS or n_next < CHECKED:
                break
    made[-1].tempers = False
    return Prepared(
        *(twin, made, warm.values(), asked.presentations, asked.programmings, spread, n_checks, wrong, n_taught),
        noisy=not asked.spec.deterministic,
    )


def _instead(rival: Any, twin: Any, spreads: Sequence[float]) -> Any:
    """The rival, with what is known of how the twin was learned, and why it was taken."""
    note = (
        f"Where the chains went, log L of leaky integrate-and-fire neurons differed from the chip's by "
        f"{spreads[0]:.1f}, of neurons with conductances, refractory time and adaptation by {spreads[1]:.1f} (standard "
        "deviations): the latter were taken."
    )
    rival.learned = replace(twin.learned, notes=(note, *rival.learned.notes))
    rival.recordings = twin.recordings
    return rival


def accepted_at(spread: float) -> float:
    """Share of checks accepted where log L_chip - log L_twin has this standard deviation: 2 Phi(-s / sqrt 2)."""
    return math.erfc(0.5 * spread)


def accepted_draws(left: int, of_all: int, spread: float) -> float:
    """Draws of each chain that so many presentations will bring, when all chains' next draws show `of_all`.

    What is left over teaches the twin, if it is enough for a round: that halves s, about, as every round does.
    """
    draws, over = divmod(max(left, 0), of_all)
    return draws * accepted_at(0.5 * spread if over >= CHECKED else spread)


@dataclass(frozen=True)
class _Checked:
    """What the chip answered where the twin's chains are.

    `gaps` (n_shown,) are log p_chip - log p_twin of each sample that was shown, `wrong` (n_shown, n_classes) whether
    the twin had its counts wrong.
    """

    gaps: NDArray[np.float64]
    wrong: NDArray[np.bool_]
    n_draws: int

    def spread(self, n_samples: int) -> float:
        """s of log L of so many samples, each of which errs by itself."""
        return float(np.sqrt(n_samples * np.var(self.gaps)))


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
        self._replicas = [Replicas(self.step.replicas.movers[0], N_REPLICAS) for _ in starts]
        self._states: list[Any] = [None] * n
        self._visited: list[Any] = []

    def run(self, draws: int, tempered: bool) -> None:
        """So many draws of each chain, the first of them tempered or not; those of the second half are kept."""
        self._visited.clear()
        step, kept = self.step, (self.step.replicas, self.step.n_moves)
        for chain in tracked(range(len(self._points)), "Finding the twin's posterior, chain by chain"):
            rng = self._rngs[chain]
            self._all.setup_chain(rng, draws if tempered else 0, 0)
            step.replicas, step.n_moves, step.tune = self._replicas[chain], MOVES, True
            if self._states[chain] is not None:
                step.replicas.restore_state(self._states[chain])
            for draw in range(draws):
                self._points[chain], _ = self._all.step(self._points[chain])
                if draw >= draws // 2:
                    self._visited.append(self._points[chain])
            self._states[chain] = step.replicas.checkpoint_state()
            self._states[chain]["places"] = []
        step.replicas, step.n_moves = kept

    def check(
        self, asked: AskedChip, rng: np.random.Generator, n: int, learns: bool, twins: Sequence[Any]
    ) -> list[_Checked]:
        """Show the chip n training samples, some under each of several draws: what each of the twins makes of them.

        The recordings of the first twin grow if `learns`. An empty list where n is too few.
        """
        likelihood, visited = self.model.likelihood, self._visited
        n_samples = len(likelihood.op.inputs)
        n_draws = min(max(n // SAMPLES, 1), len(visited), n)
        if n_draws < 1:
            return []
        shown = min(n // n_draws, n_samples)
        found: list[tuple[list[Any], list[Any]]] = [([], []) for _ in twins]
        for place in np.linspace(0, len(visited) - 1, n_draws).round().astype(int):
            weights, readout = self.step.weights_and_readout(visited[place])
            chosen = np.sort(rng.choice(n_samples, size=shown, replace=False))
            inputs, labels = likelihood.op.inputs[chosen], likelihood.target[chosen]
            if learns:
                spikes = asked.spikes(weights, inputs)
                counts = spikes[-1].sum(axis=1)
                twins[0].recordings.add(weights, inputs, spikes)
            else:
                counts = asked.run(weights, inputs)
            for twin, (gaps, wrong) in zip(twins, found, strict=True):
                predicted = ask_counts(twin, weights, inputs)
                of_chip, of_twin = (
                    readout.log_p(np.asarray(each, np.int64)[None], labels) for each in (counts, predicted)
                )
                gaps.append(of_chip - of_twin)
                wrong.append(predicted != counts)
        return [_Checked(np.concatenate(gaps), np.concatenate(wrong), n_draws) for gaps, wrong in found]

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


def affordable_draws(
    budget: int, spent: int, n_samples: int, chains: int, repeats: int, draws: int | None, remeasure: int = 0
) -> int:
    """Draws of each chain that a budget leaves room for, at most those asked for; an `InputError` for none.

    On a chip that is watched two runs come after every `remeasure` draws, of the current point and of the reference.
    """
    each = n_samples * chains * repeats
    room = max(budget - spent, 0) // each
    if remeasure:
        whole, left = divmod(room, remeasure + 2)
        room = whole * remeasure + min(left, remeasure)
    if room < 1:
        raise InputError(
            f"A budget of {budget:,} presentations leaves {max(budget - spent, 0):,} once the twin is learned, but one "
            f"draw of each of {chains} chains shows the chip {each:,} samples: give a budget of at least "
            f"{spent + each:,}, or fewer chains."
        )
    return int(room if draws is None else min(room, draws))
