"""The chains of one process in turns, a draw each: a fit that ends early has draws of all of them, and an R-hat.

`pm.sample` runs the chains of one process one after the other. Here each has steps of its own, copies that share the
compiled functions, the Op and the chip. What the Op remembers and counts for a chain, and a simulated chip's stream of
noise, are put in place for its draw and set aside for the others, so that every chain draws what it draws alone.
"""

from __future__ import annotations

import contextlib
import io
import pickle
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import cloudpickle
import numpy as np
import pymc as pm
import xarray as xr
from pymc.backends import init_traces
from pymc.initial_point import make_initial_point_fns_per_chain
from pymc.progress_bar import MCMCProgressBarManager, default_progress_theme
from pymc.sampling.mcmc import _iter_sample, _sample_return, setup_cores_blas_cores
from pymc.sampling.parallel import _initialize_multiprocessing_context
from pymc.step_methods.compound import CompoundStep
from pymc.util import get_random_generator
from pytensor.compile.executor import Function
from pytensor.graph.basic import Variable
from pytensor.graph.op import Op

from bayes_snn.checkpoint.steps import CheckpointedSteps
from bayes_snn.posterior.op import ChipCounts

_ONE_OF = (Function, Variable, Op, pm.Model)  # they hold nothing of a chain from one draw to the next
_NOISE = ("restart_noise", "checkpoint_state", "restore_state")


def can_take_turns(op: ChipCounts) -> bool:
    """Whether the draws of a chain are the same in turns as alone.

    Chains on a drifting chip are not: the next continues where the one before it ended. Nor are those on a chip that
    starts its noise anew for each chain and does not say where the noise is.
    """
    if op.chip.spec.deterministic:
        return True
    has = [callable(getattr(op.chip, name, None)) for name in _NOISE]
    return not op.noise.goes_on and (all(has) or not has[0])


def sample_in_turns(
    model: pm.Model,
    steps: Sequence[Any] | CheckpointedSteps,
    starts: list[dict[str, Any]],
    *,
    draws: int,
    tune: int,
    chains: int,
    random_seed: np.random.Generator,
    progressbar: bool | str,
    callback: Callable[..., None],
) -> xr.DataTree:
    """What `pm.sample(..., cores=1)` returns, bit for bit, but for a fit that ends early.

    Parameters
    ----------
    steps
        Step methods, or all of them as one with a checkpoint.
    starts
        Of each chain: values by the names of the random variables.
    draws, tune, chains, random_seed, progressbar, callback
        As for `pm.sample`. A KeyboardInterrupt of the callback ends all chains.

    Raises
    ------
    Exception
        What a draw raises, when the checkpoints of all chains have been saved.
    """
    step = steps if isinstance(steps, CheckpointedSteps) else steps[0] if len(steps) == 1 else CompoundStep(steps)
    limited, _, _ = setup_cores_blas_cores("auto", chains, 1, _initialize_multiprocessing_context(None, quiet=True))
    rngs = get_random_generator(random_seed).spawn(chains)
    seeds = [rng.integers(2**30) for rng in rngs]
    makers = make_initial_point_fns_per_chain(model=model, overrides=starts, jitter_rvs=set(), chains=chains)
    points = [make(seed) for make, seed in zip(makers, seeds, strict=True)]
    _, traces = init_traces(
        backend=None, chains=chains, expected_length=tune + draws, step=step, initial_point=points[0], model=model
    )
    if isinstance(step, CheckpointedSteps):
        step.n_in_turns = chains
    own = [step, *(copied(step, model.likelihood.op.chip) for _ in range(1, chains))]
    turns = [_Turn(model.likelihood.op) for _ in own]
    runs = [
        _iter_sample(
            draws=tune + draws,
            step=own[chain],
            start=points[chain],
            trace=traces[chain],
            chain=chain,
            tune=tune,
            rng=rngs[chain],
            model=model,
            callback=callback,
        )
        for chain in range(chains)
    ]
    bars = MCMCProgressBarManager(
        step_method=step,
        chains=chains,
        draws=draws,
        tune=tune,
        progressbar=progressbar,
        progressbar_theme=default_progress_theme,
    )
    before = model.likelihood.op.presentations
    try:
        with bars, limited():
            for draw in range(tune + draws):
                for chain, (turn, run) in enumerate(zip(turns, runs, strict=True)):
                    with turn.taken():
                        stats = next(run)
                    bars.update(chain_idx=chain, is_last=False, draw=draw, stats=stats, tuning=draw < tune)
            for chain in range(chains):
                bars.update(chain_idx=chain, is_last=True, draw=draw, stats=stats, tuning=False)
    except KeyboardInterrupt:
        pass  # as in `pm.sample`; the draws so far are kept
    finally:
        for turn, run, steps_of_chain in zip(turns, runs, own, strict=True):
            run.close()
            if isinstance(steps_of_chain, CheckpointedSteps):
                with turn.taken():
                    steps_of_chain.flush()
        model.likelihood.op.presentations = before + sum(turn.presentations - before for turn in turns)
    trace: xr.DataTree = _sample_return(
        run=None,
        traces=traces,
        tune=tune,
        t_sampling=0.0,
        discard_tuned_samples=True,
        compute_convergence_checks=False,
        return_inferencedata=True,
        keep_warning_stat=False,
        idata_kwargs={},
        model=model,
    )
    return trace


class _Turn:
    """What the Op and a chip with a stream of noise hold for one chain: in place in its turn, else kept here."""

    def __init__(self, op: ChipCounts) -> None:
        self._op = op
        self._memory: Any = []
        self._noise: Any = None
        self._stand_in = op.stand_in
        self._has_noise = not op.chip.spec.deterministic and callable(getattr(op.chip, "restart_noise", None))
        self.presentations = op.presentations

    @contextlib.contextmanager
    def taken(self) -> Iterator[None]:
        """The chain's turn."""
        op, chip = self._op, self._op.chip
        op.presentations, op.stand_in = self.presentations, self._stand_in
        op.restore_state(self._memory)
        if self._noise is not None:
            chip.restore_state(self._noise)  # type: ignore[attr-defined]
        try:
            yield
        finally:
            self.presentations, self._memory = op.presentations, op.checkpoint_state()
            self._stand_in = op.stand_in
            if self._has_noise:
                self._noise = chip.checkpoint_state()  # type: ignore[attr-defined]


class _Copier(cloudpickle.Pickler):  # type: ignore[misc]
    """Pickles steps as `pm.sample` does for its processes, but for what copies in one process share."""

    def __init__(self, file: io.BytesIO, chip: Any) -> None:
        super().__init__(file)
        self._chip = chip
        self.shared: list[Any] = []

    def persistent_id(self, value: Any) -> int | None:
        if value is not self._chip and not isinstance(value, _ONE_OF):
            return None
        self.shared.append(value)
        return len(self.shared) - 1


class _Reader(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, shared: list[Any]) -> None:
        super().__init__(file)
        self._shared = shared

    def persistent_load(self, number: int) -> Any:
        return self._shared[number]


def copied(step: Any, chip: Any) -> Any:
    """The step as it is now, with a state of its own."""
    file = io.BytesIO()
    copier = _Copier(file, chip)
    copier.dump(step)
    file.seek(0)
    return _Reader(file, copier.shared).load()
