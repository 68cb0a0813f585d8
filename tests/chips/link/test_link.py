"""A chip behind a link that fails: the draws are those of the faultless chip, and every fault is in the log."""

from __future__ import annotations

import copy
import inspect
import os
import pickle
import re
import signal
import sys
import threading
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bayes_snn.chips.behaviour import check_behaviour
from bayes_snn.chips.contract import ChipSpec
from bayes_snn.chips.describe import describe_chip
from bayes_snn.chips.lif.chip import LIFChip
from bayes_snn.chips.link.faults import KINDS, AnswerError, FaultLog, check_answer, in_words
from bayes_snn.chips.link.faulty import INJECTED, FaultyChip
from bayes_snn.chips.link.link import Link
from bayes_snn.errors import ChipError, InputError, LinkError
from bayes_snn.inference.faults import fault_counts, keep_faults
from bayes_snn.inference.fit import fit
from bayes_snn.inference.load import load_fit
from bayes_snn.reports.material import gather
from bayes_snn.reports.page import Sheet
from bayes_snn.reports.tables import cost
from tests.helpers.fits import hand_made_fit, same_draws
from tests.helpers.links import match_faults
from tests.helpers.pages import text_of
from tests.helpers.toys import INPUTS, LABELS, SigmoidChip

LONG = 60.0  # s: a time-out that no machine reaches
WEIGHTS = [np.array([[1.0, -1.0]])]
forks = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
SEVEN = ("timeout", "dropped", "late", "other", "nan", "shape", "negative")


def quick_link(chip, timeout=LONG, retries=3, **options):
    """A link that does not wait between attempts, and keeps what it tells."""
    told = []
    link = Link(chip, timeout, retries, **{"wait": 0.0, "pause": 1e-3, "tell": told.append, **options})
    return link, told


def small_fit(chip, sampler="block", **options):
    return fit(
        chip,
        INPUTS,
        LABELS,
        sampler=sampler,
        **{"draws": 3, "tune": 2, "chains": 2, "cores": 1, **options},
    )


class ScriptedChip(SigmoidChip):
    """Does at each run what the next of `script` says: None to answer, or a function of the right counts."""

    def __init__(self, *script):
        super().__init__()
        self.script, self.resets = list(script), 0

    def run(self, weights, inputs):
        counts = super().run(weights, inputs)
        does = self.script.pop(0) if self.script else None
        return counts if does is None else does(counts)


def raising(error):
    def fail(counts):
        raise error

    return fail


def right_counts():
    return SigmoidChip().run(WEIGHTS, INPUTS)


SPOILT = {
    "shape": lambda counts: counts[:-1],
    "type": lambda counts: counts.astype(str),
    "nan": lambda counts: np.where(counts == counts[0, 0], np.nan, counts),
    "fraction": lambda counts: counts + 0.5,
    "negative": lambda counts: -1 - counts,
    "range": lambda counts: counts + 13,
    "nan (masked)": lambda counts: np.ma.array(counts, mask=counts == counts[0, 0]),
    "type (complex)": lambda counts: counts + 0j,
    "dropped": raising(ConnectionResetError("cable out")),
    "timeout": raising(TimeoutError("the driver waited 3 s")),
    "refused": raising(ChipError("The checksum is wrong.")),
}


@pytest.mark.parametrize("timeout", [None, LONG])
@pytest.mark.parametrize("kind", SPOILT)
def test_each_fault_is_logged_and_the_run_repeated(kind, timeout):
    chip = ScriptedChip(SPOILT[kind], SPOILT[kind])
    link, told = quick_link(chip, timeout)
    kind = kind.partition(" ")[0]
    counts = link.run(WEIGHTS, INPUTS)
    np.testing.assert_array_equal(counts, right_counts())
    assert counts.dtype == np.int32
    assert link.faults.counts == {kind: 2}
    assert [(fault.kind, fault.request, fault.attempt) for fault in link.faults.records] == [(kind, 1, 1), (kind, 2, 2)]
    assert all(fault.sentence.endswith(".") and "\n" not in fault.sentence for fault in link.faults.records)
    assert chip.runs == 3
    assert told == []


@pytest.mark.parametrize("answer", [[[1, 2], [3]], None, "spikes", object(), [[None, 1]] * 6, [[1 + 2j, 1]] * 6, {}])
def test_answers_that_are_no_matrix(answer):
    link, _ = quick_link(ScriptedChip(lambda counts: answer))
    np.testing.assert_array_equal(link.run(WEIGHTS, INPUTS), right_counts())
    assert link.faults.counts.total() == 1


