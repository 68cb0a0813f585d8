"""Numba kernels of the torch model of a chip: LIF neurons forward in time, and backward through time.

Arrays have axes (replicate, neuron, step, sample): samples lie contiguous, so that every inner loop is a vector loop,
and replicates are networks that train side by side. A drive that is constant over a presentation has one step only.
The kernels work in float32, in the simulated chip's order and without fused multiply-add, so that the ideal model
spikes as the ideal chip does; tests of the gradient run them in float64.

    v'[t] = alpha v[t-1] + drive[t],   drive = (1 - alpha) I
    u[t] = h(v'[t]),   s[t] = 1 if u[t] >= theta else 0,   v[t] = (1 - s[t]) v'[t]
"""

from __future__ import annotations

import numpy as np
from numba import njit

from bayes_snn.chips.lif.neuron import integrate


@njit(cache=True, nogil=True, error_model="numpy")
def ordered_current(weights, inputs, current):  # type: ignore[no-untyped-def]
    """First layer: weights (n_replicates, n_in, n_neurons), inputs (n_in, n_samples) -> current, inputs in order.

    `current` (n_replicates, n_neurons, n_samples) is written. A matrix product would add in an order of its own.
    """
    for r in range(weights.shape[0]):
        for n in range(weights.shape[2]):
            out = current[r, n]
            out[:] = 0
            for i in range(inputs.shape[0]):
                x, w = inputs[i], weights[r, i, n]
                for s in range(out.shape[0]):
                    out[s] += x[s] * w


@njit(cache=True, nogil=True, error_model="numpy")
def bend(x, table, reach, value, slope):  # type: ignore[no-untyped-def]
    """A function tabulated at equidistant knots over [-reach, reach] of each x (n,): linear between, flat outside.

    `value` and `slope`, (n,) each, get the table's value and derivative added.
    """
    zero = x.dtype.type(0)
    scale = x.dtype.type((table.shape[0] - 1) / (2.0 * reach))
    low, last = x.dtype.type(-reach), np.uint64(table.shape[0] - 2)
    end = x.dtype.type(table.shape[0] - 1)
    for s in range(x.shape[0]):
        place = (x[s] - low) * scale
        within = scale if zero < place < end else zero
        place = min(max(place, zero), end)
        left = min(np.uint64(place), last)
        rise = table[left + np.uint64(1)] - table[left]
        value[s] += table[left] + (place - x.dtype.type(left)) * rise
        slope[s] += rise * within


@njit(cache=True, nogil=True, error_model="numpy")
def fire(drive, decay, threshold, tables, reach, given, voltage, seen, slope, spikes):  # type: ignore[no-untyped-def]
    """Neurons forward in time.

    Parameters
    ----------
    drive
        (n_replicates, n_neurons, n_steps or 1, n_samples).
    decay, threshold
        (n_neurons,) alpha and theta; an infinite threshold silences a neuron.
    tables, reach
        (n_neurons, n_knots) what the comparator adds to v, over [-reach, reach]; (0, 0) on an ideal comparator.
    given
        True when `spikes` holds what the neurons are to emit and to be reset by, a chip's spikes for example.
    voltage, seen, slope, spikes
        (n_replicates, n_neurons, n_steps, n_samples), written: v', u, du/dv' and s. Without tables `seen` and `slope`
        stay as they are.
    """
    n_replicates, n_neurons, n_steps, n_samples = voltage.shape
    one, zero = voltage.dtype.type(1), voltage.dtype.type(0)
    v = np.empty(n_samples, voltage.dtype)
    for r in range(n_replicates):
        for n in range(n_neurons):
            alpha, theta = decay[n], threshold[n]
            v[:] = zero
            for t in range(n_steps):
                row, x, s = drive[r, n, min(t, drive.shape[2] - 1)], voltage[r, n, t], spikes[r, n, t]
                for b in range(n_samples):
                    x[b] = integrate(v[b], row[b], alpha)
                if tables.shape[0] > 0:
                    u = seen[r, n, t]
                    u[:] = x
                    slope[r, n, t] = one
                    bend(x, tables[n], reach, u, slope[r, n, t])
                else:
                    u = x
                if not given:
                    for b in range(n_samples):
                        s[b] = one if u[b] >= theta else zero
                for b in range(n_samples):
                    v[b] = (one - s[b]) * x[b]


@njit(cache=True, nogil=True, error_model="numpy")
def fire_backward(spikes_gradient, decay, slope, spikes, drive_gradient):  # type: ignore[no-untyped-def]
    """Neurons backward through time: dL/ds -> dL/d drive, with `slope` for ds/dv'.

    With l[t] = dL/dv'[t], from the last step to the first,

        l[t] = slope[t] dL/ds[t] + alpha l[t+1] (1 - s[t]),    dL/d drive[t] = l[t]

    The gradient through the reset, - slope[t] v'[t] in the bracket, is left out (Zenke and Vogels 2021 advise so).
    Shapes as in `fire`; `drive_gradient` is written, summed over the steps when it has one only.
    """
    n_replicates, n_neurons, n_steps, n_samples = spikes.shape
    one = spikes.dtype.type(1)
    carried = np.empty(n_samples, spikes.dtype)  # alpha l[t+1]
    constant = drive_gradient.shape[2] == 1
    for r in range(n_replicates):
        for n in range(n_neurons):
            alpha = decay[n]
            carried[:] = 0
            drive_gradient[r, n, 0] = 0
            for t in range(n_steps - 1, -1, -1):
                g, p, s = spikes_gradient[r, n, t], slope[r, n, t], spikes[r, n, t]
                out = drive_gradient[r, n, 0 if constant else t]
                for b in range(n_samples):
                    total = p[b] * g[b] + carried[b] * (one - s[b])
                    carried[b] = alpha * total
                    if constant:
                        out[b] += total
                    else:
                        out[b] = total
