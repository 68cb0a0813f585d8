"""Fits killed with SIGKILL at random moments and resumed, again and again; in the end all must have the same draws.

    python tests/benchmarks/kill_fits.py [--fits 50] [--kills 3] [--seed 0]

Every fit has two chains in processes of their own. Half of the kills hit all its processes at once, as a power loss
does, the others the main process alone, as the kernel does when memory runs out: the chains' processes then live on for
up to a draw, while the fit is already being resumed. After each kill every file of the checkpoint is read. A table
tells every kill; the exit code is 1 when a draw differs or a file cannot be read.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path

import numpy as np

from bayes_snn import LIFChip
from bayes_snn.checkpoint.chain_store import ChainStore
from bayes_snn.checkpoint.checkpoint import Checkpoint
from bayes_snn.checkpoint.steps import CheckpointedSteps
from bayes_snn.inference.fit import fit
from bayes_snn.inference.resume import resume
from bayes_snn.samplers.by_name import STEPS
from bayes_snn.samplers.shared.tally import Tally

TUNE, DRAWS, CHAINS = 60, 60, 2
RESUMABLE = (*STEPS, "tempered")
PAUSE = 0.004  # seconds in each draw, so that there is something to hit
TIMES = ("perf_counter_diff", "process_time_diff", "perf_counter_start")
rng = np.random.default_rng(0)
X, Y = rng.normal(size=(20, 3)), np.arange(20) % 3


def slowly(tally):
    def pausing(self):
        time.sleep(PAUSE)
        return tally(self)

    return pausing


def result_of(result) -> dict[str, np.ndarray]:
    """Everything in a fit that must be the same."""
    found = {"presentations": np.array(result.presentations)}
    for group in ("posterior", "sample_stats", "log_likelihood", "log_prior"):
        for name, array in result.posterior[group].data_vars.items():
            if name not in TIMES:
                found[f"{group} {name}"] = array.values
    return found


def in_a_process(work) -> tuple[int, int]:
    """Start a process, the leader of a group; its id, and a pipe that gets a byte at every new draw."""
    out, into = os.pipe()
    pid = os.fork()
    if pid:
        os.close(into)
        return pid, out
    code = 1
    try:
        os.setpgid(0, 0)
        os.close(out)
        is_due = CheckpointedSteps._is_due

        def telling(self, store):
            os.write(into, b"x")
            return is_due(self, store)

        CheckpointedSteps._is_due = telling
        work()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def make_work(sampler: str, folder: Path | None, out: Path):
    """One leg of a fit: from the start, or from what an earlier one left."""

    def work():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # PyMC forks
            if folder is not None and (folder / "checkpoint.json").exists():
                result = resume(Checkpoint.open(folder, seconds=0.03), cores=2)
            else:
                chip = LIFChip((3, 4, 3), "comparator", 3.0, n_steps=8)
                checkpoint = None if folder is None else Checkpoint(folder, seconds=0.03)
                result = fit(
                    chip, X, Y, sampler=sampler, draws=DRAWS, tune=TUNE, chains=CHAINS, cores=2, checkpoint=checkpoint
                )
        np.savez(out, **result_of(result))

    return work


def read_all(folder: Path) -> tuple[list[int], list[str]]:
    """Draws stored of each chain, and what could not be read."""
    try:
        digest = json.loads((folder / "checkpoint.json").read_text())["digest"]
    except FileNotFoundError:
        return [0] * CHAINS, []  # killed before there was anything
    stored, faults = [], []
    for chain in range(CHAINS):
        store = ChainStore(folder / f"chain_{chain}", digest, chain, TUNE + DRAWS)
        try:
            store.load()
        except Exception as error:
            faults.append(str(error))
        stored.append(store.n_saved)
        faults += store.notes
    return stored, faults


def main() -> int:
    parser = argparse.ArgumentParser()
    warnings.simplefilter("ignore", DeprecationWarning)  # of forks
    for name, value in (("fits", 50), ("kills", 3), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=value)
    asked = parser.parse_args()
    random = np.random.default_rng(asked.seed)
    Tally.tally = slowly(Tally.tally)
    home = Path(tempfile.mkdtemp(prefix="kill-fits-"))
    expected, seconds = {}, {}
    for sampler in RESUMABLE:
        make_work(sampler, None, home / "warm.npz")() if sampler == "sitewise" else None  # compiled before the forks
        pid, pipe = in_a_process(make_work(sampler, home / f"whole-{sampler}", home / f"{sampler}.npz"))
        os.read(pipe, 1)
        began = time.monotonic()
        if os.waitpid(pid, 0)[1] != 0:
            print(f"The uninterrupted fit of {sampler} failed.")
            return 1
        os.close(pipe)
        seconds[sampler] = time.monotonic() - began
        expected[sampler] = dict(np.load(home / f"{sampler}.npz"))
    print(f"{TUNE} draws of warm-up and {DRAWS} more in each of {CHAINS} chains\n")
    print("| fit | sampler | killed | s after | draws stored | phase | files unreadable | equal in the end |")
    print("|---:|---|---|---|---|---|---:|---|")
    n_equal = n_kills = n_faults = 0
    for i in range(asked.fits):
        sampler = RESUMABLE[i % len(RESUMABLE)]
        folder, out, rows = home / f"fit-{i}", home / f"fit-{i}.npz", []
        for leg in range(asked.kills + 1):
            pid, pipe = in_a_process(make_work(sampler, folder, out))
            whole_group, at_a_draw = bool(random.integers(2)), bool(random.random() < 0.9)
            delay = float(random.uniform(0, 0.6 * seconds[sampler]))
            if at_a_draw:
                os.read(pipe, 1)  # the first new draw, or the end where all draws are there
            began = time.monotonic()
            ended = 0
            while leg < asked.kills and not ended and time.monotonic() - began < delay:
                time.sleep(0.001)
                ended = os.waitpid(pid, os.WNOHANG)[0]
            if leg < asked.kills and not ended:
                (os.killpg if whole_group else os.kill)(pid, signal.SIGKILL)
            status = 0 if ended else os.waitpid(pid, 0)[1]
            os.close(pipe)
            if ended or leg == asked.kills:
                break
            if not whole_group:
                time.sleep(0.5)  # the orphans end
            stored, faults = read_all(folder)
            n_kills, n_faults = n_kills + 1, n_faults + len(faults)
            phase = "before the first save" if max(stored) == 0 else "warm-up" if min(stored) < TUNE else "sampling"
            phase = "after the last draw" if min(stored) == TUNE + DRAWS else phase
            what, since = "all" if whole_group else "main", "a draw" if at_a_draw else "the start"
            draws = ", ".join(map(str, stored))
            rows.append(f"{what} | {delay:.2f} {since} | {draws} | {phase} | {len(faults)}")
        found = dict(np.load(out)) if out.exists() and status == 0 else {}
        equal = found.keys() == expected[sampler].keys() and all(
            np.array_equal(found[name], array, equal_nan=True) for name, array in expected[sampler].items()
        )
        n_equal += equal
        for row in rows:
            print(f"| {i} | {sampler} | {row} | {'yes' if equal else 'NO'} |", flush=True)
        shutil.rmtree(folder, ignore_errors=True)
    print(f"\n{n_equal} of {asked.fits} fits equal, {n_kills} kills, {n_faults} files unreadable.")
    shutil.rmtree(home, ignore_errors=True)
    return int(n_equal < asked.fits or n_faults > 0)


if __name__ == "__main__":
    sys.exit(main())
