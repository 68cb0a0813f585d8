"""The state of a step method as plain values, and a step method brought back to it.

PyMC's steps give most of their state as `sampling_state`, a dataclass with random generators in it. What it lacks, the
steps of this package give as `checkpoint_state()`, a dict of plain values (see `packing.py`), and take back with
`restore_state(state)`. A class must define both itself: one that inherits them may have grown a state that they do not
know, and then a chain would continue wrongly. PyMC's own classes are known here by name.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pymc as pm
from pymc.step_methods.metropolis import CategoricalGibbsMetropolis
from pymc.step_methods.state import DataClassState
from pymc.util import RandomGeneratorState

# attributes that make a difference and that `sampling_state` leaves out
STOCK: dict[type, tuple[str, ...]] = {
    pm.Metropolis: (),
    pm.BinaryMetropolis: (),
    pm.BinaryGibbsMetropolis: (),
    CategoricalGibbsMetropolis: (),
    pm.DEMetropolisZ: (),
    pm.Slice: (),
    pm.NUTS: ("divergences", "_reached_max_treedepth"),
}


def why_not_resumable(step: Any) -> str | None:
    """None when the state of this step can be stored and brought back, else the reason in words."""
    if type(step) in STOCK or {"checkpoint_state", "restore_state"} <= vars(type(step)).keys():
        return None
    return f"the step method {type(step).__name__} does not give its whole state"


def step_state(step: Any) -> dict[str, Any]:
    """The state of a step, in plain values."""
    more = STOCK.get(type(step))
    own = step.checkpoint_state() if more is None else {name: getattr(step, name) for name in more}
    return {"sampling": _plain(step.sampling_state), "own": own}


def restore_step(step: Any, state: dict[str, Any]) -> None:
    """Bring a step, made as the one of the state was, to that state."""
    step.sampling_state = _filled(step.sampling_state, state["sampling"])
    if type(step) not in STOCK:
        step.restore_state(state["own"])
        return
    for name, value in state["own"].items():
        setattr(step, name, value)


def _plain(state: Any) -> Any:
    """A state without what is fixed when a step is made, dataclasses as dicts."""
    if isinstance(state, RandomGeneratorState):
        return {"bits": state.bit_generator_state, "seed": state.seed_seq_state}
    if isinstance(state, DataClassState):
        varying = [field.name for field in fields(state) if not field.metadata.get("frozen", False)]
        return {name: _plain(getattr(state, name)) for name in varying}
    return state


def _filled(template: Any, plain: Any) -> Any:
    """The opposite: a step's present state with the values of another time in it."""
    if isinstance(template, RandomGeneratorState):
        return RandomGeneratorState(bit_generator_state=plain["bits"], seed_seq_state=plain["seed"])
    if isinstance(template, DataClassState):
        for name, value in plain.items():
            setattr(template, name, _filled(getattr(template, name), value))
        return template
    return plain
