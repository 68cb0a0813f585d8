"""The simulated chip: leaky integrate-and-fire (LIF) neurons with the distortions of distortion.py.

    v[t] = alpha v[t-1] + (1 - alpha) I[t],     alpha = exp(-dt / tau_m)
    s[t] = 1 if h(v[t]) >= theta else 0
    v[t] = 0 where s[t] = 1                     (hard reset in the same step)

v membrane voltage and I input current, both in units of the threshold theta = 1; dt = 1 ms; tau_m in ms (default
9.491 ms, so that alpha = 0.9); h(v) = v on the ideal chip. This is the exact solution over one step for a constant
current (exponential Euler). The first layer receives I = x W_1, constant over a presentation (direct current
encoding); later layers receive I[t] = s[t] W of the layer before, in the same step. The readout is the number of
output spikes in `n_steps` steps. All arithmetic is float32; forward.py states the order.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bayes_snn.chips.contract import ChipSpec
from bayes_snn.chips.lif.circuit import tabulate
from bayes_snn.chips.lif.circuit_chip import CircuitChip
from bayes_snn.chips.lif.distortion import check_distortions, draw_layer, stream
from bayes_snn.chips.lif.drift import ThresholdDrift
from bayes_snn.chips.lif.neuron import TAU_M
from bayes_snn.chips.lif.noise import mix
from bayes_snn.errors import InputError, check_whole
from bayes_snn.names import DISTORTION_ROWS, DRIFTING, FROZEN, strengths_in_words


class LIFChip(CircuitChip):
    """A simulated chip of LIF neurons, distorted in its own way.

    Parameters
    ----------
    layers
        Neurons of each layer, inputs first.
    distortion
        Name of a distortion, a list of names (they compose), or None for the ideal chip; see DISTORTIONS.
    sigma
        Strength, one for all or one for each distortion. Strength 0 is the ideal chip, bit for bit.
    seed
        Names the chip: two chips with one seed and the same arguments are equal.
    n_steps
        Time steps of 1 ms in one presentation.
    tau_m
        Membrane time constant in ms.
    weight_range
        Weights outside saturate.

    Raises
    ------
    InputError
        For an unknown distortion, or an argument out of range.
    """

    def __init__(
        self,
        layers: Sequence[int] = (30, 16, 2),
        distortion: str | Sequence[str] | None = None,
        sigma: float | Sequence[float] = 0.0,
        seed: int = 0,
        n_steps: int = 32,
        *,
        tau_m: float = TAU_M,
        weight_range: tuple[float, float] = (-4.0, 4.0),
    ) -> None:
        strengths = check_distortions(distortion, sigma)
        check_whole("The chip's seed", seed, 0, None, 0)
        if not np.isfinite(tau_m) or tau_m <= 0:
            raise InputError(f"tau_m was {tau_m!r} ms, but a positive time is expected: leave it out for 9.491.")
        bits = int(strengths.get("quantisation", 0)) or None
        kinds = {DISTORTION_ROWS[name].kind for name in strengths}
        spec = ChipSpec(tuple(layers), n_steps, weight_range, bits, kinds <= {FROZEN}, DRIFTING in kinds)
        self.strengths = strengths
        self.seed = int(seed)
        self.tau_m = float(tau_m)
        streams = partial(stream, self.seed)
        drawn = [draw_layer(strengths, spec, n, self.tau_m, streams) for n in range(len(spec.weight_shapes))]
        super().__init__(spec, [tabulate(layer) for layer in drawn])
        self._drift = ThresholdDrift(strengths["drift"], drawn) if "drift" in strengths else None
        self.restart_noise(0)

    def effective_neurons(self) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
        """alpha and theta of every neuron, (n_post,) each, for each layer; theta is infinite where one never spikes.

        An optional capability. Raises `InputError` for a chip with a distorted comparator, whose neurons fire in
        several intervals of v and not beyond one threshold.
        """
        if "comparator" in self.strengths:
            raise InputError(
                "The chip's comparators are distorted, so its neurons have no single threshold: ask a chip without "
                "the comparator distortion."
            )
        ends = self.circuit.firsts[1:]
        circuit = self.circuit
        if self._drift is not None:  # as they are now
            circuit = self._drift.moved(circuit, self._noise_key, self._n_runs)
        thresholds = circuit.edges[:, 0]
        return list(zip(np.split(self.circuit.decay, ends), np.split(thresholds, ends), strict=True))

    def restart_noise(self, seed: int) -> None:
        """Start another stream of noise and another walk of drift, from the chip as it was made.

        An optional capability: only a simulated chip can, and only the distortions `noise` and `drift` heed it.
        """
        self._noise_key = np.random.SeedSequence([self.seed, int(seed)]).generate_state(1, np.uint64)[0]
        self._n_runs = 0

    @property
    def age(self) -> int:
        """Runs of a noisy or drifting chip since its noise was last started; 0 on a deterministic chip."""
        return self._n_runs

    def grow_old(self, n_runs: int) -> None:
        """Let this many runs pass without showing anything: noise and drift continue as they would have.

        `restart_noise(seed)` and `grow_old(age)` bring a chip back to where it stood.
        """
        if not self.spec.deterministic:
            self._n_runs += int(n_runs)

    def checkpoint_state(self) -> dict[str, int]:
        """Where the stream of noise is: what a chip must give, if a fit shall continue from a checkpoint bit for bit.

        An optional capability, with `restore_state`.
        """
        return {"noise_key": int(self._noise_key), "n_runs": self._n_runs}

    def restore_state(self, state: dict[str, int]) -> None:
        """Continue where `checkpoint_state` returned; a `ValueError` where that is no place in a stream of noise."""
        key, n_runs = np.uint64(state["noise_key"]), state["n_runs"]
        if type(n_runs) is not int or n_runs < 0:
            raise ValueError("the number of runs is no whole number >= 0")
        self._noise_key, self._n_runs = key, n_runs

    def _begin_run(self) -> np.uint64:
        """Names the noise of one run; thresholds that drift take their next step."""
        if self.spec.deterministic:
            return np.uint64(0)
        self.grow_old(1)
        if self._drift is not None:
            self.circuit = self._drift.moved(self.circuit, self._noise_key, self._n_runs)
        return np.uint64(mix(self._noise_key ^ np.uint64(self._n_runs)))

    def _arguments(self) -> tuple[Any, ...]:
        return self.spec, self.strengths, self.seed, self.tau_m

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LIFChip) and self._arguments() == other._arguments()

    def __hash__(self) -> int:
        return hash((self.spec, tuple(sorted(self.strengths.items())), self.seed, self.tau_m))

    def __repr__(self) -> str:
        distorted = strengths_in_words(self.strengths)
        layers = "-".join(str(n) for n in self.spec.layers)
        return f"LIFChip({layers}, {distorted}, seed={self.seed}, n_steps={self.spec.n_steps})"
