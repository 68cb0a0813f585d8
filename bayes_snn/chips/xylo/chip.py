"""SynSense's Xylo as a chip: a digital core of integer spiking neurons, trained in the loop on its bit-exact simulator.

A network of inputs, hidden and output neurons with 8-bit weights and 16-bit thresholds, both trained; the arithmetic is
in core.py. Its parameters, as a prior and a sampler see them, are three matrices on a grid:

    w_1, w_2       weight / WEIGHT_UNIT: -4 to 3.97 in steps of 1 / 32, the integers from -128 to 127
    threshold      log2 of a neuron's threshold over `base_threshold`: -3 to 3 in steps of 1 / 4

so that Normal(0, 1) is a sensible prior for each (models/grid.py). An input x >= 0 is a rate: it makes a train of
events, as even as whole events can be, of `events_per_unit` x events a step on average, 15 at most. `on_off` makes
such inputs of standardised features.

`xylosim` is SynSense's simulator of the core (extra `xylo`). `run` computes with kernels of this project, which
tests hold to xylosim bit for bit; `XyloChip(backend="xylosim")` runs xylosim itself, some hundred times slower.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bayes_snn.arrays import as_floats
from bayes_snn.chips.contract import ChipSpec, FloatArray, Parameter, check_inputs, check_weights
from bayes_snn.chips.rounding import clip_and_round
from bayes_snn.chips.sweeper import Sweeper
from bayes_snn.chips.xylo.core import MOST_INPUT, empty_state, in_groups, peaks_of, run_all
from bayes_snn.errors import InputError, check_whole, unknown_name
from bayes_snn.likelihood import Target

WEIGHT_UNIT = 32  # integer weights to the unit of a weight
MOST_POWER, POWER_STEP = 3.0, 0.25  # log2 of a threshold, in units of the base threshold
LARGEST_LAYERS = (16, 1000, 8)  # inputs, hidden and output neurons of a Xylo Audio 2
RATE_UNIT = 256  # an input rate is a whole number of 1 / 256 events a step
BACKENDS = ("kernel", "xylosim")

Integers = tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]


class XyloChip:
    """A Xylo core with one hidden layer.

    Parameters
    ----------
    layers
        Inputs, hidden and output neurons; 16, 1000 and 8 are the most that a Xylo Audio 2 has.
    n_steps
        Time steps of a presentation. Outputs spike once a step at most.
    decay_syn, decay_mem
        Bits of the decays of synapses and membranes, 1 to 15: a state x loses x / 2^bits in a step.
    base_threshold
        Threshold where the trained log2 threshold is 0.
    events_per_unit
        Input events a step at an input of 1.
    backend
        "kernel" or "xylosim", which answer alike.

    Raises
    ------
    InputError
        When an argument is out of range, or xylosim is asked for and missing.
    """

    copyable = True

    def __init__(
        self,
        layers: Sequence[int] = (16, 16, 2),
        n_steps: int = 32,
        *,
        decay_syn: int = 2,
        decay_mem: int = 4,
        base_threshold: int = 1024,
        events_per_unit: float = 2.0,
        backend: str = "kernel",
    ) -> None:
        self.spec = _with_thresholds(ChipSpec(tuple(layers), n_steps, (-128 / WEIGHT_UNIT, 127 / WEIGHT_UNIT), 8))
        too_large = len(self.spec.layers) == 3 and np.any(np.array(self.spec.layers) > LARGEST_LAYERS)
        if len(self.spec.layers) != 3 or too_large:
            raise InputError(
                f"Layers were {tuple(layers)!r}, but a Xylo has inputs, one hidden layer and outputs, at most "
                f"{LARGEST_LAYERS}: give for example (16, 16, 2), with fewer features."
            )
        check_whole("decay_syn", decay_syn, 1, 15, 2)
        check_whole("decay_mem", decay_mem, 1, 15, 4)
        check_whole("base_threshold", base_threshold, 1, 4095, 1024)  # times 8 it is still 15 bits
        if not 0 < events_per_unit <= MOST_INPUT:
            raise InputError(
                f"events_per_unit was {events_per_unit!r}, but more than 0 and at most {MOST_INPUT} is expected: try 2."
            )
        if backend not in BACKENDS:
            raise unknown_name("backend", backend, BACKENDS)
        if backend == "xylosim":
            _xylosim()
        self.decay_syn, self.decay_mem = int(decay_syn), int(decay_mem)
        self.base_threshold, self.events_per_unit, self.backend = int(base_threshold), float(events_per_unit), backend
        self._prepared: list[tuple[FloatArray, NDArray[np.uint8], NDArray[np.uint8]]] = []
        self.weight_levels = [np.array(parameter.levels) for parameter in self.spec.parameters]

    def integers(self, weights: Sequence[FloatArray]) -> Integers:
        """What the core is programmed with: (n_in, n_hidden), (n_hidden, n_out) weights, (n_neurons,) thresholds."""
        remedy = "two weight matrices and a row of log2 thresholds"
        matrices = check_weights(weights, self.spec.weight_shapes, remedy)
        low, high = self.spec.weight_range
        held = [clip_and_round(w, low, high, 1 / WEIGHT_UNIT) for w in matrices[:2]]
        w_1, w_2 = ((w * WEIGHT_UNIT).astype(np.int32) for w in held)  # whole numbers: the unit is a power of two
        powers = clip_and_round(matrices[2][0], -MOST_POWER, MOST_POWER, POWER_STEP)
        return w_1, w_2, np.maximum(np.rint(self.base_threshold * 2.0**powers), 1).astype(np.int32)

    def events(self, inputs: FloatArray) -> NDArray[np.uint8]:
        """Input events (n_samples, n_steps, n_in) of inputs (n_samples, n_in); none below 0."""
        x = check_inputs(inputs, self.spec.layers[0])
        rates = np.clip(np.rint(x * self.events_per_unit * RATE_UNIT), 0, MOST_INPUT * RATE_UNIT).astype(np.int64)
        steps = np.arange(self.spec.n_steps + 1)[:, None]
        return np.diff(rates[:, None, :] * steps // RATE_UNIT, axis=1).astype(np.uint8)

    def run(self, weights: Sequence[FloatArray], inputs: FloatArray) -> NDArray[np.int32]:
        """Show every input once: spike counts (n_samples, n_out); see `Chip.run`."""
        return self.run_integers(self.integers(weights), inputs)

    def run_integers(self, integers: Integers, inputs: FloatArray) -> NDArray[np.int32]:
        """The same with what the core is programmed with, see `integers`; thresholds may be any from 1 to 32,767."""
        if self.backend == "xylosim":
            return run_xylosim(integers, self.events(inputs), self.decay_syn, self.decay_mem)
        groups, peaks = self._prepare(inputs)
        state = empty_state(len(groups), self.spec.n_steps, *self.spec.layers[1:])
        run_all(*integers, groups, peaks, self.decay_syn, self.decay_mem, state)
        counts = state[4].transpose(0, 2, 1)  # (group, sample, output)
        return counts.reshape(-1, self.spec.layers[-1])[: len(inputs)]

    def _prepare(self, inputs: FloatArray) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Events in groups, and the most of each input in a step; of read-only inputs they are made once."""
        for known, groups, peaks in self._prepared:
            if known is inputs:
                return groups, peaks
        events = self.events(inputs)
        made = in_groups(events), peaks_of(events)
        if isinstance(inputs, np.ndarray) and inputs.base is None and not inputs.flags.writeable:
            self._prepared = [(inputs, *made), *self._prepared[:3]]
        return made

    sweeps_weighted = True  # its sweeper takes samples that do not all count once

    def site_sweeper(self, inputs: FloatArray, labels: Target) -> Sweeper | None:
        """Metropolis sweeps that re-run only what a parameter reaches; None where xylosim itself is to be run."""
        if self.backend != "kernel":
            return None
        from bayes_snn.chips.xylo.sweep import XyloSweeper

        return XyloSweeper(self, inputs, labels)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_prepared": []}

    def __repr__(self) -> str:
        layers = "-".join(map(str, self.spec.layers))
        return f"XyloChip({layers}, n_steps={self.spec.n_steps}, backend={self.backend!r})"


