"""The torch model of a chip: the ideal chip's spikes forward, surrogate gradients backward (Neftci et al. 2019).

Networks that differ in their weights alone are computed side by side, as replicates: at the sizes of these chips most
of the time would otherwise go into calling torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bayes_snn.backprop.distortion import LayerDistortion
from bayes_snn.backprop.kernels import bend, fire, fire_backward, ordered_current
from bayes_snn.chips.contract import ChipSpec
from bayes_snn.chips.lif.current import TABLE_REACH
from bayes_snn.chips.rounding import clip_and_round, level_step, round_to


def fast_sigmoid(x: Tensor, steepness: float) -> Tensor:
    """Derivative of (1 + k x / (1 + k |x|)) / 2, k the steepness (Zenke and Ganguli 2018)."""
    return (0.5 * steepness) / (1.0 + steepness * x.abs()) ** 2


def arctan(x: Tensor, steepness: float) -> Tensor:
    """Derivative of 1/2 + arctan(pi k x / 2) / pi (Fang et al. 2021)."""
    return (0.5 * steepness) / (1.0 + (0.5 * torch.pi * steepness * x) ** 2)


def boxcar(x: Tensor, steepness: float) -> Tensor:
    """Derivative of 1/2 + k x clipped to [0, 1]."""
    return steepness * (x.abs() <= 0.5 / steepness).to(x.dtype)


# ds/du at x = u - theta of the step that the surrogate puts in the place of the spike: each rises from 0 to 1
SURROGATES: dict[str, Callable[[Tensor, float], Tensor]] = {
    "fast_sigmoid": fast_sigmoid,
    "arctan": arctan,
    "boxcar": boxcar,
}


@dataclass(frozen=True)
class Surrogate:
    """How a spike's derivative is made up.

    `name` is one of SURROGATES, `steepness` in 1 / threshold.
    """

    name: str = "fast_sigmoid"
    steepness: float = 2.0


class _Current(torch.autograd.Function):
    """First layer: weights (R, n_in, n), inputs (n_in, n_samples) -> (R, n, 1, n_samples), inputs in order."""

    @staticmethod
    def forward(ctx: Any, weights: Tensor, inputs: Tensor) -> Tensor:
        ctx.save_for_backward(inputs)
        current = weights.new_empty((weights.shape[0], weights.shape[2], inputs.shape[1]))
        ordered_current(weights.contiguous().numpy(), inputs.numpy(), current.numpy())
        return current.unsqueeze(2)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (inputs,) = ctx.saved_tensors
        return inputs @ gradients[0].squeeze(2).transpose(1, 2), None


class _Bend(torch.autograd.Function):
    """I + sigma g(I): current (R, n, n_steps or 1, n_samples) and tables (n, n_knots)."""

    @staticmethod
    def forward(ctx: Any, current: Tensor, tables: np.ndarray) -> Tensor:
        current = current.contiguous()
        bent, slope = current.clone(), torch.ones_like(current)
        for r in range(current.shape[0]):
            for n in range(current.shape[1]):
                row = current[r, n].numpy().ravel()
                bend(row, tables[n], TABLE_REACH, bent[r, n].numpy().ravel(), slope[r, n].numpy().ravel())
        ctx.save_for_backward(slope)
        return bent

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (slope,) = ctx.saved_tensors
        return gradients[0] * slope, None


class _Fire(torch.autograd.Function):
    """Drive (R, n, n_steps or 1, n_samples) -> spikes (R, n, n_steps, n_samples), or the `given` ones."""

    @staticmethod
    def forward(
        ctx: Any, drive: Tensor, layer: LayerDistortion, n_steps: int, given: Tensor | None, surrogate: Surrogate
    ) -> Tensor:
        drive = drive.contiguous()
        n_replicates, n_neurons, _, n_samples = drive.shape
        voltage = drive.new_empty((n_replicates, n_neurons, n_steps, n_samples))
        spikes = torch.empty_like(voltage) if given is None else given.to(drive.dtype, copy=True).contiguous()
        bends = len(layer.comparator) > 0
        seen = torch.empty_like(voltage) if bends else voltage
        slope = torch.empty_like(voltage) if bends else voltage
        dtype = voltage.numpy().dtype
        decay, threshold = layer.decay.astype(dtype), layer.threshold.astype(dtype)
        tables, reach = layer.comparator.astype(dtype), layer.reach
        arrays = (voltage.numpy(), seen.numpy(), slope.numpy(), spikes.numpy())
        fire(drive.numpy(), decay, threshold, tables, reach, given is not None, *arrays)
        ctx.save_for_backward(spikes)
        if ctx.needs_input_grad[0]:
            theta = torch.from_numpy(threshold)[:, None, None]
            made_up = SURROGATES[surrogate.name](seen - theta, surrogate.steepness)
            ctx.slope = made_up * slope if bends else made_up
        ctx.decay, ctx.constant = decay, drive.shape[2] == 1
        return spikes

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None, None]:
        (spikes,) = ctx.saved_tensors
        shape = list(spikes.shape)
        shape[2] = 1 if ctx.constant else shape[2]
        out = spikes.new_empty(shape)
        gradient = gradients[0].contiguous().numpy()
        fire_backward(gradient, ctx.decay, ctx.slope.numpy(), spikes.numpy(), out.numpy())
        return out, None, None, None, None


def straight_through(value: Tensor, source: Tensor) -> Tensor:
    """`value`, exactly, with the gradient of `source` (Bengio et al. 2013)."""
    return value.detach() + (source - source.detach())


def effective_weights(weights: Tensor, layer: LayerDistortion, spec: ChipSpec, bits: int | None) -> Tensor:
    """What the circuit computes with: saturated, quantised, mismatched, on its grid; (R, n_pre, n_post)."""
    low, high = spec.weight_range
    w = weights.clamp(low, high)
    if bits:
        step = level_step(spec.weight_range, bits)
        w = straight_through(torch.from_numpy(clip_and_round(w.detach().numpy(), low, high, step)), w)
    if layer.gain is not None:
        w = w * torch.from_numpy(layer.gain).to(w.dtype)
    if layer.grid > 0:
        w = straight_through(torch.from_numpy(round_to(w.detach().numpy(), layer.grid)), w)
    return w


def run_network(
    weights: Sequence[Tensor],
    inputs: Tensor,
    layers: Sequence[LayerDistortion],
    spec: ChipSpec,
    *,
    bits: int | None = None,
    given: Sequence[Tensor] | None = None,
    surrogate: Surrogate = Surrogate(),
    noise: np.random.Generator | None = None,
) -> list[Tensor]:
    """Spikes (R, n_neurons, n_steps, n_samples) of each layer, differentiable in the weights.

    Parameters
    ----------
    weights
        One (R, n_pre, n_post) tensor for each layer, R the number of replicates.
    inputs
        (n_in, n_samples), the same for all replicates.
    layers
        Parameters of the circuit, see `draw_distortion`.
    bits
        Bits of a weight, None for an analog synapse.
    given
        Spikes of each layer to put in the place of the model's own, of the shape returned; membranes are driven and
        reset by them.
    surrogate
        What stands in for a spike's derivative.
    noise
        Stream of the noise at each step, on circuits that have it.
    """
    spikes: list[Tensor] = []
    for depth, layer in enumerate(layers):
        w = effective_weights(weights[depth], layer, spec, bits)
        if depth == 0:
            current = _Current.apply(w, inputs)
        else:
            # any order of summation: the weights lie on a grid on which sums are exact
            flat = w.transpose(1, 2) @ spikes[-1].flatten(2)
            current = flat.unflatten(2, (spec.n_steps, -1))
        if len(layer.current):
            current = _Bend.apply(current, layer.current)
        decay = torch.from_numpy(layer.decay).to(w.dtype)
        drive = (1.0 - decay)[:, None, None] * current
        if layer.noise is not None and noise is not None:
            shape = (len(layer.noise), spec.n_steps, inputs.shape[1])
            xi = noise.standard_normal(shape, np.float32) * layer.noise[:, None, None]
            drive = drive + torch.from_numpy(xi).to(w.dtype)
        spikes.append(_Fire.apply(drive, layer, spec.n_steps, None if given is None else given[depth], surrogate))
    return spikes


def spike_counts(spikes: Tensor) -> Tensor:
    """Spikes (R, n_classes, n_steps, n_samples) -> counts (R, n_samples, n_classes)."""
    return spikes.sum(dim=2).transpose(1, 2)