NUMBERS = st.one_of(st.integers(-3, 9), st.floats(), st.none(), st.text(max_size=2))


@settings(deadline=None, max_examples=200)
@given(st.lists(st.lists(NUMBERS, min_size=1, max_size=3), max_size=3))
def test_an_answer_is_taken_as_the_contract_has_it_or_named(answer):
    spec, kind = ChipSpec((1, 2), 5), None
    try:
        counts = check_answer(answer, 2, spec)
    except AnswerError as error:
        kind = error.kind
    if kind is None:
        np.testing.assert_array_equal(counts, np.array(answer, dtype=float))
        assert counts.min() >= 0
        assert counts.max() <= 5
    else:
        assert kind in KINDS
        whole = all(isinstance(x, int | float) and x in range(6) for row in answer for x in row)
        assert not whole or [len(row) for row in answer] != [2, 2]


@pytest.mark.parametrize("error", [TypeError("no such argument"), InputError("bad"), KeyError("w"), MemoryError()])
def test_an_error_of_the_program_is_not_retried(error):
    for timeout in (None, LONG):
        chip = ScriptedChip(raising(error))
        link, _ = quick_link(chip, timeout)
        with pytest.raises(type(error)) as raised:
            link.run(WEIGHTS, INPUTS)
        assert raised.value is error
        assert chip.runs == 1
        assert not link.faults.counts
        link.run(WEIGHTS, INPUTS)  # and the link lives on


def test_a_driver_s_own_kind_of_failure():
    class VisaError(Exception):
        pass

    link, _ = quick_link(ScriptedChip(raising(VisaError("VI_ERROR_IO"))), failures=VisaError)
    link.run(WEIGHTS, INPUTS)
    assert link.faults.records[0].sentence == "VisaError: VI_ERROR_IO."
    with pytest.raises(VisaError):
        quick_link(ScriptedChip(raising(VisaError("VI_ERROR_IO"))))[0].run(WEIGHTS, INPUTS)


class HangingChip(SigmoidChip):
    """Hangs in its first `n_hangs` runs, until `free` is set; counts the calls that are under way at once."""

    def __init__(self, n_hangs=1):
        super().__init__()
        self.n_hangs, self.free, self.lock = n_hangs, threading.Event(), threading.Lock()
        self.at_once = self.most_at_once = 0
        self.threads = set()

    def run(self, weights, inputs):
        with self.lock:
            self.threads.add(threading.get_ident())
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            counts = super().run(weights, inputs)
            hangs = self.runs <= self.n_hangs
        if hangs:
            assert self.free.wait(LONG)
        with self.lock:
            self.at_once -= 1
        return counts


def test_a_hanging_driver_is_not_called_twice_at_once():
    chip = HangingChip()
    link, _ = quick_link(chip, timeout=0.01, retries=10**6)
    threading.Timer(0.1, chip.free.set).start()
    np.testing.assert_array_equal(link.run(WEIGHTS, INPUTS), right_counts())
    assert chip.most_at_once == 1
    assert link.faults.counts["late"] >= 1
    assert link.faults.counts["timeout"] >= 1
    assert link.faults.records[0].request == 1
    [late] = [fault for fault in link.faults.records if fault.kind == "late" and fault.request == 1]
    assert "late" in late.sentence


def test_a_driver_with_reset_is_left_behind_and_its_late_answer_dropped():
    class Resetting(HangingChip):
        resets = 0

        def reset(self):
            self.resets += 1

    chip = Resetting()
    link, _ = quick_link(chip, timeout=0.2)
    other = [np.array([[-2.0, 2.0]])]
    link.run(other, INPUTS)  # hangs, is left behind, asked again
    assert chip.resets >= 1
    chip.free.set()
    np.testing.assert_array_equal(link.run(WEIGHTS, INPUTS), right_counts())
    link.settle()
    assert link.faults.counts["timeout"] == link.faults.counts["late"] == chip.resets
    assert len(chip.threads) >= 2


def test_a_reset_that_fails_or_hangs(monkeypatch):
    monkeypatch.setattr("bayes_snn.chips.link.link.LONGEST_RESET", 0.2)

    class Broken(HangingChip):
        never = threading.Event()
        resets = 0

        def reset(self):
            self.resets += 1
            if self.resets == 1:
                raise OSError("no reset line")
            if self.resets == 2:
                self.never.wait(LONG)

    chip = Broken(n_hangs=2)
    link, _ = quick_link(chip, timeout=0.2, retries=50)
    np.testing.assert_array_equal(link.run(WEIGHTS, INPUTS), right_counts())
    sentences = [fault.sentence for fault in link.faults.records]
    assert any(s.startswith("reset() failed. OSError: no reset line") for s in sentences)
    assert any(s.startswith("reset() failed. The chip gave no answer") for s in sentences)
    chip.never.set()
    chip.free.set()


