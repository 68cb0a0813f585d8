"""The chip as a black-box PyTensor Op: weights and labels in, log-likelihood of each sample out.

PyTensor knows nothing of what happens inside, so there is no gradient and every evaluation is a run of the chip.
PyMC's step methods ask for the log-likelihood at both ends of every proposal; the Op remembers the last few, so
that only the new end costs a run.
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
from bayes_snn.posterior.likelihood import BETA, log_likelihood
from bayes_snn.posterior.noisy import NoiseChoice, log_mean

# With fastmath LLVM may reorder a sum, and does so differently where a function is compiled and where it comes out of
# PyTensor's cache: the last bits of a log-density, and draws with them, would depend on what was compiled before. Set
# for the process, since chains in other processes and PyMC's own steps must be compiled alike.
config.numba__fastmath = False

NO_GRADIENT = (
    "The likelihood is a chip, which has no gradient: sample the weights with a Metropolis step (sampler='block' "
    "or pm.Metropolis), and leave NUTS to hyperparameters."
)


class ChipLogLikelihood(Op):
    """log p(y_i | x_i, W) of every training sample, (n_samples,), from weights (n_pre, n_post) and labels.

    Parameters
    ----------
    chip
        Any chip; it is run on `inputs` once for each new set of weights.
    inputs
        (n_samples, n_in) training inputs.
    beta
        Weight of a spike in the likelihood.
    memory
        How many evaluations are remembered. Three are needed at least (current point, proposal, and the one before
        it, which a joint step of several variables comes back to). On a noisy chip the steps of this package have all
        but the current point forgotten before each proposal (see `keep`), so that every proposal gets an estimate of
        its own and the current point keeps the one that it was accepted with: the chain is pseudo-marginal.

    Attributes
    ----------
    presentations
        Samples shown to the chip so far.
    noise
        How a noisy chip is treated: each evaluation averages `noise.repeats` runs.
    """

    __props__ = ()  # two Ops are equal only when they are the same object: each counts for itself

    def __init__(self, chip: Chip, inputs: FloatArray, beta: float = BETA, memory: int = 8) -> None:
        self.chip = chip
        self.inputs = frozen(inputs)
        self.beta = float(beta)
        self._memory = max(int(memory), 3)
        self.presentations = 0
        self.noise = NoiseChoice()
        self._known: OrderedDict[bytes, NDArray[np.float64]] = OrderedDict()

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)

    def make_node(self, *arguments: Any) -> Apply:
        variables = [pt.as_tensor_variable(argument) for argument in arguments]
        return Apply(self, variables, [pt.dvector()])

    def infer_shape(self, node: Apply, input_shapes: Any) -> list[tuple[Any, ...]]:
        return [(pt.as_tensor_variable(len(self.inputs)),)]

    def perform(self, node: Apply, inputs: Sequence[Any], output_storage: Any) -> None:
        *weights, labels = inputs
        output_storage[0][0] = self.evaluate(weights, labels)

    def evaluate(self, weights: Sequence[FloatArray], labels: NDArray[np.int64]) -> NDArray[np.float64]:
        """Log-likelihood of each sample, from memory when these weights were seen of late."""
        terms = self.known(weights, labels)
        if terms is None:
            terms = self.run(weights, labels)
            self.remember(weights, labels, terms)
        return terms.copy()

    def known(self, weights: Sequence[FloatArray], labels: NDArray[np.int64]) -> NDArray[np.float64] | None:
        """What is remembered of these weights, which are then remembered for longer; None if nothing is."""
        key = _key(weights, labels)
        if key in self._known:
            self._known.move_to_end(key)
        return self._known.get(key)

    def remember(self, weights: Sequence[FloatArray], labels: NDArray[np.int64], terms: NDArray[np.float64]) -> None:
        """Have `evaluate` answer these terms for these weights, for as long as they are remembered."""
        key = _key(weights, labels)
        self._known[key] = terms
        self._known.move_to_end(key)
        if len(self._known) > self._memory:
            self._known.popitem(last=False)

    def run(self, weights: Sequence[FloatArray], labels: NDArray[np.int64]) -> NDArray[np.float64]:
        """Run the chip on all training inputs, whatever is remembered."""
        return self.terms(weights, self.inputs, labels)

    def terms(
        self, weights: Sequence[FloatArray], inputs: FloatArray, labels: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """log p of the labels of some inputs: a run of the chip, or `noise.repeats` of them that are averaged."""
        return self.score(self.answers(weights, inputs), labels)

    def answers(self, weights: Sequence[FloatArray], inputs: FloatArray) -> list[IntArray]:
        """Run the chip on some inputs, `noise.repeats` times, and charge for them: spike counts of each run.

        Raises a `ChipError` when the chip answers nonsense or raises an exception.
        """
        weights, inputs = [frozen(matrix) for matrix in weights], frozen(inputs)
        runs: list[IntArray] = []
        for _ in range(self.noise.repeats):
            runs.append(ask_counts(self.chip, weights, inputs))
            self.presentations += len(inputs)
        return runs

    def score(self, runs: Sequence[IntArray], labels: NDArray[np.int64]) -> NDArray[np.float64]:
        """log p of the labels given spike counts of one run or more; see `noisy` for what is averaged."""
        return log_mean([log_likelihood(counts, labels, self.beta) for counts in runs])

    def keep(self, weights: Sequence[FloatArray], labels: NDArray[np.int64]) -> None:
        """Forget every evaluation but that of these weights.

        A rejected proposal may come back, on a grid above all. On a noisy chip the estimate that it was rejected with
        says nothing of the next one.
        """
        key = _key(weights, labels)
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

    def checkpoint_state(self) -> list[tuple[bytes, NDArray[np.float64]]]:
        """What is remembered; see `bayes_snn.checkpoint.step_state`."""
        return list(self._known.items())

    def restore_state(self, state: list[tuple[bytes, NDArray[np.float64]]]) -> None:
        """Remember what was remembered then; a `ValueError` where that is nothing that an Op remembers."""
        for key, terms in state:
            if not isinstance(key, bytes) or not isinstance(terms, np.ndarray) or terms.dtype != np.float64:
                raise ValueError("the Op does not remember such things")
        self._known = OrderedDict(state)

    def pullback(self, inputs: Any, outputs: Any, cotangents: Any) -> list[Any]:
        raise NotImplementedError(NO_GRADIENT)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_known": OrderedDict()}


def _key(weights: Sequence[FloatArray], labels: NDArray[np.int64]) -> bytes:
    # by value: a model may compute its weights in single precision, of which sweeps keep a copy in double precision
    arrays = [*(np.ascontiguousarray(matrix, np.float64) for matrix in weights), np.ascontiguousarray(labels)]
    return b"".join([array.tobytes() for array in arrays])


@numba_funcify.register(ChipLogLikelihood)
def _run_in_python(op: ChipLogLikelihood, node: Apply, **kwargs: Any) -> Any:
    """A chip is Python to PyTensor's Numba backend; that is meant so and needs no warning."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Numba will use object mode", UserWarning)
        return generate_fallback_impl(op, node)
