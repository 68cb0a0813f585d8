"""The firing set of one neuron, mapped by constant drives.

A neuron under a constant input current d fires periodically, since it is reset at each spike: after t steps without
one its voltage is

    v_t = (1 - alpha) r_t d,    r_t = 1 + alpha + ... + alpha^(t - 1),

and its period is the first t with v_t in the firing set F. Here voltages are given as u = v / (1 - alpha), in units of
the drive: a drive reaches u_t = r_t d, so that u_1 is the drive itself, whatever the leak. One answer, a set of periods
that may be the right one, labels all voltages before the first of them as silent, and that of a single one as firing.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

FAR = 1e7  # in units of the drive: far above here a neuron fires, far below it is silent
WIDTH = 4e-5  # to which edges are bisected, in units of the drive
PACE, GROWTH = 0.6, 0.05  # labelled voltages are at most PACE apart near 0, and GROWTH times their size beyond
COARSE = 3.0  # so many paces apart are voltages while the leak is not known
SLIVER = 2e-3  # intervals and gaps of this width are false answers: one is bisected from both sides, and stays alone
MOST_GAPS = 64  # looked at before a round of questions
LOST = 1e-6  # relative, what float32 may be wrong by

Mask = NDArray[np.bool_]


def reaches(alpha: float, n_steps: int) -> NDArray[np.float64]:
    """r_t for t = 1 to n_steps."""
    return np.cumsum(alpha ** np.arange(n_steps))


def fires_at(edges: NDArray[np.float64], u: NDArray[np.float64]) -> Mask:
    """Whether voltages lie in the firing set: an odd number of edges are at most u."""
    return np.asarray(np.searchsorted(edges, u, side="right") % 2 == 1)


def first_true(steps: Mask) -> NDArray[np.int64]:
    """Number of the first step, counted from 1, at which a condition (..., n_steps) holds; 0 where it never does."""
    return np.where(steps.any(-1), steps.argmax(-1) + 1, 0)


def paces(u: NDArray[np.float64]) -> NDArray[np.float64]:
    """Voltages on the scale on which labelled ones may be 1 apart: real drives are small, so large ones matter less."""
    return np.asarray(np.sign(u) * np.log1p(GROWTH * np.abs(u) / PACE) / GROWTH)


def unpaced(place: Any) -> float:
    """The inverse of `paces`."""
    return float(np.sign(place) * np.expm1(GROWTH * abs(place)) * PACE / GROWTH)


def without_slivers(u: NDArray[np.float64], label: Mask) -> tuple[NDArray[np.float64], Mask]:
    """Labelled voltages, ascending, without runs of labels that two edges enclose in a sliver.

    Runs are left out from the shortest on, so that of two that touch the one goes that is less of its surroundings.
    """
    while True:
        starts = np.flatnonzero(np.concatenate([[True], label[1:] != label[:-1]]))
        if len(starts) < 3:
            return u, label
        first, last = starts[1:-1], starts[2:] - 1  # the outermost runs are the rails
        widths = u[last + 1] - u[first - 1]
        place = int(widths.argmin())
        if widths[place] > SLIVER:
            return u, label
        kept = np.ones(len(u), np.bool_)
        kept[first[place] : last[place] + 1] = False
        u, label = u[kept], label[kept]


class FiringSet:
    """What is known of the firing set of one neuron.

    Parameters
    ----------
    n_steps
        Steps of a presentation.
    alpha
        The leak.
    reach
        Largest drive that the map shall serve.
    most
        Largest drive that can be asked.

    Attributes
    ----------
    first_only
        Labels come from first steps alone, as long as the leak is not known.
    """

    def __init__(self, n_steps: int, alpha: float, reach: float, most: float = FAR) -> None:
        self.n_steps, self.reach, self.most = n_steps, min(reach, most), most
        self.drives: list[float] = []
        self.masks: list[Mask] = []
        self.set_alpha(alpha)

    def set_alpha(self, alpha: float, first_only: bool = False) -> None:
        """Read all answers anew with another leak."""
        self.alpha, self.first_only = alpha, first_only
        self.r = reaches(alpha, self.n_steps)
        self.furthest = self.reach * float(self.r[-1])
        self._points, self._labels = [np.array([-FAR, FAR])], [np.array([False, True])]
        self._read(self.drives, self.masks)

    def rescale(self, factor: float) -> None:
        """Give all drives in another unit."""
        self.drives = [drive * factor for drive in self.drives]
        self.most *= factor
        self.reach = min(self.reach, self.most)
        self.set_alpha(self.alpha, self.first_only)

    def add(self, drives: list[float], masks: list[Mask]) -> None:
        """Answers: for each drive the periods, 0 for none, that may be its own."""
        self.drives += drives
        self.masks += masks
        self._read(drives, masks)

    def _read(self, drives: list[float], masks: list[Mask]) -> None:
        for drive, mask in zip(drives, masks, strict=True):
            may = np.flatnonzero(mask)
            spiking = may[may > 0]
            before = int(spiking[0]) - 1 if len(spiking) else self.n_steps
            fires = before < self.n_steps and len(may) == 1
            if self.first_only:
                before, fires = min(before, 1), fires and before == 0
            self._points.append(self.r[: before + fires] * drive)
            self._labels.append(np.arange(before + fires) == before)
        u, label = np.concatenate(self._points), np.concatenate(self._labels)
        order = np.argsort(u, kind="stable")
        u, label = u[order], label[order]
        self._points, self._labels = [u], [label]
        self.u, self.label = without_slivers(u, label)
        changes = np.flatnonzero(self.label[1:] != self.label[:-1])
        self.low, self.high = self.u[changes], self.u[changes + 1]
        self.edges = 0.5 * (self.low + self.high)

    def n_changes(self, alpha: float) -> int:
        """Edges and contradictions of all answers under a leak: a wrong one mixes labels."""
        other = FiringSet(self.n_steps, alpha, self.reach, self.most)
        other.add(self.drives, self.masks)
        label = other._labels[0]
        return int((label[1:] != label[:-1]).sum())

    def sure_edges(self) -> NDArray[np.float64]:
        """Edges that were bisected."""
        sure = self.high - self.low <= 100 * np.maximum(WIDTH, LOST * np.abs(self.high))
        return np.asarray(self.edges[sure])

    def periods(self, drives: NDArray[np.float64]) -> NDArray[np.int64]:
        """Periods at these drives, 0 for none, as they are now believed to be."""
        return first_true(fires_at(self.edges, np.multiply.outer(drives, self.r)))

    def steps(self) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """The period as a step function of the drive: marks (n,), ascending, and periods (n + 1,) between them."""
        marks = np.unique(np.divide.outer(self.edges, self.r))
        ends = np.concatenate([[2.0 * -FAR], marks, [2.0 * FAR]])
        periods = self.periods(0.5 * (ends[1:] + ends[:-1]))
        changes = periods[1:] != periods[:-1]
        return marks[changes], periods[np.concatenate([[True], changes])]

    def mapped(self, u: NDArray[np.float64]) -> Mask:
        """Whether voltages lie where the map may be trusted: between near labels that agree."""
        right = np.clip(np.searchsorted(self.u, u), 1, len(self.u) - 1)
        agree = self.label[right] == self.label[right - 1]
        gap = self.u[right] - self.u[right - 1]
        near = gap <= 2.0 * (PACE + GROWTH * np.abs(u))
        exact = (self.u[right] == u) | (self.u[right - 1] == u)
        return np.asarray((agree | exact) & near)

    def drive_to(self, u: float) -> float | None:
        """A drive that brings the neuron to this voltage at its first step, or later and silently; None for none."""
        drives = u / self.r
        for t in np.flatnonzero(np.abs(drives) <= self.most):
            if not fires_at(self.edges, self.r[:t] * drives[t]).any():
                return float(drives[t])
        return None

    def wanted(self, n_most: int) -> list[tuple[float, NDArray[np.float64]]]:
        """Drives to ask next, at most so many, each with a weight for each period that it may turn out to have."""
        questions = self._surprises() + self._bisections()
        if len(questions) < n_most:
            questions += self._gaps(n_most - len(questions))
        return questions[:n_most]

    def at(self, drive: float) -> tuple[float, NDArray[np.float64]]:
        """The question about one drive."""
        return drive, self._weights(drive)

    def least_known(self, voltages: list[float], n_most: int) -> list[float]:
        """Drives to those of these voltages that lie in the largest gaps between labelled ones."""
        u = np.array(voltages)
        right = np.clip(np.searchsorted(self.u, u), 1, len(self.u) - 1)
        gaps = paces(self.u[right]) - paces(self.u[right - 1])
        drives = [self.drive_to(float(u[place])) for place in np.argsort(-gaps)]
        return [drive for drive in drives if drive is not None and drive not in self.drives][:n_most]

    def _weights(self, drive: float) -> NDArray[np.float64]:
        """The period as believed, or any other one, above all those of the first steps."""
        weights = np.full(self.n_steps + 1, 0.2 / self.n_steps)
        weights[:9] += 0.3 / 9.0
        weights[int(self.periods(np.array([drive]))[0])] += 0.5
        return weights

    def _question(self, u: float) -> tuple[float, NDArray[np.float64]] | None:
        drive = self.drive_to(u) if abs(u) <= self.furthest else None
        if drive is None or drive in self.drives:
            return None
        return drive, self._weights(drive)

    def _bisections(self) -> list[tuple[float, NDArray[np.float64]]]:
        """The middles of all brackets that are too wide."""
        wide = self.high - self.low > np.maximum(WIDTH, LOST * np.abs(self.high))
        wide &= (self.low <= self.furthest) & (self.high >= -self.furthest)
        asked = []
        for low, high in zip(self.low[wide], self.high[wide], strict=True):
            # rails are far away: what is between them and the last drive of use is of no use
            if (abs(low) >= FAR or abs(high) >= FAR) and min(abs(low), abs(high)) >= self.reach:
                continue
            u = float(np.clip(0.5 * (low + high), low - self.reach, high + self.reach))
            if abs(low) >= FAR or abs(high) >= FAR:
                u = float(np.clip(u, -self.reach, self.reach))
            if (drive := self.drive_to(u)) is None:
                continue
            if drive in self.drives:  # the answer told too little: ask beside it
                u = low + (0.3 + 0.4 * (len(self.drives) % 7) / 6.0) * (2.0 * (u - low))
                if (drive := self.drive_to(u)) is None or drive in self.drives:
                    continue
            t = int(np.argmin(np.abs(self.r * drive - u))) + 1
            steps = fires_at(self.edges, self.r * drive)
            weights = np.full(self.n_steps + 1, 0.01 / self.n_steps)
            weights[t] += 0.5
            steps[:t] = False
            weights[int(first_true(steps))] += 0.5
            asked.append((drive, weights))
        return asked

    def _surprises(self) -> list[tuple[float, NDArray[np.float64]]]:
        """Where an answer is not what the map says: the voltages of all periods that the answer leaves."""
        if not self.drives:
            return []
        believed = self.periods(np.array(self.drives))
        asked = []
        for drive, mask, period in zip(self.drives, self.masks, believed, strict=True):
            if not mask[period]:
                fresh = [self._question(float(self.r[t - 1] * drive)) for t in np.flatnonzero(mask) if t > 0]
                asked += [each for each in fresh if each is not None][:2]
        return asked

    def _gaps(self, n_most: int) -> list[tuple[float, NDArray[np.float64]]]:
        """Drives that lead through the largest gaps between labelled voltages, as many as they can before a spike."""
        end = self.reach if self.first_only else self.furthest
        low, high = np.maximum(self.u[:-1], -end), np.minimum(self.u[1:], end)
        size = np.where(high > low, paces(high) - paces(low), 0.0)
        # ends of a bracket are bisected, unless nothing is known yet
        size[(self.label[:-1] != self.label[1:]) & (np.abs(self.u[:-1]) < FAR) & (np.abs(self.u[1:]) < FAR)] = 0.0
        if self.first_only:  # a few voltages will do
            size /= COARSE
        asked: list[tuple[float, NDArray[np.float64]]] = []
        for place in np.argsort(-size)[:MOST_GAPS]:
            n_parts = max(2, int(np.ceil(min(size[place], 2 * n_most))))
            start, step = paces(low[place]), (paces(high[place]) - paces(low[place])) / n_parts
            for part in range(1, n_parts):
                if size[place] <= 1.0 or len(asked) >= n_most:  # small, or a question before leads through it
                    break
                question = self._through(float(unpaced(start + part * step)), size)
                if question is not None:
                    asked.append(question)
        return asked[:n_most]

    def _through(self, u: float, size: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]] | None:
        """Of all drives that reach u silently the one that passes the most gaps; these count no longer."""
        if self.first_only:
            return self._question(u)
        drives = u / self.r
        paths = np.multiply.outer(drives, self.r)
        fired = fires_at(self.edges, paths)
        before = np.cumsum(fired, axis=1) - fired == 0  # up to the first spike, and it included
        gaps = np.clip(np.searchsorted(self.u, paths) - 1, 0, len(size) - 1)
        gain = np.where(before & (np.abs(paths) <= self.furthest), np.clip(size[gaps] - 0.99, 0.0, 1.0), 0.0).sum(1)
        gain[(np.abs(drives) > self.reach) | ~before[np.arange(len(drives)), np.arange(len(drives))]] = -1.0
        best = int(gain.argmax())
        drive = float(drives[best])
        if gain[best] <= 0 or drive in self.drives:
            return None
        taken = np.unique(gaps[best][before[best]])
        size[taken[size[taken] <= 3.0]] = 0.0
        return drive, self._weights(drive)
