"""What the checks of a fit with a twin say, and the twin in the fit's folder."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from bayes_snn.chips.lif.chip import LIFChip
from bayes_snn.errors import ChangedFileWarning
from bayes_snn.inference.fit_summary import twin_in_words
from bayes_snn.inference.load import load_fit
from bayes_snn.inference.twin_checks import twin_checks
from bayes_snn.names import TWIN
from bayes_snn.twins.writing import ARRAYS
from tests.helpers.fits import hand_made_fit
from tests.helpers.toys import INPUTS, LABELS
from tests.helpers.twins import fit_on_twin, twin_of

CHIP, OTHER = (LIFChip((1, 3, 2), "threshold", 0.3, seed=seed, n_steps=8) for seed in (100, 101))


def tree(gaps, accept):
    stats = {"gap": (("chain", "draw"), np.array(gaps)), "accept": (("chain", "draw"), np.array(accept, float))}
    return xr.DataTree.from_dict({"sample_stats": xr.Dataset(stats)})


@pytest.fixture
def result():
    return fit_on_twin(CHIP, twin_of(OTHER), INPUTS, LABELS)


def test_checks_are_what_was_shown_after_the_first_draw():
    nan = float("nan")
    #          first, accepted, not moved, rejected, rejected before all was shown
    checks = twin_checks(tree([[9.0, 1.0, nan, -2.0, nan]], [[1, 1, 1, 0, 0]]))
    assert (checks.n, checks.n_accepted, checks.n_whole) == (3, 1, 2)
    assert checks.share_accepted == pytest.approx(1 / 3)
    assert checks.spread == pytest.approx(np.std([9.0, 1.0, -2.0], ddof=1))
    none = twin_checks(tree([[nan]], [[1]]))
    assert none.n == 0
    assert np.isnan(none.share_accepted)
    assert np.isnan(none.spread)


def test_a_fit_without_a_twin_has_no_checks():
    result = hand_made_fit(CHIP, INPUTS, LABELS)
    assert twin_checks(result.posterior) is None
    assert twin_in_words(result) == ""


def test_the_closing_line_tells_them(result):
    checks = twin_checks(result.posterior)
    said = twin_in_words(result)
    assert f"accepted {checks.n_accepted} of {checks.n} draws from the twin, {checks.share_accepted:.0%}" in said
    assert f"a standard deviation of {checks.spread:.2f} nats" in said
    assert f"{result.cost.learning:,} presentations taught the twin" in said
    assert "the weights were written 123 times" in said


def test_presentations_for_each_effective_draw(result):
    diagnosis = result.diagnosis
    least = min(diagnosis.function.ess, diagnosis.log_likelihood.ess)
    assert result.presentations_per_effective_draw == pytest.approx(result.presentations / least)
    assert result.as_dict()["presentations_per_effective_draw"] == result.presentations_per_effective_draw
    short = hand_made_fit(CHIP, INPUTS, LABELS, draws=3)
    assert np.isnan(short.presentations_per_effective_draw)


def test_a_fit_keeps_its_twin_in_its_folder(result, tmp_path):
    loaded = load_fit(result.save(tmp_path / "fit"))
    weights = result.draws[3]
    np.testing.assert_array_equal(loaded.twin.run(weights, INPUTS), result.twin.run(weights, INPUTS))
    assert loaded.twin.learned == result.twin.learned
    hand_made_fit(CHIP, INPUTS, LABELS).save(tmp_path / "fit", overwrite=True)
    assert not (tmp_path / "fit" / TWIN).exists()
    assert load_fit(tmp_path / "fit").twin is None


def test_a_twin_that_cannot_be_read_does_not_lose_the_fit(result, tmp_path):
    folder = result.save(tmp_path / "fit")
    (folder / TWIN / ARRAYS).write_bytes(b"torn")
    with pytest.warns(ChangedFileWarning, match=r"without its twin: .*twin.npz"):
        assert load_fit(folder).twin is None
    twin_of(LIFChip((1, 4, 2), n_steps=8)).save(folder / TWIN)
    with pytest.warns(ChangedFileWarning, match=r"without its twin: .*twin of another chip"):
        assert load_fit(folder).twin is None
