"""What a twin is: a chip that has learned how another one answers, and what that cost.

A twin is a chip (`spec`, `run`, and what it offers beside), so all that works on a chip works on it, at no
presentation. Its counts are a function of weights and inputs: where the chip is noisy, the twin answers with the same
random numbers each time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol, runtime_checkable

from bayes_snn.chips.contract import Chip, ChipSpec, FloatArray, IntArray
from bayes_snn.errors import InputError

SPIKES, COUNTS = "spikes", "counts"  # what a chip was learned from
_NAMED = 8  # outputs in a sentence


@dataclass(frozen=True)
class Learned:
    """How a twin was learned.

    Attributes
    ----------
    way
        SPIKES or COUNTS: what the chip showed of itself.
    presentations, programmings
        Samples that the chip was shown, and times that its weights were written.
    mismatch, n_compared
        Share of the output counts that the twin had wrong, of those that it was not learned from, and how many these
        were; nan and 0 where none were kept back.
    chip
        The name of the chip's class.
    notes
        Sentences on what was found, and on what could not be learned.
    """

    way: str
    presentations: int = 0
    programmings: int = 0
    mismatch: float = float("nan")
    n_compared: int = 0
    chip: str = ""
    notes: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """The fields in plain values."""
        return {**asdict(self), "notes": list(self.notes)}


@runtime_checkable
class Twin(Protocol):
    """A chip that has learned how another one answers.

    `family` names its neurons; `learned` says how they were learned.
    """

    spec: ChipSpec
    family: str
    learned: Learned

    def run(self, weights: Any, inputs: FloatArray) -> IntArray:
        """Spike counts (n_samples, n_out); see `Chip.run`."""
        ...

    def spikes(self, weights: Any, inputs: FloatArray) -> list[Any]:
        """Spikes (n_samples, n_steps, n_neurons) of each layer."""
        ...


def never_varied(shown: int, counts: Sequence[int]) -> InputError:
    """What to say of a chip whose outputs counted these spikes, one number each, in all of so many presentations."""
    numbers = sorted({int(count) for count in counts})
    if len(numbers) == 1:
        what = f"Each output counted {numbers[0]} spikes"
    else:
        named = ", ".join(str(int(count)) for count in counts[:_NAMED]) + (", ..." if len(counts) > _NAMED else "")
        what = f"The outputs counted {named} spikes, one number for each,"
    return InputError(
        f"{what} in all of {shown:,} presentations, whatever the weights and inputs were: check that the chip's driver "
        "writes the weights, and that inputs reach it."
    )


def spec_of_twin(spec: ChipSpec) -> ChipSpec:
    """The spec of a twin of a chip: it answers the same each time."""
    return replace(spec, deterministic=True, drifting=False)


def _computes(spec: ChipSpec) -> ChipSpec:
    """What a spec says of what a twin of the chip computes: how large weights are expected to be has no part in it."""
    parameters = tuple(replace(parameter, scale=None) for parameter in spec.parameters)
    return replace(spec_of_twin(spec), parameters=parameters)


def check_twin(twin: Chip, chip: Chip) -> None:
    """An `InputError` unless the twin takes what the chip takes: layers, steps, range and levels of the weights."""
    ours, theirs = _computes(twin.spec), _computes(chip.spec)
    if ours == theirs:
        return
    named = ("layers", "n_steps", "weight_range", "weight_bits", "parameters")
    differs = next(name for name in named if getattr(ours, name) != getattr(theirs, name))
    raise InputError(
        f"The twin has {differs} {getattr(ours, differs)!r:.80}, but the chip has {getattr(theirs, differs)!r:.80}: it "
        "is the twin of another chip, so learn one of this chip with learn_twin."
    )