def _with_thresholds(core: ChipSpec) -> ChipSpec:
    """The spec with the weights' levels and, as a third matrix, (1, n_hidden + n_out) log2 thresholds."""
    levels = tuple((np.arange(-128, 128) / WEIGHT_UNIT).tolist())
    powers = tuple(np.arange(-MOST_POWER, MOST_POWER + POWER_STEP, POWER_STEP).tolist())
    weights = [replace(matrix, levels=levels, scale=1.0) for matrix in core.parameters]
    thresholds = Parameter("threshold", (1, sum(core.layers[1:])), ("all", "neuron"), powers, 1.0)
    return replace(core, parameters=(*weights, thresholds))


def on_off(features: FloatArray) -> NDArray[np.float64]:
    """Two inputs >= 0 for each feature, (n_samples, n) -> (n_samples, 2 n): how far it is above 0, and below."""
    features = as_floats("The features", features)
    return np.concatenate([np.maximum(features, 0.0), np.maximum(-features, 0.0)], axis=1)


def run_xylosim(integers: Integers, events: NDArray[np.uint8], decay_syn: int, decay_mem: int) -> NDArray[np.int32]:
    """Spike counts (n_samples, n_out) of SynSense's simulator; its states are reset before every sample."""
    xylo = _xylosim()
    w_1, w_2, thresholds = integers
    n_hidden, n_out = w_2.shape

    def synapses(weights: NDArray[np.int32]) -> list[list[Any]]:
        return [[xylo.XyloSynapse(post, 0, int(w)) for post, w in enumerate(row)] for row in weights]

    into, out = synapses(w_1), synapses(w_2)  # the layer points into them: they must outlive it
    layer = xylo.XyloLayer(
        synapses_in=into,
        synapses_rec=[[] for _ in range(n_hidden)],
        synapses_out=out,
        aliases=[[] for _ in range(n_hidden)],
        threshold=thresholds[:n_hidden].tolist(),
        threshold_out=thresholds[n_hidden:].tolist(),
        has_bias=False,
        bias=[],
        bias_out=[],
        weight_shift_inp=0,
        weight_shift_rec=0,
        weight_shift_out=0,
        dash_mem=[decay_mem] * n_hidden,
        dash_mem_out=[decay_mem] * n_out,
        dash_syns=[[decay_syn]] * n_hidden,
        dash_syns_out=[[decay_syn]] * n_out,
        name="bayes_snn",
    )
    counts = np.empty((len(events), n_out), np.int32)
    for sample, shown in enumerate(events):
        layer.reset_all()
        counts[sample] = np.sum(layer.evolve(shown.tolist()), axis=0)
    return counts


def _xylosim() -> Any:
    try:
        from xylosim import v2
    except ImportError:
        raise InputError(
            "The backend 'xylosim' needs xylosim, which is not installed: run pip install 'bayes_snn[xylo]', or take "
            "backend 'kernel'."
        ) from None
    return v2
