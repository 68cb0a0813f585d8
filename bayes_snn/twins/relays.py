"""Hidden neurons are asked through outputs that are known already: relays.

A tested hidden neuron repeats itself with some period. The output that it drives is simulated for every period that it
may have, under a bias from hidden neurons that are on, and its count tells which of them it can have been. Nothing is
concluded from a simulation that leaves the voltages that were mapped.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bayes_snn.twins.bench import Bench
from bayes_snn.twins.membership import FiringSet, Mask, fires_at

N_BIASES = 145
UNLIKELY, RETRIES = 0.02, 2


class Question(NamedTuple):
    """A hidden neuron, its drive, and a weight for each period (n_steps + 1,) that it may have, 0 for none."""

    neuron: int
    drive: float
    weights: NDArray[np.float64]


class RelayTable(NamedTuple):
    """What an output does: counts, and whether they may be trusted, (n_settings, n_steps + 1).

    `bias` and `weight` (n_settings,) are what it sees always, and while the hidden neuron spikes.
    """

    bias: NDArray[np.float64]
    weight: NDArray[np.float64]
    counts: NDArray[np.int64]
    trusted: Mask


def periodic(n_steps: int) -> Mask:
    """Spikes (n_steps + 1, n_steps) of neurons of each period, 0 for none."""
    steps, periods = np.arange(1, n_steps + 1), np.arange(n_steps + 1)[:, None]
    return np.where(periods > 0, steps % np.maximum(periods, 1) == 0, False)


def simulate(known: FiringSet, drives: NDArray[np.float64]) -> tuple[NDArray[np.int64], Mask]:
    """Counts (...,) of a neuron under drives (..., n_steps), and whether all its voltages were mapped."""
    v, counts = np.zeros(drives.shape[:-1]), np.zeros(drives.shape[:-1], np.int64)
    trusted = np.ones(drives.shape[:-1], np.bool_)
    for step in range(drives.shape[-1]):
        v = known.alpha * v + drives[..., step]
        trusted &= known.mapped(v)
        fired = fires_at(known.edges, v)
        counts += fired
        v = np.where(fired, 0.0, v)
    return counts, trusted


def relay_table(known: FiringSet, weights: Sequence[float], most_bias: float) -> RelayTable:
    """All settings of one output as a relay."""
    biases = np.linspace(-most_bias, most_bias, N_BIASES if most_bias > 0 else 1)
    bias, weight = (grid.ravel() for grid in np.meshgrid(biases, np.asarray(weights, np.float64), indexing="ij"))
    drives = bias[:, None, None] + weight[:, None, None] * periodic(known.n_steps)
    return RelayTable(bias, weight, *simulate(known, drives))


def told(table: RelayTable, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """What the count of each setting tells about the period, in nats on average, where periods have these weights."""
    n_settings, n_counts = table.counts.shape
    mass = np.zeros((n_settings, n_counts))
    for period in np.flatnonzero(weights):
        trusted = table.trusted[:, period]  # whatever it counts elsewhere tells nothing
        mass[np.flatnonzero(trusted), table.counts[trusted, period]] += weights[period]
    return np.asarray(-np.sum(mass * np.log(np.maximum(mass, 1e-12)), axis=1))


def told_periods(table: RelayTable, setting: int, count: int) -> Mask:
    """Periods that a count leaves possible."""
    return np.asarray((table.counts[setting] == count) | ~table.trusted[setting])


class Relays:
    """Outputs of a bench as relays of its hidden neurons.

    Parameters
    ----------
    bench
        The chip.
    outputs
        What is known of each output.
    """

    def __init__(self, bench: Bench, outputs: Sequence[FiringSet]) -> None:
        self.bench, self.outputs = bench, outputs
        self.usable = np.flatnonzero((bench.gain != 0).any(1))
        self.n_bias = max(1, len(self.usable) // 2) if len(self.usable) > 1 else 0
        strength = max(-bench.low, bench.high)
        self.tables: list[RelayTable] = []
        self._known: dict[tuple[int, bytes], NDArray[np.float64]] = {}
        for out, known in enumerate(outputs):
            gains = np.sort(np.abs(bench.gain[self.usable, out]))[: max(1, self.n_bias)]
            most = min(known.reach, strength * float(gains.sum()) * 0.9) if self.n_bias else 0.0
            weights = [w for w in (bench.low, bench.high, 0.5 * bench.low, 0.5 * bench.high) if w != 0]
            self.tables.append(relay_table(known, weights, most))

    def ask(self, questions: Sequence[Question], settle: bool = True) -> list[Mask]:
        """The periods that each question leaves.

        To settle them, a question that leaves several likely ones is asked again, through a relay that tells these
        apart, and one alone is left where the others were next to impossible before.
        """
        masks = self._ask_once(questions)
        if not settle:
            return masks
        for _ in range(RETRIES):
            left = [question.weights * mask for question, mask in zip(questions, masks, strict=True)]
            open_ = [n for n, each in enumerate(left) if np.sort(each)[-2] > UNLIKELY * each.sum()]
            again = [Question(questions[n].neuron, questions[n].drive, left[n] / left[n].sum()) for n in open_]
            for n, mask in zip(open_, self._ask_once(again), strict=True):
                masks[n] = masks[n] & mask if (masks[n] & mask).any() else mask
        for n, question in enumerate(questions):
            left_over = question.weights * masks[n]
            if left_over.max() > (1.0 - UNLIKELY) * left_over.sum():
                masks[n] = np.arange(len(masks[n])) == left_over.argmax()
        return masks

    def _ask_once(self, questions: Sequence[Question]) -> list[Mask]:
        answers: list[Mask | None] = [None] * len(questions)
        waiting = list(range(len(questions)))
        while waiting:
            done = self._programming(questions, waiting, answers)
            waiting = [number for number in waiting if number not in done]
        return answers  # type: ignore[return-value]

    def _programming(self, questions: Sequence[Question], waiting: list[int], answers: list[Mask | None]) -> set[int]:
        """Ask as many of the waiting questions as one programming can."""
        bench = self.bench
        by_neuron: dict[int, list[int]] = {}
        for number in waiting:
            by_neuron.setdefault(questions[number].neuron, []).append(number)
        busiest = sorted(by_neuron, key=lambda j: -len(by_neuron[j]))
        tested = busiest[: max(1, len(self.usable) - self.n_bias)]
        others = np.setdiff1d(self.usable, tested)
        loads, cost = np.zeros(bench.n_out), np.zeros(bench.n_out)
        members: list[list[int]] = [[] for _ in range(bench.n_out)]
        for j in tested:
            weights = [questions[number].weights for number in by_neuron[j]]
            worth = np.array([self._told(out, weights).max() for out in range(bench.n_out)])
            worth[bench.gain[j] == 0] = 0.0
            # an output that tells half as much takes half as many neurons
            after = cost + len(by_neuron[j]) / np.maximum(worth, 1e-3) + np.where(bench.gain[j] == 0, np.inf, 0.0)
            out = int(after.argmin())
            cost[out] = after[out]
            loads[out] += len(by_neuron[j])
            members[out].append(j)
        second = np.zeros((bench.n_hidden, bench.n_out))
        settings = np.zeros(bench.n_out, np.int64)
        for out in range(bench.n_out):
            asked = [number for j in members[out] for number in by_neuron[j]]
            if not asked:
                continue
            table = self.tables[out]
            settings[out] = self._told(out, [questions[number].weights for number in asked]).argmax()
            bias, weight = table.bias[settings[out]], table.weight[settings[out]]
            for j in members[out]:
                second[j, out] = weight / bench.gain[j, out]
            self._spread(second, others, out, bias)
        rows = int(loads.max())
        drives = np.full((rows, bench.n_hidden), -np.inf)
        drives[:, others] = np.inf
        places: list[tuple[int, int, int]] = []
        for out in range(bench.n_out):
            asked = [number for j in members[out] for number in by_neuron[j]]
            for row, number in enumerate(asked):
                drives[row, questions[number].neuron] = questions[number].drive
                places.append((row, out, number))
        counts = bench.driven(drives, second)
        for row, out, number in places:
            answers[number] = told_periods(self.tables[out], int(settings[out]), int(counts[row, out]))
        return {number for _, _, number in places}

    def _told(self, out: int, weights: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
        """What each setting of an output tells on average over several questions."""
        total = np.zeros(len(self.tables[out].bias))
        for each in weights:
            key = (out, each.tobytes())
            if key not in self._known:
                self._known[key] = told(self.tables[out], each)
            total += self._known[key]
        return total / len(weights)

    def _spread(self, second: NDArray[np.float64], carriers: NDArray[np.int64], out: int, bias: float) -> None:
        """Weights of neurons that are on, so that an output sees a bias."""
        need = bias
        for j in self.bench.rng.permutation(carriers):
            gain = self.bench.gain[j, out]
            if gain != 0 and need != 0:
                second[j, out] = np.clip(need / gain, self.bench.low, self.bench.high)
                need -= second[j, out] * gain
