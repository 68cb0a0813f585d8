"""The bench on which a chip of two layers of weights is asked: hidden neurons are switched on, off, or driven.

A hidden neuron that is driven far up fires at every step, far down it is silent. Input `address[j]` drives hidden
neuron j alone, so each sample sets every hidden neuron as it likes, in one programming of the first weights; the
second weights are free.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bayes_snn.chips.rounding import clip_and_round, level_step
from bayes_snn.twins.asking import AskedChip

RAIL = 1e5  # an input that drives a neuron beyond all that its comparator does


class Bench:
    """A chip with switches on its hidden neurons.

    Parameters
    ----------
    asked
        The chip.
    rng
        Decides which hidden neurons carry what.

    Attributes
    ----------
    address
        (n_hidden,) the input that drives each hidden neuron.
    gain
        (n_hidden, n_out) of the second synapses, as far as it is known.
    least, most
        (n_out,) the smallest and largest count of each output so far.
    """

    def __init__(self, asked: AskedChip, rng: np.random.Generator) -> None:
        self.rng = rng
        self.asked, self.spec = asked, asked.spec
        self.n_in, self.n_hidden, self.n_out = asked.spec.layers
        self.n_steps = asked.spec.n_steps
        self.low, self.high = asked.spec.weight_range
        self.strongest = self.high if self.high >= -self.low else self.low
        self.address = np.arange(self.n_hidden) % self.n_in
        self.gain = np.ones((self.n_hidden, self.n_out))
        self.least, self.most = np.full(self.n_out, self.n_steps), np.zeros(self.n_out, np.int64)

    def run(
        self, first: NDArray[np.float64], second: NDArray[np.float64], inputs: NDArray[np.float64]
    ) -> NDArray[np.int32]:
        """Counts (n_samples, n_out)."""
        counts = self.asked.run([first, second], inputs)
        self.least = np.minimum(self.least, counts.min(axis=0, initial=self.n_steps))
        self.most = np.maximum(self.most, counts.max(axis=0, initial=0))
        return counts

    def driven(self, drives: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.int32]:
        """Counts when hidden neurons receive these drives (n_samples, n_hidden); inf and -inf are the rails."""
        first = np.zeros((self.n_in, self.n_hidden))
        first[self.address, np.arange(self.n_hidden)] = self.strongest
        inputs = np.zeros((len(drives), self.n_in))
        rail = RAIL * np.sign(self.strongest)
        inputs[:, self.address] = np.where(np.isinf(drives), np.sign(drives) * rail, drives / self.strongest)
        return self.run(first, second, inputs)

    def switched(self, on: NDArray[np.bool_], second: NDArray[np.float64]) -> NDArray[np.int32]:
        """Counts when these hidden neurons (n_samples, n_hidden) are on and the others off."""
        return self.driven(np.where(on, np.inf, -np.inf), second)

    def written(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Weights as the chip holds them."""
        step = level_step(self.spec.weight_range, self.spec.weight_bits)
        return np.asarray(clip_and_round(weights, self.low, self.high, np.float64(step)))

    def ladder(self, targets: list[list[float]]) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
        """Switches and second weights by which outputs see constant drives: hidden neurons are switched on in turn.

        Parameters
        ----------
        targets
            Of each output the drives that it shall see, ascending.

        Returns
        -------
        Switches (n_samples, n_hidden) and weights (n_hidden, n_out), for as many of the first drives of each output as
        the hidden neurons suffice for. What the outputs see is near the targets; `constant` tells.
        """
        second, switches = np.zeros((self.n_hidden, self.n_out)), np.zeros(self.n_hidden, np.bool_)
        order = self.rng.permutation(np.flatnonzero((self.gain != 0).any(1)))
        nearest = 0.5 * float(level_step(self.spec.weight_range, self.spec.weight_bits)) + 1e-9
        on: list[NDArray[np.bool_]] = []
        seen, used = np.zeros(self.n_out), 0
        for number in range(max(map(len, targets))):
            target = np.array([each[min(number, len(each) - 1)] if each else 0.0 for each in targets])
            start = used
            while (np.abs(target - seen) > nearest).any() and used < len(order):
                gain = self.gain[order[used]]
                wanted = np.divide(target - seen, gain, out=np.zeros(self.n_out), where=gain != 0)
                second[order[used]] = self.written(np.where(np.abs(target - seen) > nearest, wanted, 0.0))
                seen = seen + second[order[used]] * gain
                used += 1
            if (np.abs(target - seen) > nearest).any():
                second[order[start:used]] = 0.0
                break
            switches[order[:used]] = True
            on.append(switches.copy())
        return np.array(on, np.bool_).reshape(len(on), self.n_hidden), second

    def constant(self, on: NDArray[np.bool_], second: NDArray[np.float64]) -> NDArray[np.float64]:
        """Drives (n_samples, n_out) that the outputs see while these hidden neurons are on."""
        return np.asarray(on @ (self.gain * self.written(second)))
