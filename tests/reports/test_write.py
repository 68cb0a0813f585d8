"""A report is one file that loads nothing, says what fit.json says, describes its figures and names what is missing."""

from __future__ import annotations

import html
import itertools
import json
import os
import re
import shutil
import sys
import warnings
from html.parser import HTMLParser

import arviz as az
import numpy as np
import pytest

from bayes_snn import __version__
from bayes_snn.chips.lif.chip import LIFChip
from bayes_snn.cli import report as report_command
from bayes_snn.data import load_data, split_data
from bayes_snn.errors import ChipError, InputError
from bayes_snn.estimates.baselines import baseline_scores
from bayes_snn.estimates.metrics import accuracy_interval
from bayes_snn.estimates.predict import ESTIMATES
from bayes_snn.inference.load import load_fit
from bayes_snn.names import DISTORTIONS
from bayes_snn.reports import write as report
from bayes_snn.reports.chains import disagreement, rank_shares, thinned
from bayes_snn.reports.comparison import leave_one_out
from bayes_snn.reports.material import gather
from bayes_snn.reports.network import draw_spikes, draw_weights
from bayes_snn.reports.page import Sheet
from bayes_snn.reports.sections import CHIP, SECTIONS, write_section
from bayes_snn.reports.tables import how_chosen, split_verdict
from bayes_snn.reports.write import write_report
from tests.helpers.fits import FaultyChip, hand_made_fit
from tests.helpers.toys import INPUTS, LABELS, SigmoidChip

pytestmark = pytest.mark.usefixtures("quickly_compiled")

VOID = {"meta", "link", "br", "hr", "img", "input", "use", "path", "image", "rect", "circle", "line"}
HOSTILE = '<script>alert("1")</script>'


