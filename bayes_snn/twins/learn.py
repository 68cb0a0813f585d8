"""`learn_twin()`: learn how a chip answers, in few presentations."""

from __future__ import annotations

import numpy as np

from bayes_snn.chips.contract import Chip, FloatArray, check_chip, check_inputs
from bayes_snn.errors import InputError, check_whole
from bayes_snn.twins.asking import AskedChip, BudgetSpentError
from bayes_snn.twins.contract import COUNTS, SPIKES
from bayes_snn.twins.families import AnyTwin
from bayes_snn.twins.from_counts import learn_from_counts
from bayes_snn.twins.from_spikes import learn_from_spikes
from bayes_snn.waiting import waiting

MOST_BUDGET = 10**12


def learn_twin(
    chip: Chip,
    budget: int | None = None,
    seed: int = 0,
    *,
    inputs: FloatArray | None = None,
    way: str | None = None,
) -> AnyTwin:
    """Learn a twin of a chip: a simulated chip that answers as it does.

    Parameters
    ----------
    chip
        Any chip.
    budget
        Presentations that it may be shown at most. By default the twin is learned until it is good enough.
    seed
        Of the weights and inputs that are shown.
    inputs
        (n, n_in) inputs like those that the twin is for, for example the training inputs; standard normal ones without.
        From spikes it is shown these, jittered, and questions of the twin's own between them, or these alone where the
        chip says `given_inputs`; from counts inputs of the twin's own choice.
    way
        "spikes", from the spikes of all neurons, or "counts", from output counts alone; by default from spikes where
        the chip shows them.

    Returns
    -------
    The twin. `twin.learned` says how it was learned, how often it was wrong, and what it cost the chip.

    Raises
    ------
    InputError
        When an argument cannot be used, the chip cannot be learned that way, its inputs can be chosen by nobody
        (`given_inputs`) and it shows counts alone, or the budget is too small to learn anything.
    ChipError
        When the chip answers nonsense.
    """
    spec = check_chip(chip).spec
    if budget is not None:
        check_whole("budget", budget, 1, MOST_BUDGET, 5000)
    check_whole("seed", seed, 0, None, 0)
    if inputs is not None:
        inputs = np.array(check_inputs(inputs, spec.layers[0]))
    return learn(AskedChip(chip, budget), seed, inputs, way)


def learn(asked: AskedChip, seed: int, inputs: FloatArray | None = None, way: str | None = None) -> AnyTwin:
    """`learn_twin` of a chip that is counted; `asked.budget` limits it."""
    way = _choose_way(asked.chip, way)
    if asked.given_inputs and way == SPIKES and inputs is None:
        raise InputError(
            "The chip can be shown real samples alone (given_inputs), but none came: pass some, "
            "learn_twin(chip, inputs=...), or fit, which shows those that it trains on."
        )
    try:
        with waiting(f"Learning a twin of the chip from its {way}") as tell:
            if way == SPIKES:

                def progress(shown: int, wrong: float) -> None:
                    tell(f"{shown:,} presentations, {wrong:.2%} of counts wrong")

                twin, recordings = learn_from_spikes(asked, seed, inputs, progress)
                twin.recordings = recordings
                return twin
            return learn_from_counts(asked, seed)
    except BudgetSpentError:
        raise InputError(
            f"{asked.budget:,} presentations are too few to learn a chip from its {way}: give a few thousand, or leave "
            "the budget out."
        ) from None


def _choose_way(chip: Chip, way: str | None) -> str:
    """The way that was asked for, or the one by what the chip shows."""
    shows = callable(getattr(chip, "spikes", None))
    way = way or (SPIKES if shows else COUNTS)
    if way not in (SPIKES, COUNTS):
        raise InputError(
            f"way was {way!r:.40}, but {SPIKES!r} or {COUNTS!r} is expected: leave it out to choose by the chip."
        )
    if way == SPIKES and not shows:
        raise InputError(
            "The chip has no method `spikes`, so it cannot be learned from spikes: leave way out, and it is learned "
            "from its counts."
        )
    return way
