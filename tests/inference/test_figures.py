"""The pictures of a fit: what is on them, and that no half-written file takes the place of an old one."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure

from bayes_snn.chips.lif.chip import LIFChip
from bayes_snn.errors import InputError
from bayes_snn.inference.figures import draw_reliability, draw_trace, save_figure
from tests.helpers.fits import hand_made_fit
from tests.helpers.toys import INPUTS, LABELS, SigmoidChip

X = np.random.default_rng(0).normal(size=(10, 3))
Y = np.arange(10) % 2
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def predictions():
    first = np.random.default_rng(0).uniform(size=(40, 2))
    sure = np.tile([1.0, 0.0], (40, 1))
    return {"ensemble": first / first.sum(axis=1, keepdims=True), "mean": sure}


@pytest.mark.parametrize("layers", [(3, 4, 2), (3, 4, 5, 2)])
@pytest.mark.parametrize("chains", [1, 3])
def test_trace(layers, chains):
    result = hand_made_fit(LIFChip(layers, "comparator", 3.0), X, Y, chains=chains, draws=8)
    figure = draw_trace(result)
    assert len(figure.axes) == 2 + len(layers) - 1
    likelihood, accept, *weights = figure.axes
    assert len(likelihood.lines) == len(accept.lines) == chains
    assert all(len(axis.lines) == 2 * chains for axis in weights)
    assert all(len(line.get_xdata()) == 8 for axis in figure.axes for line in axis.lines)
    total = result.posterior.log_likelihood["label"].sum("observation").values
    for chain in range(chains):
        np.testing.assert_allclose(likelihood.lines[chain].get_ydata(), total[chain])
        np.testing.assert_allclose(
            accept.lines[chain].get_ydata(), result.posterior.sample_stats["accept"].values[chain]
        )
    for axis, name in zip(weights, result.chip.spec.weight_names, strict=True):
        assert name in axis.get_ylabel()
        values = result.posterior.posterior[name].values
        widest = values.reshape(chains, 8, -1)[..., values.std(axis=(0, 1)).argmax()]
        np.testing.assert_array_equal([line.get_ydata() for line in axis.lines[::2]], widest)
    assert [text.get_text() for text in likelihood.get_legend().get_texts()] == [f"chain {c}" for c in range(chains)]
    assert "LIFChip" in likelihood.get_title()
    assert "sampler block" in likelihood.get_title()


def test_trace_of_several_steps_and_a_single_draw(tmp_path):
    # PyMC gives a stat another dim when several steps have it
    result = hand_made_fit(SigmoidChip(), INPUTS, LABELS, chains=2, draws=1)
    both = result.posterior.sample_stats["accept"].expand_dims(accept_dim_0=2, axis=-1) * [0.5, 1.5]
    result.posterior["sample_stats"] = result.posterior.sample_stats.dataset.assign(accept=both)
    figure = draw_trace(result)
    expected = result.posterior.sample_stats["accept"].values.mean(axis=-1)
    np.testing.assert_allclose([line.get_ydata() for line in figure.axes[1].lines], expected)
    save_figure(figure, tmp_path / "trace.png")


def test_reliability(predictions):
    labels = np.arange(40) % 2
    figure = draw_reliability(predictions, labels)
    upper, lower = figure.axes
    diagonal, ensemble, mean = upper.lines
    np.testing.assert_array_equal(diagonal.get_xydata(), [[0, 0], [1, 1]])
    # always sure of one class, right half the time: one point
    np.testing.assert_allclose(mean.get_xydata(), [[1.0, 0.5]])
    assert len(ensemble.get_xdata()) > 1
    assert [text.get_text() for text in upper.get_legend().get_texts()] == ["calibrated", "ensemble", "mean"]
    assert "40 test samples" in upper.get_title()
    assert len(lower.patches) == 2 * 10
    assert sum(bar.get_height() for bar in lower.patches) == 2 * 40  # no sample is lost
    # bars of one bin stand beside each other, within the bin
    starts = np.array([bar.get_x() for bar in lower.patches]).reshape(2, 10)
    assert (starts[0] + lower.patches[0].get_width() <= starts[1] + 1e-12).all()
    assert (starts >= np.arange(10) / 10 - 1e-12).all()


def test_reliability_of_one_prediction_and_many_classes():
    probabilities = np.full((6, 7), 1 / 7)
    figure = draw_reliability({"ensemble": probabilities}, np.arange(6))
    assert len(figure.axes[0].lines) == 2
    with pytest.raises(InputError, match="labels run from"):
        draw_reliability({"ensemble": probabilities}, np.arange(6) + 5)


def test_save_writes_a_png_and_nothing_else(tmp_path, predictions):
    path = tmp_path / "reliability.png"
    path.write_bytes(b"old")
    save_figure(draw_reliability(predictions, np.arange(40) % 2), path)
    data = path.read_bytes()
    assert data.startswith(PNG)
    assert data.rstrip(b"\x00").endswith(b"IEND\xaeB`\x82")
    assert [p.name for p in tmp_path.iterdir()] == ["reliability.png"]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), ValueError("a bug")])
def test_a_failing_save_leaves_the_old_picture(tmp_path, monkeypatch, predictions, error):
    path = tmp_path / "reliability.png"
    path.write_bytes(b"old")

    def half(self, name, **options):
        name.write_bytes(PNG)
        raise error

    monkeypatch.setattr(Figure, "savefig", half)
    kind = InputError if isinstance(error, OSError) else ValueError
    with pytest.raises(kind, match="No space left" if isinstance(error, OSError) else "a bug"):
        save_figure(draw_reliability(predictions, np.arange(40) % 2), path)
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["reliability.png"]
