"""`Sampling` is what `fit` takes: the same names and defaults, and it comes back from what a fit stores."""

from __future__ import annotations

import inspect
from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bayes_snn import InputError, LIFChip, fit
from bayes_snn.inference.sampling import Sampling
from bayes_snn.names import SAMPLERS

NOISY, IDEAL = LIFChip((2, 2), "noise", 0.3), LIFChip((2, 2))


def test_its_fields_are_arguments_of_fit_with_the_same_defaults():
    arguments = inspect.signature(fit).parameters
    assert {field.name: field.default for field in fields(Sampling)} == {
        field.name: arguments[field.name].default for field in fields(Sampling)
    }
    assert Sampling().keywords().keys() == {field.name for field in fields(Sampling)}


@given(
    st.sampled_from(sorted(set(SAMPLERS) - {"smc"})),
    st.integers(1, 10**7),
    st.integers(0, 10**7),
    st.integers(1, 256),
    st.integers(0, 2**70),
    st.sampled_from(["pseudo-marginal", "mcwm"]),
    st.integers(1, 100),
    st.integers(0, 100),
)
def test_what_a_fit_stores_gives_the_same_sampling(sampler, draws, tune, chains, seed, noise, repeats, remeasure):
    sampling = Sampling(sampler, draws, tune, chains, seed, None, noise, repeats, remeasure)
    stored = {
        "model": "gaussian",
        "beta": 0.7,
        **sampling.as_arguments(sampling.noise_on(NOISY.spec).as_dict(NOISY.spec)),
    }
    assert Sampling.stored(stored) == sampling
    assert Sampling.stored(stored, cores=2) == replace(sampling, cores=2)
    assert Sampling.stored(stored).noise_on(NOISY.spec) == sampling.noise_on(NOISY.spec)


def test_a_deterministic_chip_leaves_nothing_to_choose():
    stored = Sampling().as_arguments(Sampling().noise_on(IDEAL.spec).as_dict(IDEAL.spec))
    assert stored["noise"] is None
    assert Sampling.stored(stored).noise_on(IDEAL.spec) == Sampling().noise_on(IDEAL.spec)


@pytest.mark.parametrize(
    ("options", "n_samples", "chains"),
    [
        ({}, 398, 2),  # 251 passes
        ({}, 40, 4),
        ({"budget": 5000}, 398, 2),
        ({"budget": 200_000}, 398, 4),
        ({"budget": 130_000}, 398, 3),
        ({"budget": 130_000, "repeats": 4}, 398, 2),
        ({"chains": 5, "budget": 5000}, 398, 5),
        ({"draws": 10}, 398, 4),
        ({"draws": 10, "budget": 5000}, 398, 2),
        ({"sampler": "sitewise"}, 398, 4),
    ],
)
def test_chains_are_few_and_long_where_looks_at_the_chip_are_few(options, n_samples, chains):
    assert Sampling(**options).with_chains(n_samples).n_chains == chains


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"sampler": "sitewize"}, "did you mean 'sitewise'"),
        ({"draws": 0}, "draws was 0"),
        ({"draws": 1, "sampler": "smc"}, "draws was 1"),
        ({"tune": -1}, "tune was -1"),
        ({"sampler": "sitewise", "chains": 257}, "chains was 257"),
        ({"seed": 1.5}, "seed was 1.5"),
        ({"cores": 0}, "cores was 0"),
    ],
)
def test_refused(options, says):
    with pytest.raises(InputError, match=says):
        Sampling(**options)