def test_a_chip_is_called_in_one_thread_or_in_the_caller_s():
    for timeout in (None, LONG):
        chip = HangingChip(0)
        link, _ = quick_link(chip, timeout)
        for _ in range(5):
            link.run(WEIGHTS, INPUTS)
        assert len(chip.threads) == 1
        assert (chip.threads == {threading.get_ident()}) == (timeout is None)


def test_weights_that_change_meanwhile_do_not_reach_a_call_under_way():
    class Slow(HangingChip):
        def run(self, weights, inputs):
            super().run(weights, inputs)
            self.seen = weights[0].copy()
            return right_counts()

    chip = Slow()
    link, _ = quick_link(chip, timeout=0.05, retries=0, patience=0.0)
    weights = [WEIGHTS[0].copy()]
    with pytest.raises(LinkError):
        link.run(weights, INPUTS)
    weights[0][:] = 7.0
    chip.free.set()
    link.timeout = LONG
    link.settle()
    np.testing.assert_array_equal(chip.seen, WEIGHTS[0])


# ---- the pause


def test_a_pause_keeps_the_state_and_tells():
    fault = SPOILT["dropped"]
    chip = ScriptedChip(*[fault] * 6)
    link, told = quick_link(chip, retries=2)
    np.testing.assert_array_equal(link.run(WEIGHTS, INPUTS), right_counts())
    assert [fault.attempt for fault in link.faults.records] == [1, 2, 3, 4, 5, 6]
    assert len(told) == 5
    assert told[0].startswith("ConnectionResetError: cable out. 3 attempts in a row have failed: the fit pauses")
    lengths = [float(sentence.split()[-2]) for sentence in told[:-1]]
    assert lengths == [0.001, 0.002, 0.004, 0.008]
    assert told[-1].startswith("The chip answers again")


def test_patience_ends_and_each_later_run_is_tried_once():
    chip = ScriptedChip(*[SPOILT["nan"]] * 9)
    link, _ = quick_link(chip, retries=2, patience=0.0)
    with pytest.raises(LinkError, match="3 attempts in a row have failed, so the fit has ended") as error:
        link.run(WEIGHTS, INPUTS)
    assert isinstance(error.value, ChipError)
    assert "\n" not in str(error.value)
    assert chip.runs == 3
    with pytest.raises(LinkError, match="given up before"):
        link.run(WEIGHTS, INPUTS)
    assert chip.runs == 4
    chip.script = []
    link.run(WEIGHTS, INPUTS)
    chip.script = [SPOILT["nan"]] * 2
    np.testing.assert_array_equal(link.run(WEIGHTS, INPUTS), right_counts())  # retries again


class DyingChip(SigmoidChip):
    """Its link is lost for good after `good_runs` runs."""

    def __init__(self, good_runs, **attributes):
        super().__init__()
        self.good_runs = good_runs
        self.__dict__.update(attributes)

    def run(self, weights, inputs):
        counts = super().run(weights, inputs)
        if self.runs > self.good_runs:
            raise ConnectionError("the chip is gone")
        return counts


@forks
@pytest.mark.parametrize("cores", [1, 2])
def test_a_fit_that_ends_so_keeps_its_draws(cores, tmp_path):
    link, _ = quick_link(DyingChip(1050 if cores == 1 else 650, copyable=True), retries=1, patience=0.0)
    with pytest.raises(LinkError, match="the chip is gone") as error:
        small_fit(link, draws=10, cores=cores)
    draws = error.value.draws
    whole = small_fit(SigmoidChip(), draws=10)
    n = draws.posterior.sizes["draw"]
    assert 2 <= n < 10  # a draw is 100 runs, 2 are warm-up; in one process the two chains take turns
    chains = whole.posterior.posterior["w_1"].values[:, :n]
    for kept in draws.posterior["w_1"].values:
        assert any(np.array_equal(kept, chain) for chain in chains)
    assert fault_counts(draws)["dropped"] >= 2
    draws.to_netcdf(tmp_path / "draws.nc", engine="h5netcdf")


def test_a_fit_whose_chip_is_lost_after_the_sampling_keeps_its_draws():
    working = SigmoidChip()
    small_fit(working)
    link, _ = quick_link(DyingChip(working.runs - 1), retries=0, patience=0.0)
    with pytest.raises(LinkError) as error:
        small_fit(link)
    assert error.value.draws.posterior.sizes["draw"] == 3


