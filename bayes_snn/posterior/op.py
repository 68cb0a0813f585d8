"""The chip as a black-box PyTensor Op: weights in, spike counts of each sample out.

PyTensor knows nothing of what happens inside, so there is no gradient and every evaluation is a run of the chip.
PyMC's step methods ask for the log-likelihood at both ends of every proposal; the Op remembers the last few, so
that only the new end costs a run. What is made of the counts is in `readout.py`: it costs the chip nothing.
"""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytensor.tensor as pt
from numpy.typing import NDArray
from pytensor import config
from pytensor.graph.basic import Apply
from pytensor.graph.op import Op
from pytensor.link.numba.dispatch.basic import generate_fallback_impl, numba_funcify

from bayes_snn.chips.contract import Chip, FloatArray, IntArray, ask_counts, frozen
from bayes_snn.posterior.noisy import NoiseChoice

# With fastmath LLVM may reorder a sum, and does so differently where a function is compiled and where it comes out of
# PyTensor's cache: the last bits of a log-density, and draws with them, would depend on what was compiled before. Set
# for the process, since chains in other processes and PyMC's own steps must be compiled alike.
config.numba__fastmath = False

# evaluations that are remembered: current point, proposal, and the one before it, which a joint step of several
# variables comes back to, are needed at least
MEMORY = 8

NO_GRADIENT = (
    "The likelihood is a chip, which has no gradient: sample the weights with a Metropolis step (sampler='block' "
    "or pm.Metropolis), and leave NUTS to hyperparameters."
)


