"""How a chip behaves, asked before it is trained: does it answer twice alike, and do its weights matter at all?

A chip that says nothing of its noise is taken for deterministic: then one run says it all, and answers are remembered.
If that is wrong, so are the draws, without any other sign. So some sets of weights are shown a few inputs in turn, and
all of it once again. The sets come round in turn, so that what is left of one run and changes the next is seen as well.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bayes_snn.chips.contract import Chip, FloatArray, ask_counts, check_chip, check_inputs
from bayes_snn.chips.presentations import Programmings
from bayes_snn.errors import InputError, check_whole

N_INPUTS, N_SETS = 16, 3
_FALLS = 3  # that make a wrap: a distorted neuron may fall silent all of a sudden, once
_LEVELS = 16  # of an input, from nothing to all of it


@dataclass(frozen=True)
class Behaviour:
    """What a chip did when it was asked.

    Attributes
    ----------
    deterministic
        What its spec says.
    compared, differed
        Spike counts that were asked for twice, with the same weights and inputs, and how many of them differed.
    same_whatever_weights
        Whether all sets of weights were answered alike; None where noise hides it.
    wraps_at
        Where the spike counters seem to begin again at 0, a power of two; None where nothing points to it.
    presentations
        Samples shown.
    programmings
        Times that weights were written.
    """

    deterministic: bool
    compared: int
    differed: int
    same_whatever_weights: bool | None
    wraps_at: int | None
    presentations: int
    programmings: int = 0

    @property
    def contradicts(self) -> bool:
        """Whether the chip is said to be deterministic and is not."""
        return self.deterministic and self.differed > 0

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)

    def sentences(self) -> list[str]:
        """The same in words."""
        twice = f"asked twice with the same weights and inputs, {self.differed:,} of {self.compared:,} spike counts"
        if self.contradicts:
            lines = [f"The chip is said to be deterministic, but {twice} differed: give it {_REMEDY}."]
        elif self.deterministic:
            lines = [f"The chip answered alike: {twice} differed."]
        else:
            lines = [f"The chip is said to be noisy: {twice} differed."]
        if self.same_whatever_weights:
            lines.append(f"{SAME}: check that its driver writes them, and that its inputs reach it.")
        if self.wraps_at is not None:
            lines.append(
                f"Spike counts stay below {self.wraps_at} and fall from there to 0 as the inputs grow: the chip's "
                f"counters seem to begin again at {self.wraps_at}, so count with more bits or give fewer steps."
            )
        return lines


_REMEDY = "a ChipSpec with deterministic=False"
SAME = "The chip answers the same whatever its weights"


def check_behaviour(
    chip: Chip,
    inputs: FloatArray | None = None,
    weights: Sequence[Sequence[FloatArray]] | None = None,
    *,
    seed: int = 0,
) -> Behaviour:
    """Ask a chip twice, with several sets of weights, and say what came.

    Parameters
    ----------
    chip
        Any chip. Where it gives its state (`checkpoint_state`), it is brought back to it.
    inputs
        (n_samples, n_in) inputs to show; standard normal numbers by default. A chip that says `given_inputs` is shown
        these alone: whether its counters begin again is then not asked, for it takes weaker inputs than these.
    weights
        Sets of weights, two at least; drawn uniformly from the range of the chip's weights by default.
    seed
        Of what is drawn.

    Raises
    ------
    InputError
        When an argument cannot be used.
    ChipError
        When the chip answers something else than spike counts.
    """
    spec = check_chip(chip).spec
    check_whole("seed", seed, 0, None, 0)
    rng, given = np.random.default_rng(seed), bool(getattr(chip, "given_inputs", False))
    if given and inputs is None:
        raise InputError(
            "The chip can be shown real samples alone (given_inputs), but none came: pass some as inputs, two at least."
        )
    shown = rng.normal(size=(N_INPUTS, spec.layers[0])) if inputs is None else check_inputs(inputs, spec.layers[0])
    if weights is None:
        low, high = spec.weight_range
        weights = [[rng.uniform(low, high, shape) for shape in spec.weight_shapes] for _ in range(N_SETS)]
    if len(weights) < 2:
        raise InputError(f"{len(weights)} sets of weights came, but at least two are needed to compare: give 3.")
    n_shown, written = 0, Programmings()

    def ask(matrices: Sequence[FloatArray], samples: FloatArray) -> NDArray[np.int32]:
        nonlocal n_shown
        counts = ask_counts(chip, matrices, samples)
        n_shown += len(samples)
        written.note(matrices)
        return counts

    with _state_kept(chip):
        first, second = ([ask(matrices, shown) for matrices in weights] for _ in range(2))
        differed = sum(int((a != b).sum()) for a, b in zip(first, second, strict=True))
        same = all(np.array_equal(first[0], other) for other in first[1:])
        looks = differed == 0 and not same and not given
        wraps_at = _wrap(ask, weights, shown[:4], first, spec.n_steps) if looks else None
    return Behaviour(
        spec.deterministic,
        sum(a.size for a in first),
        differed,
        same if differed == 0 else None,
        wraps_at,
        n_shown,
        written.n,
    )


def _wrap(ask: Any, weights: Any, samples: FloatArray, seen: Sequence[NDArray[np.int32]], n_steps: int) -> int | None:
    """The power of two at which counts begin again: all stay below it, and some fall from just below it to about 0."""
    shares = np.linspace(1 / _LEVELS, 1.0, _LEVELS)
    ramps = np.concatenate([shares[:, None] * sample for sample in samples])
    try:
        runs = [ask(matrices, ramps).reshape(len(samples), _LEVELS, -1) for matrices in weights]
    except InputError:  # a chip whose inputs are whole numbers, for example
        return None
    highest = max(int(counts.max()) for counts in (*runs, *seen))
    modulus = 1 << highest.bit_length()
    if not 4 <= modulus <= n_steps or highest != modulus - 1:
        return None
    falls = 0
    for counts in runs:
        for before, after in itertools.pairwise(counts.transpose(1, 0, 2)):
            falls += int(((before >= modulus - 2) & (after <= 1)).sum())
    return modulus if falls >= _FALLS else None


@contextlib.contextmanager
def _state_kept(chip: Any) -> Any:
    """Bring a chip's stream of noise back to where it was, where the chip gives it."""
    tell, restore = getattr(chip, "checkpoint_state", None), getattr(chip, "restore_state", None)
    state = tell() if callable(tell) and callable(restore) else None
    try:
        yield
    finally:
        if state is not None:
            restore(state)  # type: ignore[misc]
