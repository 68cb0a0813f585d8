"""Damaged and hostile files, thousands of each kind: whatever they hold, reading them ends soon and in a sentence.

    python -m tests.benchmarks.hostile_files --n 2000 --seed 1 [--kinds fit.json,posterior.nc,npz,nir,checkpoint,twin]

Each trial damages one whole file (flipped bits, a cut, a run of zeros, blocks that changed places; of JSON, also wrong
types, missing and unknown keys, huge numbers and deep nesting, and the digests made again; of a twin's arrays, other
values, shapes and types in a file that is whole) and reads it as a user would. Counted are what was read, what was
refused in one sentence, and what must not be: tracebacks, signals, trials without an end within --limit seconds of the
clock, and code that a file had run. The process that reads HDF5 is forked from the worker here, for speed; every
--real-th trial starts it as users do.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import hashlib
import io
import json
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
import traceback
import warnings
import zipfile
from collections import Counter
from pathlib import Path
from unittest import mock

import numpy as np

KINDS = ("fit.json", "posterior.nc", "npz", "nir", "checkpoint", "twin")
CODE = {"os.system", "os.exec", "os.posix_spawn", "os.spawn", "socket.connect"}
HARMFUL = {"exec", "eval", "system", "Popen", "__import__"}  # names in a pickle; Numba reads its cache by pickle, too
NASTY_NUMBERS = (-1.0, 0.0, 1.0, 0.5, 1e9, 1e38, -1e38, 1e308, np.nan, np.inf, -np.inf)
CANARY = "hostile_canary"  # a module that nothing but a file can have imported
STOPS_AT = 4000  # runs of the chip, of the 6,000 of the fit
NASTY = (None, True, -1, 0, 1, 2.5, 1e308, float("nan"), 2**70, 10**6, "", "x", f"{CANARY}:run", [], {}, [1], {"a": 1})


# ---- damage


def damage_bytes(data: bytes, rng: np.random.Generator) -> bytes:
    """One of four accidents, most of them early in the file, where its structure is described."""
    array = np.frombuffer(data, np.uint8).copy()
    n = max(len(array), 1)

    def place() -> int:
        return int(n * rng.random() ** rng.choice([1, 4]))

    kind = rng.integers(5)
    if kind == 0 and len(array):
        for _ in range(int(rng.integers(1, 9))):
            array[min(place(), n - 1)] ^= np.uint8(1 << rng.integers(8))
    elif kind == 1:
        array = array[: place()]
    elif kind == 2:
        start = place()
        array[start : start + int(rng.integers(1, 200))] = rng.choice([0, 255])
    elif kind == 3:
        length = int(rng.integers(1, 200))
        a, b = place(), place()
        block = array[b : b + length].copy()
        array[a : a + len(block)] = block[: len(array[a : a + len(block)])]
    else:
        for _ in range(int(rng.integers(1, 4))):
            array[min(place(), n - 1)] = rng.integers(256)
    return array.tobytes()


def damage_json(value: object, rng: np.random.Generator) -> object:
    """A value with one to three of its parts changed."""
    value = copy.deepcopy(value)
    for _ in range(int(rng.integers(1, 4))):
        holders = list(_holders(value))
        holder = holders[rng.integers(len(holders))]
        keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
        kind = rng.integers(4)
        nasty = copy.deepcopy(NASTY[rng.integers(len(NASTY))])
        if kind == 0 or not keys:
            if isinstance(holder, dict):
                holder[f"extra{rng.integers(9)}"] = nasty
            else:
                holder.append(nasty)
            continue
        key = keys[rng.integers(len(keys))]
        if kind == 1:
            del holder[key]
        elif kind == 2:
            holder[key] = nasty
        else:
            old = holder[key]
            if isinstance(old, int | float) and not isinstance(old, bool):
                holder[key] = [old * 10**6, -old, str(old), [old]][rng.integers(4)]
            elif isinstance(old, list):
                holder[key] = [old * 8, old[::-1], dict(enumerate(map(str, old)))][rng.integers(3)]
            elif isinstance(old, dict):
                holder[key] = list(old)
            else:
                holder[key] = [old] * 3
    return value


def _holders(value: object):
    if isinstance(value, dict | list):
        yield value
        for below in value.values() if isinstance(value, dict) else value:
            yield from _holders(below)


def damage_text(data: bytes, rng: np.random.Generator) -> bytes:
    kind = rng.integers(20)
    if kind < 4:
        return damage_bytes(data, rng)
    if kind == 4:
        depth = int(rng.integers(100, 200_000))
        return b"[" * depth + b"]" * (depth if rng.random() < 0.5 else 0)
    return json.dumps(damage_json(json.loads(data), rng)).encode()


def damage_record(data: bytes, rng: np.random.Generator) -> bytes:
    """A sealed record, damaged and sealed again half of the time, as somebody who means harm would."""
    if rng.random() < 0.5:
        return damage_bytes(data, rng)
    first, _, body = data.partition(b"\n")
    header, _, rest = body.partition(b"\n")
    with contextlib.suppress(ValueError):
        header = json.dumps(damage_json(json.loads(header), rng)).encode()
    body = header + b"\n" + (damage_bytes(rest, rng) if rng.random() < 0.3 else rest)
    return first.split(b" ")[0] + b" " + hashlib.sha256(body).hexdigest().encode() + b"\n" + body


def damage_arrays(data: bytes, rng: np.random.Generator) -> bytes:
    """An .npz file that is whole, with one to three of its arrays changed, as somebody who means harm would."""
    with np.load(io.BytesIO(data)) as stored:
        arrays: dict[str, np.ndarray] = {name: stored[name] for name in stored.files}
    for _ in range(int(rng.integers(1, 4))):
        name = sorted(arrays)[rng.integers(len(arrays))]
        old, kind = arrays[name], rng.integers(7)
        if kind == 0:
            del arrays[name]
        elif kind == 1:
            arrays[name] = np.asarray(NASTY_NUMBERS[rng.integers(len(NASTY_NUMBERS))])
        elif kind == 2:
            shapes = old[..., None], old.T, old.ravel(), old[:0] if old.ndim else old, old[None]
            arrays[name] = shapes[rng.integers(len(shapes))]
        elif kind == 3:
            arrays[name] = old.astype(["U8", np.complex128, np.bool_, np.int8, np.float64, np.uint64][rng.integers(6)])
        elif kind == 4:
            arrays[f"{name}_{rng.integers(9)}"] = old
        else:  # one value, or all of them
            values = np.array(old, np.float64)
            number = NASTY_NUMBERS[rng.integers(len(NASTY_NUMBERS))]
            if kind == 5 or not values.size:
                values = np.full_like(values, number)
            else:
                values.flat[rng.integers(values.size)] = number
            arrays[name] = values if rng.random() < 0.5 else values.astype(old.dtype)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


# ---- the whole files


def make_whole(folder: Path) -> None:
    """A fit, its weights in both formats, a checkpoint of a fit that was stopped, and a twin."""
    from bayes_snn.exports.nir import write_nir
    from bayes_snn.exports.npz import write_weights

    result = _fit(None)
    result.scores["train"] = result.evaluate(result.train_inputs, np.asarray(result.posterior["observed_data/label"]))
    result.save(folder / "fit")
    write_weights(result, folder / "whole.npz")
    write_nir(result, folder / "whole.nir")
    stopped_fit(folder / "checkpoint")
    make_twin(folder / "twin")


def make_twin(folder: Path) -> None:
    """A twin of a chip with every distortion that its arrays can tell, and what the chip showed to learn it."""
    from bayes_snn import LIFChip, learn_twin

    learn_twin(LIFChip((3, 4, 2), ["comparator", "gain"], [2.0, 0.1], n_steps=16), 200).save(folder)


def stopped_fit(folder: Path) -> None:
    """The checkpoint of a fit whose chip failed: draws in chunks and beside them, and some that are still to come."""
    from bayes_snn import LIFChip
    from bayes_snn.checkpoint import chain_store
    from bayes_snn.checkpoint.checkpoint import Checkpoint
    from bayes_snn.errors import ChipError

    whole, left = LIFChip.run, iter(range(STOPS_AT))

    def run(self, weights, inputs):
        if next(left, None) is None:
            raise ChipError("The link broke.")
        return whole(self, weights, inputs)

    with (
        mock.patch.object(LIFChip, "run", run),
        mock.patch.object(chain_store, "MOST_DRAWS", 8),
        contextlib.suppress(ChipError),
    ):
        _fit(Checkpoint(folder, draws=5))


def _fit(checkpoint):
    from bayes_snn import LIFChip, fit

    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(20, 3))
    labels = (inputs[:, 0] > 0).astype(int)
    chip = LIFChip((3, 4, 2), ["comparator", "gain"], [1.0, 0.1], 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return fit(chip, inputs, labels, sampler="block", draws=20, tune=10, chains=2, cores=1, checkpoint=checkpoint)


# ---- one trial


def trial(kind: str, whole: Path, work: Path, rng: np.random.Generator, resumes: bool) -> None:
    """Damage a copy and read it; what is raised is what a user would see."""
    from bayes_snn.inference.load import load_fit

    if kind in ("fit.json", "posterior.nc"):
        folder = work / "fit"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(whole / "fit", folder)
        path = folder / kind
        path.write_bytes((damage_text if kind == "fit.json" else damage_bytes)(path.read_bytes(), rng))
        if kind == "posterior.nc" and rng.random() < 0.5:  # who means harm makes the digest again
            stored = json.loads((folder / "fit.json").read_text())
            stored["sha256"] = {"posterior.nc": hashlib.sha256(path.read_bytes()).hexdigest()}
            (folder / "fit.json").write_text(json.dumps(stored))
        result = load_fit(folder)
        result.weights("mean"), result.weights("map"), result.estimates, result.faults, result.cost, result.passes
        str(result)
        result.predict(result.train_inputs[:2], "mean")
        result.predict(result.train_inputs[:2], "ensemble", size=2)
        if resumes:
            from bayes_snn.reports.write import write_report

            write_report(folder, work / "report.html")
    elif kind == "npz":
        from bayes_snn.exports.npz import read_metadata, read_weights

        path = work / "w.npz"
        data = (whole / "whole.npz").read_bytes()
        path.write_bytes(_hostile_npz(rng) if rng.random() < 0.05 else damage_bytes(data, rng))
        read_weights(path), read_metadata(path)
    elif kind == "nir":
        from bayes_snn.exports.nir import from_nir

        path = work / "w.nir"
        path.write_bytes(damage_bytes((whole / "whole.nir").read_bytes(), rng))
        network = from_nir(path)
        network.chip(32).run(network.weights, np.ones((1, network.layers[0])))
    elif kind == "twin":
        read_twin(whole, work, rng, resumes)
    else:
        read_checkpoint(whole, work, rng, resumes)


def _hostile_npz(rng: np.random.Generator) -> bytes:
    """A bomb, a pickle, or a header that lies."""
    buffer = io.BytesIO()
    kind = rng.integers(3)
    if kind == 0:
        np.savez_compressed(buffer, w_1=np.zeros((2000, 20_000)))
    elif kind == 1:
        np.savez(buffer, w_1=np.array([[_Canary()]], object), allow_pickle=True)
    else:
        np.save(buffer, np.zeros((2, 3)))
        lying = buffer.getvalue().replace(b"(2, 3)", b"(9, 9)")
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("w_1.npy", lying)
    return buffer.getvalue()


class _Canary:
    def __reduce__(self):
        return exec, (f"import {CANARY}",)


def read_checkpoint(whole: Path, work: Path, rng: np.random.Generator, resumes: bool) -> None:
    from bayes_snn.checkpoint.checkpoint import Checkpoint
    from bayes_snn.inference.resume import resume

    folder = work / "checkpoint"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(whole / "checkpoint", folder)
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "lock")
    head = [path for path in files if path.name in ("checkpoint.json", "data")]
    chosen = head if rng.random() < 0.5 else files
    path = chosen[rng.integers(len(chosen))]
    data = path.read_bytes()
    if path.name == "checkpoint.json" and rng.random() < 0.7:
        from bayes_snn.checkpoint.identity import digest_of

        stored = json.loads(data)
        known = damage_json(stored["fit"], rng)
        with contextlib.suppress(TypeError, ValueError):
            path.write_text(json.dumps(stored | {"fit": known, "digest": digest_of(known)}))
    elif path.name == "checkpoint.json":
        path.write_bytes(damage_text(data, rng))
    else:
        path.write_bytes((damage_record if path.suffix == "" else damage_bytes)(data, rng))
    found = Checkpoint.open(folder)
    found.data()
    found.states()
    if resumes:
        resume(folder, cores=1)  # a worker may not have processes of its own


def read_twin(whole: Path, work: Path, rng: np.random.Generator, samples: bool) -> None:
    from bayes_snn import LIFChip, fit, load_twin

    folder = work / "twin"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(whole / "twin", folder)
    path = folder / ("twin.json" if rng.random() < 0.5 else "twin.npz")
    data = path.read_bytes()
    if path.suffix == ".json":
        path.write_bytes(damage_text(data, rng))
    elif rng.random() < 0.05:
        path.write_bytes(_hostile_npz(rng))
    else:
        path.write_bytes((damage_arrays if rng.random() < 0.6 else damage_bytes)(data, rng))
    twin = load_twin(folder)
    inputs = np.linspace(-1.0, 1.0, 4 * twin.spec.layers[0]).reshape(4, -1)
    weights = [np.full(shape, 0.5) for shape in twin.spec.weight_shapes]
    twin.run(weights, inputs), twin.spikes(weights, inputs)
    if twin.recordings is not None:
        twin.recordings.spikes(), twin.recordings.matrices()
    twin.save(work / "again")
    if samples:
        chip, labels = LIFChip((3, 4, 2), ["comparator", "gain"], [2.0, 0.1], n_steps=16), np.arange(4) % 2
        fit(chip, inputs[:, :3], labels, sampler="twin", twin=twin, draws=4, tune=2, chains=1, cores=1)


# ---- workers


class _Forked:
    """Stands in for the process that reads HDF5."""

    def __init__(self, arguments: list[str]) -> None:
        from bayes_snn import hdf5_process

        *_, path, seconds, deadline, spare = arguments
        r, w = os.pipe()
        self.returncode = 0
        self.pid = os.fork()
        if self.pid == 0:
            os.close(r)
            with contextlib.suppress(BaseException), os.fdopen(w, "wb") as stream:
                hdf5_process.serve(path, float(seconds), float(deadline), int(spare), stream)
            os._exit(0)
        os.close(w)
        self.stdout = os.fdopen(r, "rb")

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, 9)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stdout.close()
        self.returncode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def work(pipe, whole: str, seed: int, real: int, resume_every: int) -> None:
    """Serve trials, one number at a time."""
    from bayes_snn import hdf5
    from bayes_snn.errors import ChipError, InputError

    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    real_start, ran = hdf5.start, []
    sys.addaudithook(lambda event, arguments: ran.append(event) if _runs_code(event, arguments) else None)
    folder = Path(tempfile.mkdtemp(prefix="hostile-"))
    warnings.simplefilter("ignore")
    while True:
        kind, number = pipe.recv()
        hdf5.start = real_start if number % real == 0 else _Forked
        rng = np.random.default_rng([seed, KINDS.index(kind), number])
        ran.clear()
        began, text = _seconds(), ""
        try:
            trial(kind, Path(whole), folder, rng, number % resume_every == 0)
            outcome = "read"
        except (InputError, ChipError) as error:
            outcome, text = "refused", str(error)
            if "\n" in text or text[-1:] not in ".?":
                outcome = "no sentence"
        except MemoryError:
            outcome, text = "MemoryError", traceback.format_exc()
        except BaseException:
            outcome, text = "traceback", traceback.format_exc()
        if CANARY in sys.modules or (ran and number % real):
            outcome, text = "code run", f"{ran}"
        pipe.send((outcome, _seconds() - began, text))


def _runs_code(event: str, arguments: tuple[object, ...]) -> bool:
    return event in CODE or (event == "pickle.find_class" and arguments[1] in HARMFUL)


def _seconds() -> float:
    """Of the processor, for this process and those that it started: other programs do not count."""
    found = os.times()
    return found.user + found.system + found.children_user + found.children_system


class Worker:
    def __init__(self, *arguments: object) -> None:
        self.pipe, other = multiprocessing.Pipe()
        self.process = multiprocessing.get_context("fork").Process(target=work, args=(other, *arguments), daemon=True)
        self.process.start()
        other.close()

    def ask(self, kind: str, number: int, limit: float) -> tuple[str, float, str]:
        began = time.monotonic()
        self.pipe.send((kind, number))
        try:
            if self.pipe.poll(limit):
                return self.pipe.recv()
            outcome = "hang"
        except (EOFError, OSError):
            outcome = "signal"
        self.process.kill()
        self.process.join()
        return outcome, time.monotonic() - began, f"exit code {self.process.exitcode}"


def run(kind: str, n: int, whole: Path, *, seed: int, limit: float, real: int, resume_every: int, first: int = 0):
    """Outcomes of trials, with the texts of those that must not be."""
    counts, bad, slowest = Counter[str](), [], 0.0
    worker = None
    for number in range(first, first + n):
        if worker is None:
            worker = Worker(str(whole), seed, real, resume_every)
            if worker.ask(kind, first + 1, 600.0)[0] in ("hang", "signal"):  # the first of a worker compiles
                raise RuntimeError(f"trial {first + 1} of {kind} ended its worker")
        at_length = number % resume_every == 0  # compiles a model, or writes a report
        outcome, seconds, text = worker.ask(kind, number, limit * 60.0 if at_length else limit)
        counts[outcome] += 1
        slowest = max(slowest, seconds)
        if outcome not in ("read", "refused"):
            bad.append((kind, number, outcome, seconds, text))
            print(f"{kind} {number}: {outcome}: {text.strip()[-1500:]}", file=sys.stderr, flush=True)
        if outcome in ("hang", "signal"):
            worker = None
        if (number - first) % 100 == 99:
            print(f"{kind}: {number - first + 1} of {n}: {dict(counts)}", file=sys.stderr, flush=True)
    if worker is not None:
        worker.process.kill()
        worker.process.join()
    return counts, bad, slowest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=2000, help="trials of each kind")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="number of the first trial")
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--limit", type=float, default=10.0, help="seconds of a trial")
    parser.add_argument("--real", type=int, default=50, help="one of so many starts the reading process as users do")
    parser.add_argument("--resume-every", type=int, default=500, help="one of so many resumes, or writes a report")
    parser.add_argument("--whole", help="folder of whole files, made when it is missing")
    given = parser.parse_args()
    whole = Path(given.whole or tempfile.mkdtemp(prefix="whole-"))
    if not (whole / "twin").exists():
        make_whole(whole)
    failed = False
    for kind in given.kinds.split(","):
        began = time.monotonic()
        counts, bad, slowest = run(
            kind,
            given.n,
            whole,
            seed=given.seed,
            limit=given.limit,
            real=given.real,
            resume_every=given.resume_every,
            first=given.first,
        )
        outcomes = ", ".join(f"{n} {name}" for name, n in counts.most_common())
        took = f"slowest {slowest:.1f} s of the processor; {time.monotonic() - began:.0f} s in all"
        print(f"{kind}: {outcomes}; {took}", flush=True)
        for kind_, number, outcome, seconds, text in bad[:20]:
            print(f"  {kind_} {number}: {outcome} after {seconds:.1f} s: {text.strip()[-700:]}", flush=True)
        failed |= bool(bad)
    sys.exit(int(failed))


if __name__ == "__main__":
    main()
