"""A distortion is a row of names.py and its arithmetic: rows say what chips do, and what lists them reads rows."""

from __future__ import annotations

import numpy as np
import pytest

from bayes_snn import DISTORTIONS, InputError, names
from bayes_snn.chips.lif.chip import LIFChip
from bayes_snn.chips.lif.distortion import check_distortions
from bayes_snn.names import DISTORTION_ROWS, DRIFTING, FROZEN, NOISY, Distortion, sigma_units, strengths_in_words


@pytest.mark.parametrize("name", DISTORTION_ROWS)
def test_a_row_holds_what_a_chip_takes(name):
    row = DISTORTION_ROWS[name]
    for sigma in {*row.bounds, row.example}:
        assert check_distortions(name, sigma) == ({name: sigma} if sigma else {})
    just_out = [-1e-9, np.nextafter(row.bounds[1], np.inf), np.inf, np.nan]
    just_out += [0.5, 0.999 * row.bounds[0], row.bounds[0] + 0.5] if row.whole else []
    for sigma in just_out:
        with pytest.raises(InputError, match=rf"sigma of {name} was .*{row.range} is expected \({row.unit}\)"):
            check_distortions(name, sigma)


@pytest.mark.parametrize("name", DISTORTION_ROWS)
def test_a_row_says_when_it_is_drawn(name):
    chip = LIFChip((4, 9, 3), name, DISTORTION_ROWS[name].example)
    kind = DISTORTION_ROWS[name].kind
    assert (chip.spec.deterministic, chip.spec.drifting) == (kind == FROZEN, kind == DRIFTING)
    assert kind in (FROZEN, NOISY, DRIFTING)
    strong = LIFChip((4, 9, 3), name, {"drift": 10.0}.get(name, DISTORTION_ROWS[name].bounds[1]))
    rng = np.random.default_rng(1)
    weights = [rng.normal(0, 3, shape) for shape in strong.spec.weight_shapes]
    inputs = rng.normal(size=(200, 4))
    first, second = strong.spikes(weights, inputs), strong.spikes(weights, inputs)
    assert all(map(np.array_equal, first, second)) == (kind == FROZEN)


def test_the_public_names_are_texts():
    assert list(DISTORTIONS) == list(DISTORTION_ROWS)
    assert DISTORTIONS["quantisation"].endswith("; sigma: whole number of bits, 2 to 16")
    assert all(isinstance(text, str) and "\n" not in text for text in DISTORTIONS.values())


def test_units_and_strengths_are_told_in_words():
    assert all(f"{row.unit}, {row.range}" in sigma_units() for row in DISTORTION_ROWS.values())
    assert "threshold, leak, gain: log-normal spread, 0 to 10;" in sigma_units()
    assert strengths_in_words({"gain": 0.25, "quantisation": 4.0}) == "gain 0.25, quantisation 4"
    assert strengths_in_words({}) == "ideal"
    assert "gain 0.25, quantisation 4" in repr(LIFChip((2, 2), ["gain", "quantisation"], [0.25, 4]))


def test_another_row_is_all_that_checks_and_errors_need(monkeypatch):
    row = Distortion("skew", "spikes come late", "steps", (0, 5), 2, whole=True)
    monkeypatch.setitem(names.DISTORTION_ROWS, "skew", row)
    assert check_distortions(["gain", "skew"], [0.1, 2]) == {"gain": 0.1, "skew": 2.0}
    with pytest.raises(InputError, match=r"sigma of skew was 2\.5, but a number from 0 to 5 is expected \(steps\)"):
        check_distortions("skew", 2.5)
    with pytest.raises(InputError, match="did you mean 'skew'"):
        check_distortions("skw", 2)