class Page(HTMLParser):
    """Tags of a page, checked to be balanced, with the text of headings, cells and paragraphs."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.texts = [], [], {}
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag
        elif self.open and self.open[-1] == tag:
            self.open.pop()

    def handle_data(self, data):
        for tag in {*self.open}:
            self.texts.setdefault(tag, []).append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]

    def text(self, tag="body"):
        return " ".join(" ".join(self.texts.get(tag, [])).split())


def rows_of(text):
    """Cells of every table row, as text."""
    rows = re.findall(r"<tr[^>]*>(.*?)</tr>", text, re.DOTALL)
    cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL) for row in rows]
    return [[html.unescape(re.sub(r"<[^>]*>", "", cell)) for cell in row] for row in cells]


def make_fit(seed=0, chains=2, draws=30, **chip):
    """A fit of iris that python -m bayes_snn.fit could have made, but for the draws, which are of the prior."""
    split = split_data(load_data("iris"), n_train=30, seed=0)
    chip = LIFChip((4, 5, 3), **({"distortion": "comparator", "sigma": 2.0, "seed": 1, "n_steps": 12} | chip))
    result = hand_made_fit(chip, split.train_inputs, split.train_labels, chains, draws, seed)
    named = result.posterior.posterior.dataset.assign_coords(
        pre_1=list(split.feature_names), post_2=list(split.class_names)
    )
    result.posterior["posterior"] = named
    result.arguments |= {"data": "iris", "target": None, "n_train": 30, "split_seed": 0}
    result.scores = {
        "train": result.evaluate(split.train_inputs, split.train_labels),
        "test": result.evaluate(split.test_inputs, split.test_labels),
        "baselines": baseline_scores(split),
    }
    return result


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_fit().save(tmp_path_factory.mktemp("fits") / "first")


@pytest.fixture(scope="module")
def text(folder, tmp_path_factory):
    path = write_report(folder, tmp_path_factory.mktemp("reports") / "one.html")
    return path.read_text(encoding="utf-8")


@pytest.fixture
def copied(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "fit")


def edit(folder, change):
    """Change fit.json in place."""
    stored = json.loads((folder / "fit.json").read_text())
    change(stored)
    (folder / "fit.json").write_text(json.dumps(stored))
    return folder


def written(fits, tmp_path, **options):
    return write_report(fits, tmp_path / "written.html", **options).read_text(encoding="utf-8")


# ---- the page


def check_page(text):
    page = Page(text)
    names = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(names) == len(set(names))
    targets = [a[key] for _, a in page.tags for key in ("href", "src", "xlink:href", "srcset") if key in a]
    assert all(target.startswith(("#", "data:")) for target in targets)
    assert {target[1:] for target in targets if target.startswith("#")} <= set(names)
    assert set(re.findall(r"url\(#?([^)]*)\)", text)) <= set(names)
    assert "@import" not in text
    assert not page.all("script") + page.all("iframe") + page.all("object")
    assert page.all("svg")
    for svg in page.all("svg"):
        assert svg["role"] == "img"
        assert len(svg["aria-label"]) > 30
        assert re.search(r"\d", svg["aria-label"])
    assert all(image.get("alt") for image in page.all("img"))
    assert len(page.all("caption")) == len(page.all("table"))
    assert len(page.all("figcaption")) == len(page.all("svg"))
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels.count(1) == 1
    assert all(later <= earlier + 1 for earlier, later in itertools.pairwise(levels))
    return page


def test_the_page_is_whole_and_loads_nothing(text):
    page = check_page(text)
    assert page.all("html")[0]["lang"] == "en"
    assert "width=device-width" in text
    assert "@media print" in text
    assert "prefers-color-scheme: dark" in text


def test_every_section_is_there_in_order(text):
    page = Page(text)
    assert [attributes["id"] for attributes in page.all("h2")] == [name for name in SECTIONS if name != CHIP]
    # an accuracy plot, 4 reliabilities, 7 traces, 6 ranks, 2 layers of 3 maps, 3 samples on 2 chips
    assert len(page.all("svg")) == 1 + 4 + 7 + 6 + 6 + 6
    assert not re.findall(r'class="missing">(?!The weights have not mixed)', text)


def test_the_verdict_comes_first(text, folder):
    stored = json.loads((folder / "fit.json").read_text())
    headline, rest = split_verdict(stored["diagnosis"]["verdict"])
    start = text.index("<main>")
    assert html.unescape(text[start:]).index(headline) < text.index("<table", start)
    assert rest in html.unescape(text)
    assert f"<b>{stored['test']['ensemble']['accuracy']:.3f}</b>" in text


def test_the_numbers_are_those_of_the_fit(text, folder):
    stored = json.loads((folder / "fit.json").read_text())
    rows = {row[0]: row[1:] for row in rows_of(text)}
    n_test = len(split_data(load_data("iris"), n_train=30, seed=0).test_labels)
    for name in ESTIMATES:
        train, test = stored["train"][name], stored["test"][name]
        low, high = accuracy_interval(test["accuracy"], n_test)
        scores = [
            f"{test[score]:.3f}"
            for score in ("log_score", "calibration_error", "brier_score", "balanced_accuracy", "auc")
        ]
        expected = [f"{train['accuracy']:.3f}", f"{test['accuracy']:.3f}", f"{low:.3f} to {high:.3f}", *scores]
        assert rows[name] == expected
    for name, label in (("chance", "chance"), ("logistic", "logistic (digital)")):
        assert rows[label][1] == f"{stored['baselines'][name]['test']['accuracy']:.3f}"
    assert rows["presentations (a sample shown once)"] == [f"{stored['presentations']:,}"]
    verdict = stored["diagnosis"]["verdict"]
    for name in ("predictions", "log-likelihood", "weights"):  # the table and the verdict show the same figures
        assert f"R-hat of the {name} {rows[name][0]} (limit 1.05)" in verdict
        assert f"effective draws of the {name} {rows[name][1]} (wanted 100)" in verdict
    assert rows["split_seed"] == ["0"]
    assert rows["distortions.comparator"] == ["2"]
    assert rows["comparator 2"] == [DISTORTIONS["comparator"]]
    assert rows["pymc"] == [stored["versions"]["pymc"]]
    assert rows["target"] == ["none"]
    assert "distilled" not in rows


def test_distilled_weights_are_told_where_there_are_some(folder, tmp_path):
    result, split = load_fit(folder), split_data(load_data("iris"), n_train=30, seed=0)
    result.distil(n_inputs=50, sweeps=3)
    scores = result.evaluate(split.test_inputs, split.test_labels)
    result.scores = {**result.scores, "test": scores}
    saved = result.save(tmp_path / "distilled")
    rows = {row[0]: row[1:] for row in rows_of(written(saved, tmp_path))}
    assert rows["distilled"][1] == f"{scores['distilled']['accuracy']:.3f}"
    shown = result.posterior["distilled"].attrs["presentations"]
    assert rows["presentations to distil the ensemble, beside those"] == [f"{shown:,}"]
    beside = {row[0]: row[1:] for row in rows_of(written([folder, saved], tmp_path))}
    assert beside["distilled, test accuracy"] == ["not known", f"{scores['distilled']['accuracy']:.3f}"]


def test_the_best_single_set_is_chosen_in_training(folder, copied):
    def change(stored):
        for name, score in (("mean", -2.0), ("map", -0.1), ("medoid", -0.5)):
            stored["train"][name]["log_score"] = score
        stored["test"]["map"]["accuracy"] = 0.123

    material = gather(edit(copied, change))
    assert material.best_single == "map"
    # it is called what it is, and where it is not the best, that is said
    text = written(folder, copied)
    assert "Best single" not in text
    said = how_chosen(material)
    assert said.startswith("the one shown here has the best training log score. A choice by test accuracy would ")
    assert "this set is number 3 of 3, and " in said


def test_the_same_bytes_twice(text, folder, tmp_path):
    assert written(folder, tmp_path) == text


def test_a_noisy_chip_gives_the_same_bytes_twice_and_is_left_as_it_was():
    result = make_fit(distortion=["comparator", "noise"], sigma=[1.0, 0.3])
    weights, inputs = result.weights("map"), result.train_inputs
    result.chip.restart_noise(5)
    expected = [result.chip.run(weights, inputs) for _ in range(2)]
    result.chip.restart_noise(5)
    assert np.array_equal(result.chip.run(weights, inputs), expected[0])
    first, second = (
        [write_section(name, gather(result), Sheet()) for name in ("calibration", "spikes")] for _ in range(2)
    )
    assert first == second
    assert np.array_equal(result.chip.run(weights, inputs), expected[1])


def test_what_others_wrote_is_escaped(tmp_path):
    result = make_fit()
    names = [HOSTILE, "$\\frac{", "日本語", 'a"&b\x00\ud800']
    result.posterior["posterior"] = result.posterior.posterior.dataset.assign_coords(
        pre_1=names, post_2=["</svg>", "'x'", "$"]
    )
    result.arguments |= {"model": HOSTILE, "data": None}
    text = written(result, tmp_path)
    page = check_page(text)
    assert "<script" not in text
    assert html.escape(HOSTILE) in text
    assert "$\\frac{" in text
    assert "日本語" in text
    assert HOSTILE in page.text()


# ---- what is missing


def test_without_scores_and_test_samples(copied, tmp_path):
    def change(stored):
        for part in ("train", "test", "baselines", "versions", "diagnosis", "presentations_saved"):
            del stored[part]
        stored["arguments"] = {"sampler": "block"}

    text = written(edit(copied, change), tmp_path)
    page = check_page(text)
    assert "The fit holds no scores" in page.text()
    assert "The fit does not name its data set" in page.text()
    assert "These are training samples" in page.text()
    assert "fit.json holds no versions" in page.text()
    assert "Training sample" in page.text("h3")
    assert "not known" in page.text("dd")


def test_test_samples_can_be_given(copied, tmp_path):
    split = split_data(load_data("iris"), n_train=30, seed=0)
    edit(copied, lambda stored: stored["arguments"].pop("data"))
    given = (split.test_inputs, split.test_labels)
    assert "Test intervals are missing" not in written(copied, tmp_path, test=given)
    with pytest.raises(InputError, match="chip expects"):
        write_report(copied, tmp_path / "x.html", test=(split.test_inputs[:, :2], split.test_labels))


@pytest.mark.parametrize(
    ("argument", "value", "sentence"),
    [("split_seed", 1, "it has changed"), ("data", "gone.csv", "cannot be read")],
)
def test_data_that_have_changed_are_not_tested_on(copied, argument, value, sentence):
    material = gather(edit(copied, lambda stored: stored["arguments"].update({argument: value})))
    assert material.test is None
    assert sentence in material.why_no_test


def test_an_argument_of_another_type_is_refused(copied):
    edit(copied, lambda stored: stored["arguments"].update(n_train="x"))
    with pytest.raises(InputError, match=r"Expected 'int \| null', got 'str' at 'arguments.n_train'"):
        gather(copied)


def test_a_fit_of_another_version_says_so(run, copied, text):
    assert "was written by bayes_snn" not in text
    edit(copied, lambda stored: stored["versions"].update(bayes_snn="0.0.9"))
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        code, _, err = run(copied)
    assert code == 0
    said = f"was written by bayes_snn 0.0.9, but this is bayes_snn {__version__}"
    assert " ".join(err.split()).startswith(f"Warning: {copied} {said}")
    assert err.count("\n") == 1
    page = check_page((copied / "report.html").read_text(encoding="utf-8"))
    assert f"This fit {said}" in page.text("p")


def test_one_chain_and_too_few_draws(tmp_path):
    text = written(make_fit(chains=1), tmp_path)
    check_page(text)
    assert "Ranks compare chains, and this fit has one" in text
    text = written(make_fit(draws=1), tmp_path)
    check_page(text)
    assert "Ranks of 1 draws say nothing" in text


def test_without_sample_stats_and_names(tmp_path):
    result = make_fit()
    folder = result.save(tmp_path / "fit")
    loaded = load_fit(folder)
    loaded.posterior["sample_stats"] = loaded.posterior["sample_stats"].dataset.drop_vars("accept")
    loaded.posterior["posterior"] = loaded.posterior["posterior"].dataset.drop_vars(["pre_1", "post_2"])
    loaded.arguments["sampler"] = "smc"
    text = written(loaded, tmp_path)
    check_page(text)
    assert "does not record its acceptance" in text
    assert "particles of a population have no order" in text


def test_a_chip_of_ones_own(tmp_path):
    result = hand_made_fit(SigmoidChip(), INPUTS, LABELS, draws=30)
    folder = result.save(tmp_path / "fit")
    text = written(folder, tmp_path)
    check_page(text)
    assert text.count("The chip, a SigmoidChip, cannot be made from its description: pass the chip to load_fit") == 2
    text = written(load_fit(folder, SigmoidChip()), tmp_path)
    check_page(text)
    assert "cannot be made" not in text
    assert "does not show its hidden spikes" in text
    assert "Reliability of the ensemble" in text


def test_a_chip_that_fails_costs_its_section_only(tmp_path):
    result = hand_made_fit(FaultyChip(lambda counts: counts - 99, 60), INPUTS, LABELS, draws=30)
    with pytest.raises(ChipError):
        result.predict(INPUTS)
    page = check_page(written(result, tmp_path))
    assert "The chip answered spike counts from" in page.text()
    assert page.text("h2").endswith("Provenance")


# ---- several fits


def test_fits_side_by_side(folder, tmp_path):
    other = make_fit(seed=1, sigma=0.5).save(tmp_path / "first")
    text = written([folder, other], tmp_path)
    page = check_page(text)
    rows = {row[0]: row[1:] for row in reversed(rows_of(text))}
    stored = [json.loads((f / "fit.json").read_text()) for f in (folder, other)]
    assert rows[""] == ["first (1)", "first (2)"]  # the first table, for rows were reversed
    assert rows["ensemble, test accuracy"] == [f"{s['test']['ensemble']['accuracy']:.3f}" for s in stored]
    assert rows["chip"] == ["4-5-3, comparator 2, seed 1", "4-5-3, comparator 0.5, seed 1"]
    assert page.text("h2") == "Comparison first (1) first (2)"
    expected = {f"fit-{n}-{name}" for n in (1, 2) for name in SECTIONS if name != CHIP}
    assert expected <= {a["id"] for a in page.all("h3") if "id" in a}
    assert "Leave-one-out" in page.text("h3")


def test_loo_is_that_of_arviz(folder):
    materials = [gather(folder), gather(folder)]
    for name, shift, material in zip("ab", (0.0, 2.0), materials, strict=True):
        material.name = name
        terms = material.result.posterior["log_likelihood/label"]
        # without ties, which loo.py treats apart
        terms.values[:] = -shift - np.random.default_rng(len(name)).gamma(1.0, 0.1, terms.shape)
    rows = {row[0]: row[1:] for row in rows_of(leave_one_out(materials))}
    for material in materials:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = az.loo(material.result.posterior, var_name="label")
        assert rows[material.name][:2] == [f"{found.elpd:.1f}", f"{found.se:.1f}"]
    assert rows["a"][2] == "0.0"
    assert rows["b"][2] == f"{-2.0 * 30:.1f}"
    assert list(rows) == ["fit", "a", "b"]


def test_loo_of_tied_tails_is_said_and_not_refused(folder):
    materials = [gather(folder), gather(folder)]
    for name, material in zip("ab", materials, strict=True):
        material.name = name
        terms = material.result.posterior["log_likelihood/label"]
        terms.values[:] = -np.random.default_rng(0).uniform(0.0, 0.3, terms.shape)
    terms.values[:, :, :3] = -0.5  # of b: 3 of 30 samples
    rows = {row[0]: row[1:] for row in rows_of(leave_one_out(materials))}
    assert rows["fit"][-2:] == ["k too high", "no k"]
    assert (rows["a"][-1], rows["b"][-1]) == ("0%", "10%")


def test_loo_wants_the_same_training_samples(folder):
    other = gather(hand_made_fit(SigmoidChip(), INPUTS, LABELS))
    said = leave_one_out([gather(folder), other])
    assert "LOO compares fits of the same training samples, but those of fit are not those of first" in said


def test_a_failing_loo_is_said(folder, monkeypatch):
    def fail(*arguments, **options):
        raise ValueError("no <b>tail</b>")

    monkeypatch.setattr(az, "loo", fail)
    said = leave_one_out([gather(folder), gather(folder)])
    assert "LOO could not be computed (ValueError: no &lt;b&gt;tail&lt;/b&gt;)" in said


# ---- figures


def test_rank_shares():
    rng = np.random.default_rng(0)
    even = rank_shares(rng.normal(size=(4, 5000)))
    assert even.shape == (4, 20)
    # 250 draws of 1000 in a bin, binomial: standard deviation 0.055 of the share
    assert np.abs(even - 1).max() < 5 * 0.055
    np.testing.assert_allclose(even.mean(axis=0), 1)
    apart = rank_shares(np.array([np.arange(40.0), np.arange(40.0) + 100]))
    np.testing.assert_array_equal(apart[:, [0, -1]], [[2, 0], [0, 2]])
    tied = rank_shares(np.zeros((2, 1000)))
    assert np.abs(tied - 1).max() < 0.6
    odd = rank_shares(rng.normal(size=(3, 7)))
    np.testing.assert_allclose(odd.sum(axis=0), 3)


def test_thinning_keeps_every_excursion():
    values = np.random.default_rng(0).normal(size=5000)
    values[[1234, 4321]] = 50.0, -50.0
    draws, kept = thinned(values)
    assert len(draws) <= 500
    assert (np.diff(draws) > 0).all()
    np.testing.assert_array_equal(kept, values[draws])
    assert {1234, 4321} <= set(draws)
    np.testing.assert_array_equal(thinned(values[:300])[1], values[:300])


def test_disagreement_orders_by_mixing():
    noise = np.random.default_rng(0).normal(size=(2, 100, 4))
    noise[0, :, 1] += 5.0
    noise[:, :, 2] = 3.0
    noise[0, :, 3], noise[1, :, 3] = 1.0, 2.0
    found = disagreement(noise)
    assert found[2] == 0
    assert found[3] == np.inf
    assert found[1] > 10 * found[0]
    assert disagreement(noise[:, :2]).shape == (4,)


def test_the_raster_shows_the_spikes_of_both_chips(folder):
    material = gather(folder)
    weights = material.result.weights(material.best_single)
    inputs, labels = material.test
    ideal = LIFChip((4, 5, 3), n_steps=12)
    shown = list(draw_spikes(material))
    assert len(shown) == 3
    for (heading, drawings), label in zip(shown, range(3), strict=True):
        sample = int(np.flatnonzero(labels == label)[0])
        assert f"sample {sample}, class {material.class_names[label]}" in heading
        for drawing, chip in zip(drawings, (material.result.chip, ideal), strict=True):
            hidden, output = chip.spikes(weights, inputs[[sample]])
            assert f"{hidden.sum()} hidden spikes" in drawing.alternative
            for name, count in zip(material.class_names, output[0].sum(axis=0), strict=True):
                assert f"{name}: {count}" in drawing.alternative


def test_heat_maps_say_the_largest_weight(folder):
    material = gather(folder)
    mean = material.result.posterior.posterior["w_1"].mean(("chain", "draw"))
    place = mean[np.unravel_index(np.abs(mean.values).argmax(), mean.shape)]
    first, *_ = draw_weights(material, 0)
    assert f"{float(place):.2f}, from {place.pre_1.item()} to" in first.alternative
    assert len(draw_weights(material, 1)) == 3


# ---- the command


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)

    def run_main(*arguments):
        monkeypatch.setattr(sys, "argv", ["report", *map(str, arguments)])
        code = 0
        try:
            report_command.main()
        except SystemExit as end:
            code = end.code
        return code, *capsys.readouterr()

    return run_main


def refused(ended, *parts):
    code, out, err = ended
    assert code == 2, ended
    assert "Traceback" not in out + err
    assert err.startswith("Error: ")
    assert err.count("\n") == 1
    assert err.rstrip()[-1] in ".?"
    assert all(part in err for part in parts), err


def test_command(run, copied, text, tmp_path, monkeypatch):
    code, out, err = run(copied)
    assert (code, err) == (0, "")
    assert f"The report is {copied / 'report.html'}" in out
    # the folder has another name
    assert (copied / "report.html").read_text(encoding="utf-8") == text.replace("Fit first", "Fit fit")
    monkeypatch.setattr(report, "render", lambda fits, **options: ",".join(map(str, fits)))
    assert run(copied, tmp_path / "fit")[0] == 0
    assert (tmp_path / "report.html").read_text() == f"{copied},{copied}"
    assert run(copied, "--output", "new/one.html")[0] == 0
    assert (tmp_path / "new" / "one.html").read_text() == str(copied)


def test_bad_input_is_refused(run, copied, tmp_path):
    refused(run("missing"), "missing is not a folder")
    refused(run("missing", "--output", "new/report.html"), "missing is not a folder")
    assert not (tmp_path / "new").exists()
    refused(run(), "FIT_DIR")
    (tmp_path / "empty").mkdir()
    refused(run("empty"), "no readable fit.json")
    refused(run(copied, "--output", ""), "--output was empty")
    refused(run(copied, "--output", tmp_path), "is a folder")
    refused(run(copied, "--output", copied / "fit.json" / "x.html"), "cannot be made")
    assert sorted(path.name for path in copied.iterdir()) == ["fit.json", "posterior.nc"]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("{", "no readable fit.json"),
        ("[]", "no readable fit.json"),
        ('{"format": 99}', "format 99"),
        ('{"format": 1, "chip": {"class": "LIFChip"}}', "missing required field 'spec' at 'chip'"),
        ('{"format": 1, "chip": {}}', "missing required field 'class' at 'chip'"),
        (None, "posterior.nc cannot be read"),
    ],
)
def test_a_torn_fit_is_refused(run, copied, content, sentence):
    (copied / "report.html").write_text("old")
    if content is None:
        data = (copied / "posterior.nc").read_bytes()
        (copied / "posterior.nc").write_bytes(data[: len(data) // 2])
    else:
        (copied / "fit.json").write_text(content)
    refused(run(copied), sentence)
    assert (copied / "report.html").read_text() == "old"


@pytest.mark.parametrize("part", ["chip", "arguments", "presentations"])
@pytest.mark.parametrize("value", [None, "x", {}, [1]])
def test_an_edited_fit_is_refused_or_read(run, copied, part, value):
    ended = run(edit(copied, lambda stored: stored.update({part: value})))
    if not (part == "arguments" and value == {}):
        refused(ended, "fit.json")


def test_a_posterior_without_its_parts_is_refused(tmp_path):
    for group, name in (("posterior", "w_1"), ("log_likelihood", "label"), ("constant_data", "inputs")):
        result = make_fit(draws=4)
        result.posterior[group] = result.posterior[group].dataset.drop_vars(name)
        with pytest.raises(InputError, match="which every fit has"):
            write_report(result, tmp_path / "x.html")


def test_a_full_disk_leaves_the_old_report(run, copied, monkeypatch):
    (copied / "report.html").write_text("old")
    monkeypatch.setattr(report, "render", lambda *a, **o: "new")

    def fail(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    refused(run(copied), "No space left on device")
    assert (copied / "report.html").read_text() == "old"
    assert sorted(path.name for path in copied.iterdir()) == ["fit.json", "posterior.nc", "report.html"]


def test_nothing_to_report(tmp_path):
    with pytest.raises(InputError, match="There was no fit"):
        write_report([], tmp_path / "x.html")