@pytest.mark.parametrize(("sampler", "good_runs"), [("block", 50), ("smc", 5)])
def test_a_fit_that_ends_in_its_warm_up_has_none(sampler, good_runs):
    link, _ = quick_link(DyingChip(good_runs), retries=0, patience=0.0)
    with pytest.raises(LinkError) as error:
        small_fit(link, sampler)
    assert error.value.draws is None


def test_ctrl_c_in_a_pause_keeps_the_draws():
    chip = DyingChip(850)

    def press(sentence):
        os.kill(os.getpid(), signal.SIGINT)

    link, _ = quick_link(chip, timeout=None, retries=0, pause=50.0, tell=press)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(LinkError, match="was interrupted") as error:
            small_fit(link, draws=40)
    finally:
        signal.signal(signal.SIGINT, before)
    assert error.value.draws.posterior.sizes["draw"] >= 2


# ---- the chain


def test_the_draws_are_those_of_the_faultless_chip():
    chip = FaultyChip(SigmoidChip(), dict.fromkeys(SEVEN, 0.05), seed=1)
    link, _ = quick_link(chip, timeout=0.01, retries=30)
    options = {"draws": 14, "tune": 6, "chains": 1}
    result = small_fit(link, **options)
    link.settle()
    assert same_draws(result, small_fit(SigmoidChip(), **options))
    injected = Counter(kind for _, kind in chip.injected)
    assert len(chip.injected) > 500  # of 2,000 runs and their retries
    assert all(injected[kind] > 30 for kind in SEVEN)
    match_faults(link, chip)
    counts = link.faults.counts
    assert counts["timeout"] >= injected["timeout"] + injected["late"]
    assert counts["late"] >= injected["late"]
    assert set(result.faults) == set(SEVEN)


def test_without_the_link_the_same_faults_are_believed_or_fatal(monkeypatch):
    # the negative control: an answer to another request of the same size looks like any other
    module = sys.modules["bayes_snn.inference.fit"]
    monkeypatch.setattr(module, "ask_behaviour", lambda model, chip, inputs: check_behaviour(SigmoidChip(), inputs))
    bare = FaultyChip(SigmoidChip(), {"other": 0.05}, seed=1)
    assert not same_draws(small_fit(bare), small_fit(SigmoidChip()))
    for kind in ("dropped", "nan", "shape", "negative"):
        with pytest.raises((ChipError, OSError)):
            small_fit(FaultyChip(SigmoidChip(), {kind: 0.05}))


def test_every_kind_of_fault_can_be_injected():
    rates = dict.fromkeys(INJECTED, 0.9 / len(INJECTED))
    chip = FaultyChip(SigmoidChip(), rates)
    link, _ = quick_link(chip, timeout=0.2, retries=1000)
    for _ in range(12):
        np.testing.assert_array_equal(link.run(WEIGHTS, INPUTS), right_counts())
    link.settle()
    match_faults(link, chip)
    assert set(link.faults.counts) == set(INJECTED)


@pytest.mark.parametrize("sampler", ["sitewise", "pcn"])
def test_other_samplers_draw_the_same(sampler):
    rates = {"dropped": 0.1, "other": 0.1, "range": 0.1}
    link, _ = quick_link(FaultyChip(SigmoidChip(), rates), retries=30)
    assert same_draws(small_fit(link, sampler), small_fit(SigmoidChip(), sampler))
    assert link.faults.counts["other"] > 0


@forks
def test_faults_of_chains_in_other_processes_are_in_the_result():
    class Flaky(SigmoidChip):
        copyable = True

        def run(self, weights, inputs):
            counts = super().run(weights, inputs)
            return counts[:-1] if self.runs % 50 == 49 else counts

    link, _ = quick_link(Flaky())
    result = small_fit(link, cores=2)
    assert same_draws(result, small_fit(SigmoidChip()))
    assert result.faults == dict(link.faults.counts)
    # two chains of 500 runs each, and their repetitions
    assert 20 <= result.faults["shape"] <= 22
    table = result.posterior.faults
    assert len(set(table["process"].values) - {os.getpid()}) == 2
    assert list(np.diff(table["time"].values) >= 0).count(False) <= 1


