"""A checkpoint: a folder out of which a fit continues after a kill, a power loss or Ctrl-C, with the same draws.

checkpoint.json     which fit it belongs to: arguments, chip, prior, digests of the data, package versions
data                training inputs and labels, names of features and classes
lock                held by the process that fits
chain_0, ...        draws and state of each chain, see `bayes_snn.checkpoint.chain_store`
faults              those of the chip's link, as they came, see `bayes_snn.chips.link.faults`
extended            draws of each chain, where more were asked for than the fit began with
asked               samples shown to the chip to see that it is the same, each time the fit continued
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pymc as pm

from bayes_snn.checkpoint.chain_store import STATES, ChainStore
from bayes_snn.checkpoint.identity import FORMAT, Before, check_same, describe_fit, digest_of, is_signed, sign
from bayes_snn.checkpoint.packing import PackingError, pack, unpack
from bayes_snn.checkpoint.schema import CheckpointFields, CheckpointHead
from bayes_snn.checkpoint.steps import CheckpointedSteps, KnownAnswers
from bayes_snn.chips.contract import Chip
from bayes_snn.errors import CheckpointError, InputError, check_whole
from bayes_snn.files import UnreadableError, make_folder, read_file, take_lock, write_durably
from bayes_snn.json_file import check, read_json
from bayes_snn.names import SAMPLERS
from bayes_snn.posterior.priors import PriorFunction, ReadoutFunction
from bayes_snn.version import written_by

SECONDS = 5.0  # between two saves
MOST_FILE = 2**36  # bytes of the training data
_MOST_ASKED = 32  # bytes of a number
_DATA = {"inputs", "labels", "feature_names", "class_names", "sample_weight"}
LOCK_PATIENCE = 10.0  # seconds; the chains' processes outlive a killed fit by up to a draw
_DESCRIPTION, _LOCK, _FAULTS, _ASKED, _JOURNAL = "checkpoint.json", "lock", "faults", "asked", "journal"
_EXTENDED = "extended"


class Checkpoint:
    """Where a fit is stored while it runs; pass it, or the folder alone, as `fit(..., checkpoint=)`.

    Parameters
    ----------
    folder
        A folder without a checkpoint in it; made when it is missing.
    seconds
        Between two saves of a chain. Saves become rarer by themselves where they would cost more than 2% of the time.
    draws
        Save after so many draws at latest, however little time has passed.
    options
        Whatever a caller must know to continue; plain values.
    replace
        Whether the checkpoint of another fit in the folder is deleted when this one begins; a running one never is.

    Attributes
    ----------
    spent
        Seconds that the fit took before it was stopped.
    presentations
        Samples shown to the chip to see, each time the fit continued, that it is the same chip.
    test
        Digest of the test samples, where a caller has some: those of the fit are to be the same ones.
    extended
        Draws of each chain that were asked for after the fit had begun; None where they are those that it began with.
    is_own
        Whether this user began the fit, on this computer. Of any other it cannot be said what its files do.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        seconds: float = SECONDS,
        draws: int | None = None,
        options: dict[str, Any] | None = None,
        replace: bool = False,
    ) -> None:
        if not seconds >= 0:
            raise InputError(f"seconds was {seconds!r}, but a number >= 0 is expected: try {SECONDS:g}.")
        if draws is not None:
            check_whole("draws", draws, 1, None, 100)
        self.folder = Path(os.path.abspath(folder))
        self.seconds, self.draws, self.options = float(seconds), draws, options
        self.replace = replace
        self.spent, self.presentations = 0.0, 0
        self.test: str | None = None
        self.extended: int | None = None
        self.is_own = True
        self.begun = False  # whether what is in the folder was begun here
        self._known: dict[str, Any] | None = None
        self._digest = ""
        self._steps: CheckpointedSteps | None = None
        self._lock: int | None = None
        self._stays_locked = False

    @classmethod
    def open(cls, folder: str | Path, *, seconds: float = SECONDS, draws: int | None = None) -> Checkpoint:
        """The checkpoint in a folder, to continue from; a `CheckpointError` when there is none that can be read."""
        folder = Path(os.path.abspath(folder))
        if not (folder / _DESCRIPTION).exists() and (folder / "checkpoint" / _DESCRIPTION).exists():
            folder /= "checkpoint"  # of a fit folder
        checkpoint = cls(folder, seconds=seconds, draws=draws)
        try:
            if not (folder / _DESCRIPTION).exists():
                raise CheckpointError(
                    f"{folder} holds no checkpoint of a fit: give the folder of a fit that was stopped, or its "
                    "checkpoint."
                )
            stored = read_json(folder / _DESCRIPTION)
            check(stored, CheckpointHead)
            known, digest = stored["fit"], stored["digest"]
            format_ = known["format"]
        except UnreadableError as error:
            raise CheckpointError(str(error.input_error(folder / _DESCRIPTION))) from None
        if digest_of(known) != digest:
            raise CheckpointError(f"{folder / _DESCRIPTION} is torn or was edited: fit again.")
        if format_ != FORMAT:
            raise CheckpointError(
                f"{folder} was written in format {format_} by bayes_snn {written_by(known)}, but this "
                f"version reads format {FORMAT}: continue with that version, or fit again."
            )
        try:
            check(stored, CheckpointFields)
        except UnreadableError as error:
            raise CheckpointError(str(error.input_error(folder / _DESCRIPTION))) from None
        checkpoint._known, checkpoint._digest = known, digest
        checkpoint.is_own = is_signed(digest, stored.get("seal"))
        checkpoint.options = known["options"]
        if (draws := _read_number(folder / _EXTENDED)) is not None:
            checkpoint._take_draws(draws)
        return checkpoint

    def extend(self, draws: int) -> None:
        """Have more draws of each chain than the fit began with: it continues to them, now and after a stop.

        Raises
        ------
        InputError
            When they are not more.
        """
        before = self.known["arguments"]["draws"]
        check_whole("draws", draws, 1, 10**7, 2 * before)
        made = max((state["draws"] - self.known["arguments"]["tune"] for state in self.states()), default=0)
        if draws <= made:
            raise InputError(
                f"The fit in {self.folder.parent} has {max(made, 0):,} draws of each chain, and {draws:,} were asked "
                "for, but an extended fit has more: say how many there are in the end."
            )
        write_durably(self.folder / _EXTENDED, f"{int(draws)}\n".encode())
        self._take_draws(int(draws))

    def _take_draws(self, draws: int) -> None:
        """Be the checkpoint of a fit with so many draws, which nothing but these ends."""
        known = {**self.known, "arguments": {**self.known["arguments"], "draws": draws}}
        known["arguments"].pop("until", None)
        if self.options is not None:  # what the command left open is what it came to
            self.options = {**self.options, "draws": draws, "chains": known["arguments"]["chains"], "until": None}
        self._known, self.extended = known, draws

    @property
    def known(self) -> dict[str, Any]:
        """What fit it belongs to."""
        if self._known is None:
            raise RuntimeError("the checkpoint was not begun")
        return self._known

    @property
    def before(self) -> Before:
        """What came before the first draw of the fit that it belongs to."""
        return Before.of(self.known)

    def data(self) -> dict[str, Any]:
        """Arguments of `fit` that are data: inputs, labels, feature_names, class_names."""
        path = self.folder / "data"
        try:
            found = unpack(read_file(path, MOST_FILE))
            if not isinstance(found, dict) or not {"inputs", "labels"} <= found.keys() <= _DATA:
                raise UnreadableError("it does not hold the training data of a fit")
            return found
        except UnreadableError as error:
            raise CheckpointError(str(error.input_error(path))) from None
        except PackingError as error:
            raise CheckpointError(str(UnreadableError(str(error)).input_error(path))) from None

    def journal(self) -> Path:
        """A file for what a twin is learned from, before the fit begins: the folder is this fit's from then on."""
        if self._lock is None:
            self._take_lock()
        if self._known is None and self.holds_fit and self.replace:
            self._clear()
        return self.folder / _JOURNAL

    def begin(
        self,
        chip: Chip,
        model: pm.Model,
        functions: tuple[PriorFunction, ReadoutFunction | None],
        is_named: bool,
        starts: list[dict[str, Any]],
        arguments: dict[str, Any],
        names: dict[str, Sequence[str] | None],
        before: Before,
    ) -> None:
        """Take the folder for this fit, or see that it is the one that the folder belongs to.

        `before` is stored with a fit that begins; `before` of the checkpoint is that of the fit that is continued.

        Raises
        ------
        InputError
            When the folder belongs to another fit, is in use, or cannot be written to.
        """
        if not SAMPLERS[arguments["sampler"]].resumable:
            raise InputError(
                f"Sampler {arguments['sampler']!r} cannot be stored while it runs: fit without a checkpoint, or take "
                "'sitewise' or 'block'."
            )
        fit = describe_fit(chip, model, functions, starts, arguments, names)
        if self.test is not None or self._known is None:  # resumed from Python, a fit has no test samples to compare
            fit["test"] = self.test
        else:
            fit["test"] = self.known["test"]
        if self._lock is None:
            self._take_lock()
        if self._known is not None:
            check_same(self.known, fit, self.folder)
        else:
            if self.holds_fit and not self.replace:
                raise CheckpointError(
                    f"{self.folder} already holds the checkpoint of a fit: continue with it by resume, or give another "
                    "folder."
                )
            if self.holds_fit:
                self._clear()
            fit |= {"model": arguments["model"], "is_named": is_named}
            fit |= {"directory": os.getcwd(), "options": self.options, **before.as_dict()}
            self._known, self._digest = fit, digest_of(fit)
            data = {"inputs": model.likelihood.op.inputs, "labels": model.likelihood.labels}
            if model.likelihood.sample_weight is not None:
                data["sample_weight"] = model.likelihood.sample_weight
            data |= {what: None if given is None else list(given) for what, given in names.items()}
            stored = {"fit": fit, "digest": self._digest, "seal": sign(self._digest)}
            description = json.dumps(stored, indent=2) + "\n"
            try:
                write_durably(self.folder / "data", pack(data))
                write_durably(self.folder / _DESCRIPTION, description.encode())
                self.begun = True
            except (OSError, PackingError) as error:
                raise CheckpointError(
                    f"The checkpoint in {self.folder} cannot be written ({getattr(error, 'strerror', None) or error}): "
                    "make room on the disk or give another folder."
                ) from None
        for left in self.folder.glob("**/*.partial"):  # of writes that a kill cut short
            left.unlink(missing_ok=True)
        states = self.states()
        self.spent = max([self.spent, *(float(state["seconds"]) for state in states)])
        if not self.begun and chip.spec.deterministic:
            self._ask_again(model, states)

    def states(self) -> list[dict[str, Any]]:
        """The last good state of each chain that has one; a warning or a `CheckpointError` says what is torn."""
        arguments, found = self.known["arguments"], []
        for chain in range(arguments["chains"]):
            folder = self.folder / f"chain_{chain}"
            store = ChainStore(folder, self._digest, chain, arguments["tune"] + arguments["draws"])
            state = store.load()
            if state is not None and not _is_state(state):
                raise self._foreign(chain)
            for note in store.notes:
                warnings.warn(note, UserWarning, stacklevel=4)
            if state is not None:
                found.append({"chain": chain, "draws": store.n_saved, "seconds": state["seconds"]})
                found[-1] |= {"last": store.draw(store.n_saved - 1) if store.n_saved else {}, "op": state["op"]}
        return found

    def _foreign(self, chain: int) -> CheckpointError:
        return CheckpointError(
            f"The state of chain {chain} in {self.folder / f'chain_{chain}'} is not one that a fit stores: take it "
            "from a copy, or delete the folder and resume again, and this chain alone begins anew."
        )

    def _ask_again(self, model: pm.Model, states: list[dict[str, Any]]) -> None:
        """Show the chip the weights that each chain stopped at: it must answer as it did, or it is another chip."""
        path, op = self.folder / _ASKED, model.likelihood.op
        self.presentations = max(_read_number(path) or 0, 0)
        before, known = op.presentations, KnownAnswers(model)
        for state in states:
            try:
                weights, readout, expected = known.last(state["last"], state["op"])
            except (ValueError, TypeError, KeyError, IndexError, AttributeError):
                raise self._foreign(state["chain"]) from None
            if weights is None:
                continue
            found = float(readout.log_p(op.run(weights), model.likelihood.target).sum())
            if not np.isclose(found, expected, rtol=1e-9, atol=1e-6):
                raise CheckpointError(
                    f"The chip is not the one that the fit in {self.folder} was begun with, or has changed: at the "
                    f"weights where chain {state['chain']} stopped, the log-likelihood was {expected:.6g} and is "
                    f"{found:.6g} now: continue with the chip that it was begun with, or fit again."
                )
        self.presentations += op.presentations - before
        try:
            write_durably(path, f"{self.presentations}\n".encode())
        except OSError as error:
            raise CheckpointError(
                f"The checkpoint in {self.folder} cannot be written ({error.strerror or error}): make room on the disk."
            ) from None

    def wrap(self, steps: Sequence[Any], model: pm.Model) -> CheckpointedSteps:
        """The steps of the fit, stored as they go."""
        self._steps = CheckpointedSteps(
            steps,
            model.likelihood.op,
            self.folder,
            self._digest,
            seconds=self.seconds,
            draws=self.draws,
            spent=self.spent,
        )
        return self._steps

    def close(self) -> None:
        """Save what is not saved yet of a chain that ran in this process, and give the folder free."""
        if self._steps is not None:
            self._steps.flush()
            self._steps = None
        if self._lock is not None and not self._stays_locked:
            os.close(self._lock)  # processes of chains that are still ending hold it too
            self._lock = None

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep every other fit out of the folder, before this one begins and after it has ended too.

        A folder that nothing was stored in is taken away at the end.

        Raises
        ------
        CheckpointError
            When a fit is running in the folder, or the fit to continue with is not there any more.
        """
        self._take_lock()
        self._stays_locked = True
        try:
            if self.replace:  # a fit takes over the faults that it finds
                shutil.rmtree(self.folder / _FAULTS, ignore_errors=True)
            yield
        finally:
            if not self.holds_fit:
                self._remove_folder()
            self._stays_locked = False
            self.close()

    def _take_lock(self) -> None:
        make_folder(self.folder)
        is_inside = self.folder.name == "checkpoint"
        where = self.folder.parent if is_inside else self.folder
        busy = CheckpointError(f"A fit is running in {where}: wait until it has ended, or give another folder.")
        self._lock = take_lock(self.folder / _LOCK, LOCK_PATIENCE, busy)
        if self._known is not None and self._read_digest() != self._digest:
            self.close()
            raise CheckpointError(
                f"The fit in {where} ended, or was replaced, while this one waited to continue with it: look at what "
                "is there now."
            )

    def _read_digest(self) -> Any:
        """Digest of the fit that the folder belongs to at the moment, None where there is none."""
        try:
            return read_json(self.folder / _DESCRIPTION)["digest"]
        except (UnreadableError, KeyError, TypeError):
            return None

    @property
    def holds_fit(self) -> bool:
        """Whether the checkpoint of a fit, this one or another, is in the folder."""
        return os.path.lexists(self.folder / _DESCRIPTION)

    @property
    def is_worth_keeping(self) -> bool:
        """Whether there is a draw in it."""
        return any((folder / name).exists() for folder in self.folder.glob("chain_*") for name in STATES)

    def discard(self) -> None:
        """Delete the checkpoint, and its folder when there is nothing else in it.

        Raises a `CheckpointError` when a fit is running in it.
        """
        if not self.folder.exists():
            return
        mine = self._lock is not None
        if not mine:
            self._take_lock()
        self._clear()
        shutil.rmtree(self.folder / _FAULTS, ignore_errors=True)
        self._remove_folder()
        if not mine:
            self.close()

    def end(self, folder: Path) -> None:
        """Put the checkpoint of a fit that has ended into `folder`, which is not there, for it to be extended."""
        with contextlib.suppress(OSError):  # the fit is saved, and only extending it is lost
            os.replace(self.folder, folder)

    def _clear(self) -> None:
        """Delete what a checkpoint consists of, but for the lock and the faults, which the next fit writes to."""
        (self.folder / _DESCRIPTION).unlink(missing_ok=True)  # first: a kill meanwhile leaves no fit with a part lost
        for name in ("data", _ASKED, _JOURNAL, _EXTENDED):
            (self.folder / name).unlink(missing_ok=True)
        for path in self.folder.glob("chain_[0-9]*"):
            shutil.rmtree(path, ignore_errors=True)

    def _remove_folder(self) -> None:
        """Delete the lock and the folder, which stays if there is more in it."""
        with contextlib.suppress(OSError):
            (self.folder / _LOCK).unlink(missing_ok=True)
            self.folder.rmdir()


def _read_number(path: Path) -> int | None:
    """A whole number in a file; None where there is none."""
    try:
        return int(read_file(path, _MOST_ASKED))
    except (UnreadableError, ValueError):
        return None


def _is_state(state: Any) -> bool:
    return (
        isinstance(state, dict)
        and {"steps", "op", "chip", "seconds"} <= state.keys()
        and isinstance(state["steps"], list)
        and isinstance(state["seconds"], float)
        and 0 <= state["seconds"] < float("inf")
    )
