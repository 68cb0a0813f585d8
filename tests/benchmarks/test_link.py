"""What a link and a server cost for each run: the same chip alone, behind a `Link`, and behind a server on loopback."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import LAYERS
from numpy.typing import NDArray
from pytest_benchmark.fixture import BenchmarkFixture

from bayes_snn import LIFChip, Link, RemoteChip

pytestmark = pytest.mark.benchmark(group=f"a run behind a link, 569 x {'-'.join(map(str, LAYERS))}")


def simulated() -> LIFChip:
    return LIFChip(LAYERS, "comparator", 3.0)


class Silent:
    """A chip that does nothing, so that what is measured is the way to it."""

    spec = simulated().spec
    counts = np.zeros((569, LAYERS[-1]), np.int32)

    def run(self, weights: Any, inputs: Any) -> NDArray[np.int32]:
        return self.counts


@pytest.fixture(params=[simulated, Silent], ids=["LIFChip", "nothing"])
def chip(request: pytest.FixtureRequest) -> Any:
    return request.param()


@pytest.fixture
def address(chip: Any) -> Iterator[str]:
    """A server in a process of its own, as they are."""
    source = {"LIFChip": "test_link:simulated", "Silent": "test_link:Silent"}[name(chip)]
    line = [sys.executable, "-m", "bayes_snn.serve", source, "--bind", "tcp://127.0.0.1:*"]
    with subprocess.Popen(line, cwd=Path(__file__).parent, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        found = re.search(r"tcp://[\d.:]+", process.stderr.readline())
        assert found is not None
        yield found[0]
        process.terminate()


def measure(benchmark: BenchmarkFixture, label: str, chip: Any, weights: Any, inputs: Any, alone: bool = False) -> None:
    chip.run(weights, inputs)
    benchmark.extra_info.update(label=label, reference=alone)
    assert benchmark(chip.run, weights, inputs).shape == (len(inputs), LAYERS[-1])


def name(chip: Any) -> str:
    return type(chip).__name__


def test_alone(benchmark: BenchmarkFixture, chip: Any, weights: Any, inputs: Any) -> None:
    measure(benchmark, f"{name(chip)}, alone", chip, weights, inputs, name(chip) == "LIFChip")


def test_link(benchmark: BenchmarkFixture, chip: Any, weights: Any, inputs: Any) -> None:
    measure(benchmark, f"{name(chip)}, Link", Link(chip), weights, inputs)


def test_link_without_a_time_out(benchmark: BenchmarkFixture, chip: Any, weights: Any, inputs: Any) -> None:
    measure(benchmark, f"{name(chip)}, Link without a time-out", Link(chip, timeout=None), weights, inputs)


def test_remote(benchmark: BenchmarkFixture, chip: Any, address: str, weights: Any, inputs: Any) -> None:
    measure(benchmark, f"{name(chip)}, RemoteChip", RemoteChip(address), weights, inputs)


def test_remote_and_link(benchmark: BenchmarkFixture, chip: Any, address: str, weights: Any, inputs: Any) -> None:
    link = Link(RemoteChip(address), timeout=None)
    measure(benchmark, f"{name(chip)}, RemoteChip in a Link", link, weights, inputs)


def test_remote_with_new_inputs(
    benchmark: BenchmarkFixture, chip: Any, address: str, weights: Any, inputs: Any
) -> None:
    remote, changing = RemoteChip(address), np.array(inputs)

    def run() -> NDArray[np.int32]:
        changing[0, 0] += 1e-9
        return remote.run(weights, changing)

    benchmark.extra_info.update(label=f"{name(chip)}, RemoteChip, new inputs each time")
    assert benchmark(run).shape == (len(inputs), LAYERS[-1])
