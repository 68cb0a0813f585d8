"""The integer core, step by step in plain Python and NumPy, as chips/xylo/core.py states it; slow and readable."""

from __future__ import annotations

import numpy as np


def clip(x):
    return max(-32768, min(32767, int(x)))


def leak(x, bits):
    change = x >> bits
    return change if change != 0 else (x > 0) - (x < 0)


class Neuron:
    def __init__(self, weights, threshold, most, decay_syn, decay_mem):
        self.weights, self.threshold, self.most = [int(w) for w in weights], int(threshold), most
        self.decay_syn, self.decay_mem = decay_syn, decay_mem
        self.current = self.voltage = 0

    def step(self, arriving):
        for n, w in zip(arriving, self.weights, strict=True):
            for _ in range(int(n)):
                self.current = clip(self.current + w)
        self.current -= leak(self.current, self.decay_syn)
        self.voltage = clip(self.voltage + clip(self.current - leak(self.voltage, self.decay_mem)))
        spikes = 0
        while self.voltage >= self.threshold and spikes < self.most:
            self.voltage -= self.threshold
            spikes += 1
        return spikes


def run(w_1, w_2, thresholds, events, decay_syn, decay_mem):
    """Spike counts (n_samples, n_out) of events (n_samples, n_steps, n_in)."""
    n_hidden, n_out = w_2.shape
    counts = np.zeros((len(events), n_out), int)
    for sample, shown in enumerate(events):
        hidden = [Neuron(w_1[:, k], thresholds[k], 31, decay_syn, decay_mem) for k in range(n_hidden)]
        output = [Neuron(w_2[:, o], thresholds[n_hidden + o], 1, decay_syn, decay_mem) for o in range(n_out)]
        spikes = [0] * n_hidden
        for arriving in shown:
            counts[sample] += [neuron.step(spikes) for neuron in output]
            spikes = [neuron.step(arriving) for neuron in hidden]
    return counts
