"""A model is compiled before its sampling begins, which is timed apart and costs the chip nothing."""

import sys
import time

import numpy as np
import pymc as pm
from numba.core import event
from pytensor.link.numba import cache

from bayes_snn.inference import compiling
from bayes_snn.inference.fit import fit
from bayes_snn.inference.load import load_fit
from tests.inference.test_interleaved import OPTIONS, BenchChip, X, Y, same_draws

FIT = sys.modules["bayes_snn.inference.fit"]


def new_prior():
    """A hierarchical prior that no cache knows."""
    scale = 1.0 + np.random.default_rng(time.time_ns()).uniform()

    def weights(chip):
        tau = pm.HalfNormal("tau", scale)
        names = zip(chip.spec.weight_names, chip.spec.weight_dims, strict=True)
        return [pm.Normal(name, 0.0, tau, dims=dims) for name, dims in names]

    return weights


def test_nothing_is_compiled_once_the_sampling_has_begun(monkeypatch, tmp_path):
    compiled = {"compiled": 0.0, "not": 0.0}

    def watched(name):
        def sample(*arguments, **options):
            with event.install_timer("numba:compile", lambda seconds: compiled.update({name: seconds})):
                return in_turns(*arguments, **options)

        return sample

    def new_store(name):
        """Where PyTensor keeps what it compiled: another test may have compiled the same."""
        folder = tmp_path / name
        folder.mkdir()
        monkeypatch.setattr(cache, "NUMBA_CACHE_PATH", folder)

    in_turns = FIT.sample_in_turns
    monkeypatch.setattr(FIT, "sample_in_turns", watched("compiled"))
    chips = BenchChip(), BenchChip()
    new_store("compiled")
    result = fit(chips[0], X, Y, new_prior(), sampler="sitewise", **OPTIONS)
    assert result.compile_seconds > 0
    monkeypatch.setattr(FIT, "sample_in_turns", watched("not"))
    monkeypatch.setattr(FIT, "compile_steps", lambda model, steps: None)
    new_store("not")
    fit(chips[1], X, Y, new_prior(), sampler="sitewise", **OPTIONS)
    assert compiled["compiled"] < compiled["not"]


def test_compiling_changes_neither_draws_nor_presentations(monkeypatch, tmp_path):
    chips = BenchChip(), BenchChip()
    before = fit(chips[0], X, Y, "hierarchical", **OPTIONS)
    monkeypatch.setattr(FIT, "compile_steps", lambda model, steps: None)
    result = fit(chips[1], X, Y, "hierarchical", **OPTIONS)
    same_draws(before, result)
    assert chips[0].runs == chips[1].runs
    assert before.presentations == result.presentations
    assert load_fit(before.save(tmp_path), chips[0]).compile_seconds == before.compile_seconds


def test_compiling_is_counted_in_pieces():
    watch = compiling.Compiling(time.perf_counter() - 100.0, shown=False)
    with watch:
        pass
    assert 100 <= watch.seconds < 200  # what came before it was made
    with watch:
        pass
    assert watch.seconds < 200  # but not what lies between two pieces