def test_the_faults_of_a_fit_are_kept_with_it(tmp_path):
    chip = ScriptedChip(*[SPOILT["nan"]] * 2)
    link, _ = quick_link(chip)
    link.run(WEIGHTS, INPUTS)
    assert link.faults.counts == {"nan": 2}  # before the fit
    chip.script = [SPOILT["shape"], None, SPOILT["range"], SPOILT["range"]]
    result = small_fit(link)
    assert result.faults == {"shape": 1, "range": 2}
    loaded = load_fit(result.save(tmp_path), SigmoidChip())
    assert loaded.faults == result.faults
    group = loaded.posterior.faults
    assert list(group["kind"].values) == ["shape", "range", "range"]
    assert "spike counts" in str(group["sentence"].values[0])
    assert loaded.as_dict()["faults"] == {"shape": 1, "range": 2}
    calm = small_fit(quick_link(SigmoidChip())[0])
    assert calm.faults == {}
    assert load_fit(calm.save(tmp_path / "calm"), SigmoidChip()).faults == {}
    assert small_fit(SigmoidChip()).faults is None


def test_the_report_tells_the_faults():
    result = hand_made_fit(SigmoidChip(), INPUTS, LABELS)
    assert "faults of the link" not in str(cost(gather(result), Sheet()))
    log = FaultLog()
    for kind in ("nan", "timeout", "nan"):
        log.add(kind, 1, 1, "Nonsense.")
    keep_faults(result.posterior, log)
    assert "3 faults (1 timeout, 2 nan)" in str(cost(gather(result), Sheet()))


# ---- what a link is besides


def test_capabilities_are_passed_on_where_they_are_safe():
    chip = LIFChip((3, 4, 2), "noise", 0.3)
    link = Link(chip)
    assert link.copyable is True
    assert callable(link.restart_noise)
    assert not hasattr(link, "site_sweeper")
    assert not hasattr(link, "subsets")
    assert not hasattr(Link(SigmoidChip()), "copyable")
    assert describe_chip(link) == describe_chip(chip)
    assert "LIFChip" in repr(link)


def test_a_link_can_be_copied():
    link = Link(LIFChip((3, 4, 2)))
    weights, inputs = [np.ones((3, 4)), np.ones((4, 2))], np.ones((5, 3))
    counts = link.run(weights, inputs)
    for copied in (copy.deepcopy(link), pickle.loads(pickle.dumps(link))):
        np.testing.assert_array_equal(copied.run(weights, inputs), counts)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"timeout": 0}, "timeout was 0"),
        ({"timeout": "5"}, "timeout was '5'"),
        ({"timeout": np.nan}, "timeout was nan"),
        ({"retries": -1}, "retries was -1"),
        ({"retries": True}, "retries was True"),
        ({"wait": -1.0}, "wait was -1"),
        ({"pause": 0}, "pause was 0"),
        ({"patience": np.inf}, "patience was inf"),
    ],
)
def test_arguments_that_are_refused(options, says):
    with pytest.raises(InputError, match=says):
        Link(SigmoidChip(), **options)
    with pytest.raises(InputError, match="a chip has `spec`"):
        Link(object())


def test_the_log_is_bounded_and_counts_all(monkeypatch):
    monkeypatch.setattr("bayes_snn.chips.link.faults.MOST_KEPT", 5)
    log = FaultLog()
    for i in range(20):
        log.add("nan", i, 1, "Nonsense.")
    assert log.counts == {"nan": 20}
    assert [fault.request for fault in log.records] == [15, 16, 17, 18, 19]
    again = FaultLog()
    again.carry([fault.as_dict() for fault in log.records])
    assert list(again.records) == list(log.records)
    assert in_words({}) == "no faults"
    assert in_words({"nan": 1}) == "1 fault (1 nan)"
    assert in_words({"nan": 1, "timeout": 2000}) == "2,001 faults (2,000 timeout, 1 nan)"


@pytest.mark.parametrize(
    ("rates", "says"),
    [({"nam": 0.1}, "did you mean 'nan'"), ({"nan": 2}, "was 2"), ({"nan": 0.6, "shape": 0.6}, "1.2")],
)
def test_rates_that_are_refused(rates, says):
    with pytest.raises(InputError, match=says):
        FaultyChip(SigmoidChip(), rates)


def test_the_page_names_every_kind_of_fault_and_argument():
    first_cells = set(re.findall(r"^\| `(\w+)` \|", text_of("links.md"), re.MULTILINE))
    arguments = set(inspect.signature(Link).parameters) - {"chip"}
    assert first_cells == set(KINDS) | arguments
    for name in ("retries", "timeout", "wait", "pause", "patience"):
        [default] = re.findall(rf"^\| `{name}` \| ([\d.]+)", text_of("links.md"), re.MULTILINE)
        assert float(default) == inspect.signature(Link).parameters[name].default
