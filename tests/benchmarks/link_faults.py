"""Seven kinds of faults, each at 5% of the runs, over 20,000 runs of a fit: are the draws the same, is each logged?

    .venv/bin/python tests/benchmarks/link_faults.py
    .venv/bin/python tests/benchmarks/link_faults.py --draws 20 --timeout 0.02

Prints the injected and the logged faults of each kind, and what the time-outs and repetitions have cost.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from bayes_snn import LIFChip, Link, fit, load_data, split_data
from bayes_snn.chips.link.faults import KINDS
from bayes_snn.chips.link.faulty import FaultyChip
from tests.helpers.fits import CountingChip, same_draws
from tests.helpers.links import match_faults

SEVEN = ("timeout", "dropped", "late", "other", "nan", "shape", "negative")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=200, help="draws of the sampler block, 100 runs each")
    parser.add_argument("--rate", type=float, default=0.05, help="of each kind of fault")
    parser.add_argument("--timeout", type=float, default=0.005, help="of a run, in seconds")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    split = split_data(load_data("breast_cancer"))
    weights = [np.zeros((30, 16)), np.zeros((16, 2))]

    def timed(chip: Any) -> tuple[Any, float]:
        chip.run(weights, split.train_inputs)  # compiles, and is not counted
        began = time.perf_counter()
        result = fit(
            chip, split.train_inputs, split.train_labels, sampler="block", draws=given.draws, tune=0, chains=1, seed=1
        )
        return result, time.perf_counter() - began

    def link(chip: Any) -> Link:
        return Link(chip, given.timeout, retries=50, wait=0.0)

    def simulated() -> LIFChip:
        return LIFChip((30, 16, 2), "comparator", 3.0)

    bare = CountingChip(simulated())
    plain, alone = timed(bare)
    _, linked = timed(link(simulated()))
    faulty = FaultyChip(simulated(), dict.fromkeys(SEVEN, given.rate), given.seed)
    robust = link(faulty)
    result, total = timed(robust)
    robust.settle()
    injected, logged = Counter(kind for _, kind in faulty.injected), robust.faults.counts
    print(f"{bare.runs:,} runs, {sum(injected.values()):,} injected faults, {logged.total():,} logged")
    print(f"{'kind':10}{'injected':>10}{'logged':>10}")
    for kind in KINDS:
        if injected[kind] or logged[kind]:
            print(f"{kind:10}{injected[kind]:>10,}{logged[kind]:>10,}")
    if logged.total() <= len(robust.faults.records):
        delayed = match_faults(robust, faulty)
        print(
            f"each injected fault is in the log; {delayed} runs more took longer than {given.timeout:g} s by themselves"
        )
    else:
        print("the log keeps the latest faults in full only: not matched one by one")
    print(f"draws equal bit for bit: {same_draws(result, plain)}")
    print(f"chip alone {alone:.1f} s, behind a link {linked:.1f} s, behind a faulty one {total:.1f} s")
    hung = (injected["timeout"] + injected["late"]) * given.timeout
    print(f"added by faults: {total - linked:.1f} s, of which {hung:.1f} s are time-outs of {given.timeout:g} s")


if __name__ == "__main__":
    main()
