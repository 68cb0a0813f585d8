"""What a fit costs its chip, in presentations, and a memory of answers, so that no answer is paid for twice.

A deterministic chip gives the same answer to the same weights and inputs. What is asked of it once the draws are there
(log-likelihoods, estimates, predictions) repeats itself often: chains stay where they are, the medoid and the ensemble
are of the same draws, `map` is one of them. So these answers are remembered.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bayes_snn.chips.contract import Chip, FloatArray, ask_counts, ask_spikes

MEMORY_BYTES = 64 * 2**20  # some 60,000 answers of two outputs to 400 samples
NAMES = {
    "learning": "learning the chip's twin",
    "training": "training, warm-up included",
    "log_likelihood": "likelihood of each draw",
    "prediction": "scores and predictions",
    "distilling": "distilling",
    "checks": "checks of the chip",
}
_OVERHEAD = 300  # bytes of an entry beside its counts


@dataclass(frozen=True)
class Presentations:
    """Samples shown to a chip for a fit, by what for; a sample shown once is one presentation.

    Attributes
    ----------
    learning
        The chip's twin, learned for this fit, and learned again in the warm-up.
    training
        Warm-up and draws, to the last one.
    log_likelihood
        The log-likelihood of each training sample at each kept draw, recorded after the sampling.
    prediction
        Class probabilities: scores, figures, and what else was predicted since.
    distilling
        `FitResult.distil`.
    checks
        How the chip behaves, and of a resumed fit whether it is the same chip, asked before the sampling.
    """

    training: int = 0
    log_likelihood: int = 0
    prediction: int = 0
    distilling: int = 0
    checks: int = 0
    learning: int = 0

    @property
    def total(self) -> int:
        """Their sum."""
        return sum(asdict(self).values())

    def plus(self, purpose: str, n: int) -> Presentations:
        """With `n` presentations more for one purpose, the name of an attribute."""
        return replace(self, **{purpose: getattr(self, purpose) + int(n)})

    def as_dict(self) -> dict[str, int]:
        """Plain values, the sum among them."""
        return {**asdict(self), "total": self.total}


class Programmings:
    """Times that a chip's weights are written: a run with the weights of the one before it writes none."""

    def __init__(self) -> None:
        self.n = 0
        self._written: list[NDArray[np.float64]] = []

    def note(self, weights: Sequence[FloatArray]) -> None:
        """A run with these weights."""
        if len(self._written) != len(weights) or not all(map(np.array_equal, weights, self._written)):
            self._written = [np.array(matrix, np.float64) for matrix in weights]
            self.n += 1

    def checkpoint_state(self) -> dict[str, Any]:
        """All that changes, in plain values."""
        return {"n": self.n, "written": self._written}

    def restore_state(self, state: dict[str, Any]) -> None:
        """Continue from what `checkpoint_state` returned."""
        self.n, self._written = int(state["n"]), list(state["written"])


class AnswerMemory:
    """Spike counts of a deterministic chip, by weights and inputs; the oldest are forgotten beyond `most_bytes`."""

    def __init__(self, most_bytes: int = MEMORY_BYTES) -> None:
        self.most_bytes = most_bytes
        self.forget()

    def forget(self, chip: Chip | None = None) -> None:
        """Forget every answer; those to come are of `chip`."""
        self.chip = chip
        self._bytes = 0
        self._known: OrderedDict[bytes, NDArray[Any]] = OrderedDict()
        self._inputs: tuple[FloatArray, bytes] | None = None  # the last ones, and their digest

    def key(self, weights: Sequence[FloatArray], inputs: FloatArray) -> bytes:
        """Stands for these weights and inputs, by their values."""
        digest = hashlib.blake2b(self._digest(inputs), digest_size=16)
        for matrix in weights:
            digest.update(np.ascontiguousarray(matrix, np.float64).tobytes())
        return digest.digest()

    def get(self, key: bytes) -> NDArray[np.int32] | None:
        """The answer, None where it is not known."""
        if key not in self._known:
            return None
        self._known.move_to_end(key)
        return self._known[key].astype(np.int32)

    def put(self, key: bytes, counts: NDArray[np.int32]) -> None:
        """Remember an answer."""
        kept = counts.astype(np.min_scalar_type(int(counts.max(initial=0))))
        self._known[key] = kept
        self._bytes += kept.nbytes + _OVERHEAD
        while self._bytes > self.most_bytes:
            self._bytes -= self._known.popitem(last=False)[1].nbytes + _OVERHEAD

    def _digest(self, inputs: FloatArray) -> bytes:
        # only an array that owns its data and cannot be written to is sure to be the same next time
        if self._inputs is not None and self._inputs[0] is inputs:
            return self._inputs[1]
        array = np.ascontiguousarray(inputs, np.float64)
        digest = hashlib.blake2b(f"{array.shape}".encode() + array.tobytes(), digest_size=16).digest()
        if isinstance(inputs, np.ndarray) and inputs.base is None and not inputs.flags.writeable:
            self._inputs = (inputs, digest)
        return digest

    def __getstate__(self) -> dict[str, Any]:
        return {"most_bytes": self.most_bytes}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]


class RememberingChip:
    """A chip that is not run for an answer that is remembered: a chip itself, whose answers are checked.

    Parameters
    ----------
    chip
        The chip. Of one that is not deterministic nothing is remembered.
    memory
        Holds answers of one chip, and forgets those of another.
    charge
        Called with the number of samples at each run.
    """

    def __init__(self, chip: Chip, memory: AnswerMemory, charge: Callable[[int], None]) -> None:
        self.chip, self.spec, self.memory, self.charge = chip, chip.spec, memory, charge
        if memory.chip is not chip:
            memory.forget(chip)

    def run(self, weights: Sequence[FloatArray], inputs: FloatArray) -> NDArray[np.int32]:
        """Spike counts (n_samples, n_out), from memory or by a run; a `ChipError` when the chip answers nonsense."""
        if not self.spec.deterministic:
            return self._ask(weights, inputs)
        key = self.memory.key(weights, inputs)
        counts = self.memory.get(key)
        if counts is None:
            counts = self._ask(weights, inputs)
            self.memory.put(key, counts)
        return counts

    def remember(self, weights: Sequence[FloatArray], inputs: FloatArray, counts: NDArray[Any]) -> None:
        """Know the answer to these weights and inputs, which was given elsewhere."""
        if self.spec.deterministic:
            self.memory.put(self.memory.key(weights, inputs), np.asarray(counts, np.int32))

    def spikes(self, weights: Sequence[FloatArray], inputs: FloatArray) -> list[NDArray[Any]]:
        """Spikes of each layer, of a chip that shows them; charged as a run is."""
        shown = ask_spikes(self.chip, weights, inputs)
        self.charge(len(inputs))
        return shown

    def _ask(self, weights: Sequence[FloatArray], inputs: FloatArray) -> NDArray[np.int32]:
        counts = ask_counts(self.chip, weights, inputs)
        self.charge(len(inputs))
        return counts
