"""A new prior is one short file, and what docs/priors.md says of priors is so."""

from __future__ import annotations

import logging
import re
import warnings
from pathlib import Path

import numpy as np
import pytest

from bayes_snn import LIFChip, fit, write_report
from bayes_snn.checks.leave_one_out import LooWarning, compare
from bayes_snn.posterior.build import available_models

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "priors.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


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
    assert {"w_1", "w_2", "scale_w_1", "scale_w_2"} <= set(posterior.data_vars)
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
    assert "prior student_t, sampler sitewise" in text
    assert "stacking weight" in text


def test_the_prior_of_the_page_is_the_file():
    source = (ROOT / "models" / "student_t.py").read_text(encoding="utf-8")
    source = re.sub(r'^ *""".*?"""\n+', "", source, flags=re.MULTILINE | re.DOTALL)
    assert source == BLOCKS[0]


@pytest.mark.filterwarnings("ignore::bayes_snn.checks.leave_one_out.LooWarning")
def test_the_code_of_the_page_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(logging.getLogger("arviz_stats"), "disabled", True)
    made = {"__name__": "__main__"}
    for block in BLOCKS:
        code = block.replace("draws=400, tune=400", "draws=40, tune=40").replace(
            "train_labels)", "train_labels, draws=5)"
        )
        exec(compile(code, "priors.md", "exec"), made)
    assert (tmp_path / "prior.png").stat().st_size > 10_000
    assert list(made["before"]["student_t"].table().index) == ["hidden", "output"]
    assert (made["learned"].posterior["posterior/beta"] > 0).all()
    assert made["learned"].readout("map").bias.shape == (3,)
    out = capsys.readouterr().out
    assert made["before"]["student_t"].__str__() in out
    assert "mean p(label)" in out
    assert "Pareto k is above" in out
    for column in ("k_high", "k_tied", "mixed"):
        assert column in made["table"].columns
        assert f"`{column}`" in PAGE
