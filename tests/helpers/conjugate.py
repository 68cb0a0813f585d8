"""A Gaussian likelihood in the place of a chip's: four correlated weights whose posterior is known in closed form."""

from __future__ import annotations

import numpy as np
import pymc as pm

from bayes_snn.likelihood import Readout
from bayes_snn.posterior.build import build_model
from bayes_snn.posterior.op import ChipCounts
from tests.helpers.unit_scales import unit_spec

# prior of the weights of two layers, ravelled and joined
MEAN, SD = np.array([0.5, -1.0, 0.0, 1.0]), np.array([1.0, 2.0, 0.5, 1.5])
NOISE = 1.5
_rng = np.random.default_rng(20240210)
DESIGN = _rng.normal(size=(12, 1)) + 0.7 * _rng.normal(size=(12, 4))  # columns alike, so weights are correlated
RESPONSES = DESIGN @ np.array([1.0, -0.5, 0.3, 0.8]) + NOISE * _rng.normal(size=12)


SCALE, MIDDLE = 2.0**40, 2**60  # the residuals are told as whole numbers, as exact as single ones of a float


class UnusedChip:
    """Has a spec; its answers are not asked for."""

    spec = unit_spec((2, 1, 2), 2**62)

    def run(self, weights, inputs):
        raise AssertionError


class GaussianOp(ChipCounts):
    """Tells (y_i - x_i w) / s of each sample in the place of spike counts."""

    def answers(self, weights, inputs):
        assert len(inputs) == len(RESPONSES)
        self.presentations += len(inputs)
        joined = np.concatenate([np.ravel(matrix) for matrix in weights])
        residuals = (RESPONSES - DESIGN @ joined) / NOISE
        return np.tile(MIDDLE + np.rint(SCALE * residuals).astype(np.int64)[:, None], (1, 1, 2))


class GaussianReadout(Readout):
    """log p(y_i | w) = -((y_i - x_i w) / s)^2 / 2 + const, times a power that is 1 where nothing is wrong."""

    power = 1.0

    def log_p(self, runs, labels):
        [counts] = runs
        return -0.5 * self.power * ((counts[:, 0] - MIDDLE) / SCALE) ** 2


def gaussian_log_p(counts, labels, beta, bias):
    """The same in PyTensor."""
    return -0.5 * GaussianReadout.power * ((counts[0, :, 0] - MIDDLE).astype("float64") / SCALE) ** 2


def prior(chip):
    matrices, first = [], 0
    for name, dims, shape in zip(chip.spec.weight_names, chip.spec.weight_dims, chip.spec.weight_shapes, strict=True):
        places = slice(first, first := first + shape[0] * shape[1])
        matrices.append(pm.Normal(name, mu=MEAN[places].reshape(shape), sigma=SD[places].reshape(shape), dims=dims))
    return matrices


def gaussian_model(monkeypatch):
    """A model whose Op is a `GaussianOp`, and its readout a `GaussianReadout`."""
    monkeypatch.setattr("bayes_snn.posterior.build.ChipCounts", GaussianOp)
    monkeypatch.setattr("bayes_snn.posterior.build.log_p", gaussian_log_p)
    monkeypatch.setattr("bayes_snn.posterior.readout.Readout", GaussianReadout)
    return build_model(UnusedChip(), np.zeros((len(RESPONSES), 2)), np.zeros(len(RESPONSES), int), prior)


def joined_draws(posterior):
    """(chain, draw, n_weights) of a posterior."""
    return np.concatenate([posterior[f"w_{i}"].values.reshape(*posterior["w_1"].shape[:2], -1) for i in (1, 2)], axis=2)


# w ~ Normal(posterior_mean, COVARIANCE)
COVARIANCE = np.linalg.inv(DESIGN.T @ DESIGN / NOISE**2 + np.diag(SD**-2.0))
POSTERIOR_MEAN = COVARIANCE @ (DESIGN.T @ RESPONSES / NOISE**2 + MEAN / SD**2)
_PAIRS = [(i, j) for i in range(4) for j in range(i, 4)]
EXPECTED = {f"w{i}": POSTERIOR_MEAN[i] for i in range(4)} | {f"cov{i}{j}": COVARIANCE[i, j] for i, j in _PAIRS}
MOMENTS = {f"w{i}": lambda *w, i=i: w[i] for i in range(4)} | {
    f"cov{i}{j}": lambda *w, i=i, j=j: (w[i] - POSTERIOR_MEAN[i]) * (w[j] - POSTERIOR_MEAN[j]) for i, j in _PAIRS
}
