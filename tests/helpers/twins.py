"""Twins made by hand, which need no learning, and fits on them."""

from __future__ import annotations

from functools import partial

import numpy as np

from bayes_snn.chips.lif.chip import LIFChip
from bayes_snn.chips.lif.circuit import tabulate
from bayes_snn.chips.lif.distortion import draw_layer, stream
from bayes_snn.groups import GAP
from bayes_snn.likelihood import log_likelihood
from bayes_snn.twins.contract import SPIKES, Learned
from bayes_snn.twins.lif import LIFTwin
from tests.helpers.fits import hand_made_fit


def twin_of(chip: LIFChip, **told) -> LIFTwin:
    """A twin that knows all of a simulated chip."""
    streams = partial(stream, chip.seed)
    numbers = range(len(chip.spec.weight_shapes))
    layers = [tabulate(draw_layer(chip.strengths, chip.spec, n, chip.tau_m, streams)) for n in numbers]
    learned = {"presentations": 900, "programmings": 70, "mismatch": 0.004, "n_compared": 500, "chip": "LIFChip"}
    return LIFTwin(chip.spec, layers, Learned(SPIKES, **{**learned, **told}))


def fit_on_twin(chip, twin, inputs, labels, chains=2, draws=12, rejected=0.25):
    """A fit made by hand whose sample stats are those of checks; a share of them was rejected."""
    result = hand_made_fit(chip, inputs, labels, chains, draws)
    gaps = np.empty((chains, draws))
    for draw in np.ndindex(chains, draws):
        weights = [result.posterior.posterior[name].values[draw] for name in chip.spec.weight_names]
        both = [log_likelihood(np.asarray(each.run(weights, inputs)), labels, 0.5).sum() for each in (chip, twin)]
        gaps[draw] = both[0] - both[1]
    stats = result.posterior.sample_stats.dataset
    accept = np.ones((chains, draws))
    accept.ravel()[1 :: max(int(1 / rejected), 1)] = 0.0
    result.posterior.sample_stats.dataset = stats.assign(
        {"accept": (("chain", "draw"), accept), GAP: (("chain", "draw"), gaps)}
    )
    result.arguments["sampler"] = "twin"
    result.twin, result.twin_check = twin, {**twin.learned.as_dict(), "spread": 0.5, "n_checks": 2, "wrong": 0.01}
    result.programmings = 123
    result.charge("learning", twin.learned.presentations)
    return result
