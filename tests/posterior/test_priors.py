"""A new prior is one short file, and that of docs/priors.md is one of the package's own."""

from __future__ import annotations

import re
import warnings

import numpy as np

from bayes_snn import LIFChip, fit, write_report
from bayes_snn.checks.leave_one_out import LooWarning, compare
from bayes_snn.posterior.build import available_models
from tests.helpers.pages import python_on


def test_a_prior_is_a_file_of_at_most_20_lines():
    assert len(available_models()["student_t"].read_text(encoding="utf-8").splitlines()) <= 20


def test_the_new_prior_fits_and_shows_everywhere(tmp_path):
    rng = np.random.default_rng(0)
    inputs, labels = rng.normal(size=(30, 3)), np.arange(30) % 2
    inputs[:, 0] += 2 * labels
    chip = LIFChip((3, 2, 2))
    fits = {
        name: fit(chip, inputs, labels, name, draws=60, tune=60, chains=2, cores=1, seed=0, sampler="sitewise")
        for name in ("student_t", "gaussian")
    }
    posterior = fits["student_t"].posterior["posterior"].dataset
    assert set(posterior.data_vars) == {"w_1", "w_2", "scale_w_1", "scale_w_2", "bias"}
    assert all(float(array.std()) > 0 for array in posterior.data_vars.values())
    assert set(fits["student_t"].posterior["log_prior"].dataset.data_vars) >= set(posterior.data_vars)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LooWarning)  # so few draws
        table = compare(fits)
    assert set(table.index) == {"student_t", "gaussian"}
    assert np.isfinite(table["elpd"]).all()
    folders = [result.save(tmp_path / name) for name, result in fits.items()]
    text = write_report(folders, tmp_path / "both.html", test=(inputs, labels)).read_text(encoding="utf-8")
    assert re.search(r'<th scope="row">prior</th><td>student_t</td><td>gaussian</td>', text)
    assert re.search(r"prior student_t, readout: a spike weighs 0.5, class biases are [^<]+, sampler sitewise", text)
    assert "stacking weight" in text


def test_the_prior_of_the_page_is_the_file():
    source = available_models()["student_t"].read_text(encoding="utf-8")
    source = re.sub(r'^ *""".*?"""\n+', "", source, flags=re.MULTILINE | re.DOTALL)
    assert source == python_on("priors.md")[0]
