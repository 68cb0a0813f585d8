"""What README.md and docstrings say is so: the code in them runs, and what they name exists. Pages: test_docs.py."""

from __future__ import annotations

import ast
import builtins
import re
import tomllib

import numpy as np
import pytest
from packaging.version import Version

from bayes_snn import DISTORTIONS, LIFChip, __version__, fit, load_fit
from bayes_snn.estimates.predict import ALL_ESTIMATES, ESTIMATES
from bayes_snn.names import AUTO, DISTORTION_ROWS, SAMPLERS
from tests.helpers.pages import ROOT, indented_lines, python_on, run_blocks, text_of

README, BLOCKS = text_of("README.md"), python_on("README.md")
[EXAMPLE] = re.findall(r"<!-- example -->\n```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)

# other tests may leave threads behind, and PyMC forks
forks = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")


def block_with(text):
    [block] = [block for block in BLOCKS if text in block]
    return block


def run_block(block):
    return run_blocks("README.md", [block], {})


def section(title):
    """The text under a heading of the README, up to the next one."""
    [text] = re.findall(rf"^## {title}\n(.*?)(?=^## |\Z)", README, re.MULTILINE | re.DOTALL)
    return text


def first_column(title):
    """First cells of the rows of a section's table, without link and code marks."""
    rows = [line.split("|")[1].strip() for line in section(title).splitlines() if line.startswith("|")]
    return [re.sub(r"^\[(.*)\]\(.*\)$", r"\1", cell).strip("`") for cell in rows[2:]]


@forks
@pytest.mark.parametrize("number", [n for n, block in enumerate(BLOCKS) if block != EXAMPLE])  # which is run below
def test_code_runs(number, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run_block(BLOCKS[number])


@forks
def test_the_example_does_what_it_says(tmp_path, monkeypatch, capsys):
    assert EXAMPLE in BLOCKS
    assert len([line for line in EXAMPLE.splitlines() if line.strip()]) <= 15
    monkeypatch.chdir(tmp_path)
    made = run_block(EXAMPLE)
    assert made["probabilities"].shape == (made["data"].n_test, 2)
    assert made["result"].arguments["sampler"] == "twin"
    loaded = load_fit("fits/first")
    assert loaded.presentations == made["result"].presentations
    assert loaded.scores["test"].keys() == set(made["result"].estimates) >= set(ESTIMATES)
    printed = capsys.readouterr().out
    assert made["result"].diagnosis.verdict in printed
    assert all(estimate in printed for estimate in ESTIMATES)


def test_the_prior_is_one(tmp_path):
    path = tmp_path / "my_prior.py"
    path.write_text(block_with("def weights(chip)"), encoding="utf-8")
    chip, inputs = LIFChip((3, 2, 2)), np.random.default_rng(0).normal(size=(6, 3))
    result = fit(chip, inputs, np.arange(6) % 2, path, draws=4, tune=4, chains=1, cores=1, sampler="sitewise")
    assert result.posterior.posterior["scale_w_1"].sizes == {"chain": 1, "draw": 4}


def test_the_chip_is_one():
    class Link:
        """A driver whose chip is simulated."""

        chip = LIFChip((30, 16, 2), weight_range=(-1.0, 1.0))

        def program(self, weights):
            assert all(np.abs(matrix).max() <= 1.0 for matrix in weights)
            self.weights = weights

        def count_spikes(self, row):
            return self.chip.run(self.weights, row[None])[0]

    chip = run_block(block_with("class MyChip"))["MyChip"](Link())
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(5, 30))
    weights = [rng.normal(size=(30, 16)), 2 * np.abs(rng.normal(size=(16, 2)))]  # excitatory outputs spike
    counts = chip.run(weights, inputs)
    assert np.array_equal(counts, Link.chip.run(weights, inputs))
    assert counts.sum() > 0
    result = fit(chip, inputs, np.arange(5) % 2, sampler="block", draws=2, tune=1, chains=1)
    assert result.presentations % 5 == 0


@pytest.mark.parametrize(
    ("title", "names"),
    [
        ("Distortions", DISTORTIONS),
        ("Samplers", (AUTO, *SAMPLERS)),
        ("Estimates", ALL_ESTIMATES),
        ("Priors", [path.stem for path in (ROOT / "models").glob("*.py") if not path.stem.startswith("_")]),
    ],
)
def test_tables_list_what_there_is(title, names):
    assert sorted(first_column(title)) == sorted(names)


def test_the_table_of_distortions_says_what_the_rows_say():
    lines = [line for line in section("Distortions").splitlines() if line.startswith("|")]
    assert lines[2:] == [f"| {n} | {row.meaning} | {row.unit} | {row.range} |" for n, row in DISTORTION_ROWS.items()]


def rows_of(text):
    """Cells of the rows of all tables in a text, their heads among them."""
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")]


def test_the_sampler_for_scarce_presentations_is_the_one_that_took_fewest():
    """By the page's own numbers: the effective draws for a presentation of what a sampler draws worst.

    A chain that stays in a poor mode flatters its draws: samplers with such chains are not compared.
    """
    rows = rows_of(text_of("samplers.md"))
    [advised] = [row[1] for row in rows if "presentations scarce" in row[0]]
    measured, chip = {}, ""
    for row in rows:
        if len(row) == 7 and re.fullmatch("[0-9.]+", row[2]):
            chip = row[0] or chip
            sampler, *note = row[1].split(", ")
            if note != ["every sample shown"]:
                levels = [int(number) for number in row[6].split(", ")]
                measured.setdefault(chip, {})[sampler] = (min(map(float, row[3:5])), min(levels))
    assert len(measured) >= 2
    for found in measured.values():
        most, level = found.pop(advised)
        assert "block" in found
        assert all(effective < most for effective, lowest in found.values() if lowest >= level)


def test_the_readme_claims_nothing_of_sigma_0_that_was_not_measured():
    results = section("Results")
    rows = rows_of(results)
    place = next(row for row in rows if "sigma 0" in row).index("sigma 0")
    blank = [row[0] for row in rows if row[0].startswith("MH") and len(row) == 6 and not row[place]]
    assert not blank or "Whether sigma leaves it unaffected is open" in results.replace("\n  ", " ")
    assert not re.search("older warm-up", results) or blank  # figures of two warm-ups are not in one row


def test_samplers_page_names_every_sampler():
    page = text_of("samplers.md")
    assert all(f"**{name}**" in page for name in SAMPLERS)


def test_calls_that_docstrings_name_are_of_functions_that_exist():
    """Such as `load_fit(folder)`; of other packages, and of variables, `package.name(...)` is taken as it stands."""
    defined, called = set(dir(builtins)), set()
    for path in sorted((ROOT / "bayes_snn").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                defined.add(node.name)
            if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module):
                text = ast.get_docstring(node) or ""
                called |= {(path.stem, name) for name in re.findall(r"`([A-Za-z_]\w*)\([^`]*\)`", text)}
    assert len(called) > 5
    assert not {(page, name) for page, name in called if name not in defined}


def test_the_version_stands_in_one_place():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert "version" not in project["project"]
    assert project["project"]["dynamic"] == ["version"]
    source = (ROOT / project["tool"]["hatch"]["version"]["path"]).read_text(encoding="utf-8")
    assert re.findall(r'^__version__ = "(.*?)"', source, re.MULTILINE) == [__version__]
    # fits that call themselves 0.1.0 differ in their draws
    assert Version(__version__) > Version("0.1.0")


def test_the_readme_mentions_the_two_commands():
    assert {"make fit", "make test"} <= set(indented_lines(README))
