"""A fit whose link broke for good continues when it is repaired: same draws, and the faults of both parts are told."""

from __future__ import annotations

import multiprocessing

import pytest
from rich.console import Console

from bayes_snn import resume
from bayes_snn.chips.link.faulty import FaultyChip
from bayes_snn.chips.link.link import Link
from bayes_snn.cli.summary import print_fit
from bayes_snn.errors import LinkError
from bayes_snn.reports.write import write_report
from tests.helpers.toys import SigmoidChip
from tests.inference.test_resume import assert_same, forks, small

pytestmark = pytest.mark.usefixtures("quickly_compiled")

RATES = {"dropped": 0.05, "nan": 0.05, "negative": 0.05}


class Unplugged(SigmoidChip):
    """Answers no more from some run on; in a copy in another process as well."""

    copyable = True

    def __init__(self, at=None):
        super().__init__()
        self.at = at

    def run(self, weights, inputs):
        if self.at is not None and self.runs >= self.at:
            raise ConnectionError("the cable is out")
        return super().run(weights, inputs)


def linked(at=None, seed=0):
    """A link that waits for nothing, to a chip that fails in many ways."""
    faulty = FaultyChip(Unplugged(at), RATES, seed)
    faulty.copyable = True
    return Link(faulty, timeout=None, retries=20, wait=0.0, pause=0.01, patience=0.0), faulty


@pytest.mark.parametrize("cores", [1, pytest.param(2, marks=forks)])
def test_faults_of_both_parts_are_told(cores, tmp_path):
    whole = small(SigmoidChip(), sampler="block")
    link, faulty = linked(at=1200 if cores == 1 else 700)
    with pytest.raises(LinkError, match="the cable is out"):
        small(link, sampler="block", cores=cores, checkpoint=tmp_path)
    first = link.faults.counts
    assert first["dropped"] > 20  # the cable among them
    assert first["nan"] > 0
    link, faulty = linked(seed=1)
    result = resume(tmp_path, link, cores=cores)
    assert_same(result, whole, tmp_path)
    assert result.faults["nan"] > first["nan"]
    assert {kind: result.faults[kind] for kind in RATES} == {kind: link.faults.counts[kind] for kind in RATES}
    if cores == 1:  # a copy's record is not seen here
        for kind in RATES:
            injected = [name for _, name in faulty.injected].count(kind)
            assert result.faults[kind] == first[kind] + injected
    processes = {int(n) for n in result.posterior["faults"]["process"].values}
    assert len(processes) >= cores
    assert multiprocessing.active_children() == []


def test_a_fault_that_ended_a_fit_is_not_said_to_be_repaired(tmp_path, capsys):
    """No repetition met the last fault of the first part, and the fit that went on has it among its own."""
    link, _ = linked(at=700)
    with pytest.raises(LinkError, match="the cable is out"):
        small(link, sampler="block", checkpoint=tmp_path / "stopped")
    result = resume(tmp_path / "stopped", linked(seed=1)[0])
    assert result.faults["dropped"] >= link.faults.counts["dropped"] > 20
    print_fit(Console(width=1000), result, None, tmp_path)  # the split is for scores, of which there are none
    report = write_report(result.save(tmp_path / "fit"), tmp_path / "report.html").read_text(encoding="utf-8")
    for told in (capsys.readouterr().out, report):
        assert " dropped" in told
        assert "repetition" not in told
    assert "none of which became a likelihood" in report


def test_a_fit_without_a_checkpoint_leaves_no_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    link, _ = linked()
    assert small(link, sampler="block").faults["nan"] > 0
    assert list(tmp_path.iterdir()) == []