class ChipCounts(Op):
    """Spike counts (n_runs, n_samples, n_classes) of the training inputs, from weights (n_pre, n_post).

    Parameters
    ----------
    chip
        Any chip; it is run on `inputs` once for each new set of weights.
    inputs
        (n_samples, n_in) training inputs.
    noise
        How a noisy chip is treated: each evaluation makes `noise.repeats` runs.

    Attributes
    ----------
    presentations
        Samples shown to the chip so far.
    stand_in
        A twin that answers in the place of the chip where weights are not remembered; None but in the warm-up of a
        chain on a twin.

    The last MEMORY evaluations are remembered, by the weights alone. On a noisy chip the steps of this package have all
    but the current point forgotten before each proposal (see `keep`), so that every proposal gets an estimate of its
    own and the current point keeps the one that it was accepted with: the chain is pseudo-marginal.
    """

    __props__ = ()  # two Ops are equal only when they are the same object: each counts for itself

    def __init__(self, chip: Chip, inputs: FloatArray, noise: NoiseChoice = NoiseChoice()) -> None:  # noqa: B008
        self.chip = chip
        self.inputs = frozen(inputs)
        self._memory = MEMORY
        self.presentations = 0
        self.noise = noise
        self.stand_in: Chip | None = None
        self._known: OrderedDict[bytes, IntArray] = OrderedDict()

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)

    def make_node(self, *weights: Any) -> Apply:
        shape = (None, len(self.inputs), self.chip.spec.layers[-1])  # how many runs is not known yet
        counts = pt.TensorType("int64", shape)()
        return Apply(self, [pt.as_tensor_variable(matrix) for matrix in weights], [counts])

    def perform(self, node: Apply, weights: Sequence[Any], output_storage: Any) -> None:
        output_storage[0][0] = self.evaluate(weights)

    def evaluate(self, weights: Sequence[FloatArray]) -> NDArray[np.int64]:
        """Spike counts of each run, from memory when these weights were seen a short while ago."""
        counts = self.known(weights)
        if counts is None:
            counts = self.run(weights) if self.stand_in is None else self._runs(self.stand_in, weights, self.inputs)
            self.remember(weights, counts)
        return counts

    def known(self, weights: Sequence[FloatArray]) -> NDArray[np.int64] | None:
        """A copy of what is remembered of these weights, which are then remembered for longer; None if nothing is."""
        key = _key(weights)
        if key not in self._known:
            return None
        self._known.move_to_end(key)
        return self._known[key].astype(np.int64)

    def remember(self, weights: Sequence[FloatArray], counts: IntArray) -> None:
        """Have `evaluate` answer these counts for these weights, for as long as they are remembered."""
        key = _key(weights)
        self._known[key] = counts.astype(np.min_scalar_type(self.chip.spec.n_steps))  # checkpoints hold them
        self._known.move_to_end(key)
        if len(self._known) > self._memory:
            self._known.popitem(last=False)

    def run(self, weights: Sequence[FloatArray]) -> NDArray[np.int64]:
        """Run the chip on all training inputs, whatever is remembered, and charge for it."""
        counts = self.answers(weights, self.inputs)
        self.presentations += self.noise.repeats * len(self.inputs)
        return counts

    def answers(self, weights: Sequence[FloatArray], inputs: FloatArray) -> NDArray[np.int64]:
        """Run the chip on some inputs, `noise.repeats` times: counts (n_runs, n, n_classes). Who asks charges for it.

        Raises a `ChipError` when the chip answers nonsense or raises an exception.
        """
        return self._runs(self.chip, weights, inputs)

    def _runs(self, chip: Chip, weights: Sequence[FloatArray], inputs: FloatArray) -> NDArray[np.int64]:
        weights, inputs = [frozen(matrix) for matrix in weights], frozen(inputs)
        runs = np.empty((self.noise.repeats, len(inputs), chip.spec.layers[-1]), np.int64)
        for counts in runs:
            counts[:] = ask_counts(chip, weights, inputs)
        return runs

    def keep(self, weights: Sequence[FloatArray]) -> None:
        """Forget every evaluation but that of these weights.

        A rejected proposal may come back, on a grid above all. On a noisy chip the estimate that it was rejected with
        says nothing of the next one.
        """
        key = _key(weights)
        self._known = OrderedDict([(key, self._known[key])] if key in self._known else [])

    @contextmanager
    def fresh_estimates(self) -> Iterator[None]:
        """Run a noisy chip at every evaluation: a population's particles, equal ones on a grid, share no estimate."""
        memory, self._memory = self._memory, self._memory if self.chip.spec.deterministic else 0
        try:
            yield
        finally:
            self._memory = memory

    def forget(self) -> None:
        """Forget every evaluation."""
        self._known.clear()

    def checkpoint_state(self) -> list[tuple[bytes, IntArray]]:
        """What is remembered; see `bayes_snn.checkpoint.step_state`."""
        return list(self._known.items())

    def restore_state(self, state: list[tuple[bytes, IntArray]]) -> None:
        """Remember what was remembered then; a `ValueError` where that is nothing that an Op remembers."""
        for key, counts in state:
            if not isinstance(key, bytes):
                raise ValueError("the Op does not remember such things")
            self.check_counts(counts)
        self._known = OrderedDict(state)

    def check_counts(self, counts: Any) -> NDArray[np.int64]:
        """Counts of the training inputs that were stored, or a `ValueError`."""
        shape = (len(self.inputs), self.chip.spec.layers[-1])
        whole = isinstance(counts, np.ndarray) and counts.dtype.kind in "iu" and counts.ndim == 3 and counts.size
        if not whole or counts.shape[1:] != shape:
            raise ValueError("these are no spike counts of the training inputs")
        return np.asarray(counts, np.int64)

    def pullback(self, inputs: Any, outputs: Any, cotangents: Any) -> list[Any]:
        raise NotImplementedError(NO_GRADIENT)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_known": OrderedDict()}


def _key(weights: Sequence[FloatArray]) -> bytes:
    # by value: a model may compute its weights in single precision, of which sweeps keep a copy in double precision
    return b"".join(np.ascontiguousarray(matrix, np.float64).tobytes() for matrix in weights)


@numba_funcify.register(ChipCounts)
def _run_in_python(op: ChipCounts, node: Apply, **kwargs: Any) -> Any:
    """A chip is Python to PyTensor's Numba backend; that is meant so and needs no warning."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Numba will use object mode", UserWarning)
        return generate_fallback_impl(op, node)
