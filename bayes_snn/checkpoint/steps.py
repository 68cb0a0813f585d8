"""The steps of a fit with a checkpoint: draws that are stored already are replayed, all others are made and stored.

To PyMC a resumed fit is a fit like any other. The chain starts where it started, and its first draws come out of the
checkpoint, without a run of the chip; after the last of them steps, random generators, the Op's memory and the chip's
stream of noise are brought to where they were. Every chain, in whatever process it runs, has a store of its own.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from functools import cached_property
from multiprocessing.util import Finalize
from pathlib import Path
from typing import Any

import numpy as np
import pymc as pm
from pymc.step_methods.compound import CompoundStep, flatten_steps

from bayes_snn.checkpoint.chain_store import ChainStore
from bayes_snn.checkpoint.step_state import restore_step, step_state, why_not_resumable
from bayes_snn.chips.contract import as_matrices
from bayes_snn.errors import CheckpointError, InputError, text_of
from bayes_snn.likelihood import PLAIN, Readout
from bayes_snn.posterior.build import weights_at
from bayes_snn.posterior.op import ChipCounts
from bayes_snn.posterior.readout import readout_function

ORPHAN_SECONDS = 0.2
LEAST_PAUSE = 50.0  # times as long as a save took, so that it costs 2% at most


class CheckpointedSteps(CompoundStep):  # type: ignore[misc]
    """All steps of a fit, as one for `pm.sample`; draws are those of the same steps without it.

    Parameters
    ----------
    methods
        The steps.
    op
        The chip's Op.
    folder, fit
        The checkpoint's folder, and the digest of the fit.
    seconds, draws
        When to save: after so many seconds, and, if given, after so many draws at latest.
    spent
        Seconds that the fit took before it was stopped.

    Raises
    ------
    InputError
        When the state of a step cannot be stored.
    """

    def __init__(
        self,
        methods: Sequence[Any],
        op: ChipCounts,
        folder: Path,
        fit: str,
        *,
        seconds: float,
        draws: int | None,
        spent: float,
    ) -> None:
        super().__init__(methods)
        self._op, self._folder, self._fit = op, folder, fit
        self._seconds, self._draws = seconds, draws
        self._began = time.time() - spent
        self.n_in_turns = 1  # chains of this process that draw in turns, each of which saves
        self._store: ChainStore | None = None
        self._left: dict[str, Any] | None = None  # the state at the end of the replay
        self._done = 0
        self._in_a_draw = False
        for step in flatten_steps(self):
            if reason := why_not_resumable(step):
                raise InputError(
                    f"The fit cannot be stored while it runs, because {reason}: fit without a checkpoint, or give the "
                    "step checkpoint_state and restore_state."
                )

    @property
    def sampling_state(self) -> Any:
        """State of all steps, as PyMC has it."""
        return CompoundStep.sampling_state.fget(self)

    @sampling_state.setter
    def sampling_state(self, state: Any) -> None:
        self.flush()  # PyMC brings the steps back to their start between two chains
        self._store = None
        CompoundStep.sampling_state.fset(self, state)

    def setup_chain(self, rng: np.random.Generator, tune: int, draws: int) -> None:
        """Begin a chain, where it was left if it was begun before."""
        self.flush()
        # PyMC does not say which chain it is, but the generators of all chains are spawned from one, in order
        seed: Any = rng.bit_generator.seed_seq
        chain = int(seed.spawn_key[-1])
        if len(self.methods) == 1:  # as PyMC does with a step that is no compound
            self.methods[0].setup_chain(rng, tune, draws)
        else:
            super().setup_chain(rng, tune, draws)
        self._store = ChainStore(self._folder / f"chain_{chain}", self._fit, chain, tune + draws)
        self._left = self._store.load()
        self._done, self._in_a_draw = 0, False
        self._saved_at, self._pause = time.monotonic(), 0.0
        if multiprocessing.parent_process() is not None:
            Finalize(None, self.flush, exitpriority=0)  # Ctrl-C ends this process between two draws
            threading.Thread(target=_end_with_parent, daemon=True).start()

    def step(self, point: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], list[dict[str, Any]]]:
        """A draw, stored or new."""
        store = self._store
        if store is None:
            raise RuntimeError("setup_chain comes before step")
        if self._done < self._n_left:
            record = store.draw(self._done)
            if self._done == 0:
                self._check_record(record, point)
            self._done += 1
            if self._done == self._n_left:
                self._restore()
            return self._parted(record)
        self._in_a_draw = True  # for good, if the chip fails in it: the steps are where no draw ends then
        new, stats = super().step(point)
        self._in_a_draw = False
        self._done += 1
        store.append(self._joined(new, stats))
        if self._is_due(store):
            self._save(store)
        return new, stats

    def stop_tuning(self) -> None:
        """The warm-up is over: the steps know, unless they are still where the replay has not come to."""
        if self._done >= self._n_left:
            super().stop_tuning()

    def flush(self) -> None:
        """Save the draws that are not saved yet; a disk that does not take them is no reason to lose a result."""
        store = self._store
        if store is None or store.n_draws == store.n_saved or self._in_a_draw:
            return
        try:
            self._save(store)
        except CheckpointError as error:
            warnings.warn(str(error), UserWarning, stacklevel=2)

    # ---- the state

    @property
    def _n_left(self) -> int:
        """Draws to replay: none once the steps are where they were."""
        return 0 if self._left is None or self._store is None else self._store.n_saved

    def _restore(self) -> None:
        state, self._left = self._left or {}, None
        try:
            for step, known in zip(flatten_steps(self), state["steps"], strict=True):
                restore_step(step, known)
            self._op.restore_state(state["op"])
            chip: Any = self._op.chip
            if state["chip"] is not None:
                chip.restore_state(state["chip"])
        except (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError) as error:
            raise CheckpointError(
                f"The steps in {self._folder} cannot be brought back to where they were ({type(error).__name__}: "
                f"{text_of(error)}): their state was stored by another program or edited, so take it from a copy, or "
                "fit again."
            ) from error

    def _save(self, store: ChainStore) -> None:
        began = time.monotonic()
        tell = getattr(self._op.chip, "checkpoint_state", None)
        store.save(
            {
                "steps": [step_state(step) for step in flatten_steps(self)],
                "op": self._op.checkpoint_state(),
                "chip": None if tell is None else tell(),
                "seconds": time.time() - self._began,
            }
        )
        self._saved_at = time.monotonic()
        self._pause = LEAST_PAUSE * self.n_in_turns * (self._saved_at - began)

    def _is_due(self, store: ChainStore) -> bool:
        if store.n_draws == store.total or store.n_saved == 0:  # from the first draw on there is a fit to continue with
            return True
        if self._draws is not None and store.n_draws - store.n_saved >= self._draws:
            return True
        return time.monotonic() - self._saved_at >= max(self._seconds, self._pause)

    # ---- draws

    def _joined(self, point: dict[str, np.ndarray], stats: list[dict[str, Any]]) -> dict[str, Any]:
        """A draw and its stats as one record; of stats that are objects, arrays are kept and warnings are not."""
        record: dict[str, Any] = {f"point {name}": value for name, value in point.items()}
        for i, (found, dtypes) in enumerate(zip(stats, self.stats_dtypes, strict=True)):
            for name, value in found.items():
                if np.dtype(dtypes[name]) != np.dtype(object):
                    record[f"stat {i} {name}"] = np.asarray(value, dtypes[name])
                elif isinstance(value, np.ndarray) and value.dtype.kind in "iu":
                    record[f"stat {i} {name}"] = value
        return record

    def _check_record(self, record: dict[str, np.ndarray], point: dict[str, np.ndarray]) -> None:
        """A `CheckpointError` unless a stored draw, and so each of them, is one of these variables and steps."""
        values = {f"point {name}": np.shape(value) for name, value in point.items()}
        stats = {
            f"stat {i} {name}": np.dtype(dtype)
            for i, dtypes in enumerate(self.stats_dtypes)
            for name, dtype in dtypes.items()
        }
        found = {name: value.shape for name, value in record.items() if name in values and value.dtype.kind in "biuf"}
        others = [name for name in record if name not in values]
        if found != values or not all(name in stats and _fits(record[name], stats[name]) for name in others):
            raise CheckpointError(
                f"The draws in {self._folder} are not of the variables and steps of this fit: they were stored by "
                "another program or edited, so take them from a copy, or fit again."
            )

    def _parted(self, record: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], list[dict[str, Any]]]:
        """A record as draw and stats."""
        point: dict[str, np.ndarray] = {}
        stats: list[dict[str, Any]] = [
            {name: None for name, dtype in dtypes.items() if np.dtype(dtype) == np.dtype(object)}
            for dtypes in self.stats_dtypes
        ]
        for key, value in record.items():
            kind, _, name = key.partition(" ")
            if kind == "point":
                point[name] = np.array(value)
            else:
                i, _, name = name.partition(" ")
                stats[int(i)][name] = value[()]
        return point, stats


def _fits(value: np.ndarray, dtype: np.dtype[Any]) -> bool:
    if dtype == np.dtype(object):
        return value.dtype.kind in "iu"
    return value.dtype == dtype and value.size == 1


class KnownAnswers:
    """What the chip of each stored chain of a model has answered last; nothing is compiled before it is asked."""

    def __init__(self, model: pm.Model) -> None:
        self._model = model

    @cached_property
    def _at(self) -> tuple[Callable[..., Any], Callable[..., Readout]]:
        """Weights and readout of a point."""
        return weights_at(self._model), readout_function(self._model)

    def last(
        self, record: dict[str, np.ndarray], remembered: Sequence[tuple[bytes, np.ndarray]]
    ) -> tuple[list[np.ndarray] | None, Readout, float]:
        """Weights that the chip of a chain was run with, None where none are known, a readout, and log L by it.

        Those of its last draw, where the sampler gives log L, else the last ones that the Op remembers, by a plain
        readout.
        """
        likelihood = self._model.likelihood
        stats = [name for name in record if name.startswith("stat ") and name.endswith(" log_likelihood")]
        if stats:
            weights_of, readout_at = self._at
            point = {variable.name: record[f"point {variable.name}"] for variable in self._model.value_vars}
            return [np.asarray(matrix) for matrix in weights_of(point)], readout_at(point), float(record[stats[-1]])
        if not remembered:
            return None, PLAIN, float("nan")
        key, counts = remembered[-1]
        shapes = likelihood.op.chip.spec.weight_shapes
        n = sum(int(np.prod(shape)) for shape in shapes)
        expected = float(PLAIN.log_p(likelihood.op.check_counts(counts), likelihood.target).sum())
        return as_matrices(np.frombuffer(key, np.float64, n), shapes), PLAIN, expected


def _end_with_parent() -> None:
    """End this process, a chain's, when the process of the fit is gone: PyMC's would wait for it forever.

    It would hold the checkpoint's lock all the while. In the midst of a draw is as good a moment as any.
    """
    parent = multiprocessing.parent_process()
    while parent is not None and parent.pid == os.getppid() and parent.is_alive():
        parent.join(ORPHAN_SECONDS)
    os._exit(1)
