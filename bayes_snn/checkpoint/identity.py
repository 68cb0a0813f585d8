"""Which fit a checkpoint belongs to: all that decides about its draws, and how two fits differ, in words.

It is signed with a secret of the user on this computer, so that one is known that comes from somewhere else.
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
import hmac
import inspect
import json
import os
import platform
import secrets
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pymc as pm

from bayes_snn.checkpoint.packing import pack
from bayes_snn.chips.contract import Chip
from bayes_snn.chips.describe import describe_chip
from bayes_snn.errors import CheckpointError, said
from bayes_snn.names import SAMPLERS
from bayes_snn.posterior.priors import PriorFunction, ReadoutFunction
from bayes_snn.version import PACKAGES, __version__

FORMAT = 2  # of a checkpoint
# what draws is in these modules and in what they import; the first alone, for it imports how results are kept too
_ALONE = "bayes_snn.inference.fit"
_DRAWING = ("bayes_snn.posterior.build", "bayes_snn.inference.pointwise", "bayes_snn.samplers.by_name")


@dataclass(frozen=True)
class Before:
    """What came before the first draw, and is no argument: a fit that is continued does not go through it again.

    Attributes
    ----------
    note
        Which sampler was chosen and why, where it was chosen.
    learning
        Presentations and programmings of the twin, also of one that was not used then.
    """

    note: str = ""
    learning: tuple[int, int] = (0, 0)

    def as_dict(self) -> dict[str, Any]:
        """The fields in plain values."""
        return {"note": self.note, "learning": [int(n) for n in self.learning]}

    @classmethod
    def of(cls, known: dict[str, Any]) -> Before:
        """Out of what a checkpoint holds; older ones do not say."""
        presentations, programmings = known.get("learning", (0, 0))
        return cls(known.get("note", ""), (presentations, programmings))


def describe_fit(
    chip: Chip,
    model: pm.Model,
    functions: tuple[PriorFunction, ReadoutFunction | None],
    starts: list[dict[str, Any]],
    arguments: dict[str, Any],
    names: dict[str, Sequence[str] | None],
) -> dict[str, Any]:
    """A fit in plain values; `starts` are the draws from the prior at which its chains start.

    `functions` make prior and readout; `names` are those of features and classes.
    """
    counted = model.likelihood.sample_weight
    return {
        "format": FORMAT,
        "arguments": {name: value for name, value in _plain(arguments).items() if name != "model"},
        "chip": _plain(describe_chip(chip)),
        "prior": _source(functions[0]),
        "readout": None if functions[1] is None else _source(functions[1]),
        "starts": digest_of_arrays([value for start in starts for value in start.values()]),
        "inputs": digest_of_arrays([model.likelihood.op.inputs]),
        "labels": digest_of_arrays([model.likelihood.labels]),
        **({} if counted is None else {"sample_weight": digest_of_arrays([counted])}),
        **{what: None if given is None else [str(name) for name in given] for what, given in names.items()},
        "code": {**code_digests(chip), **_own_sampler(arguments["sampler"])},
        "versions": {
            "bayes_snn": __version__,
            "python": ".".join(platform.python_version_tuple()[:2]),
            **{name: version(name) for name in PACKAGES},
        },
    }


def code_digests(chip: Chip) -> dict[str, str]:
    """Digests of the source files of this package that decide about draws: samplers, model, and a simulated chip.

    Those of a user's chip are not among them: a driver may be repaired between two parts of a fit.
    """
    chip = getattr(chip, "chip", chip)  # of a link
    makers = [sampler.make for sampler in SAMPLERS.values() if isinstance(sampler.make, str)]
    samplers = [f"bayes_snn.samplers.{make.partition(':')[0]}" for make in makers]
    root, found, todo = Path(__file__).parents[1], {}, [*_DRAWING, *samplers, type(chip).__module__]
    while todo:
        name = todo.pop()
        path = root.joinpath(*name.split(".")[1:])
        path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        if name in found or not name.startswith("bayes_snn.") or not path.is_file():
            continue
        text = path.read_text(encoding="utf-8")
        found[name] = hashlib.sha256(text.encode()).hexdigest()[:16]
        todo += imported(text)
    found[_ALONE] = hashlib.sha256((root / "inference" / "fit.py").read_bytes()).hexdigest()[:16]
    return dict(sorted(found.items()))


def imported(text: str) -> list[str]:
    """Names of the modules that a source file imports, wherever in it, and of what it imports from them."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            found += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return found


def check_same(known: dict[str, Any], fit: dict[str, Any], folder: Path) -> None:
    """A `CheckpointError` that says in what a fit differs from the one that the checkpoint in `folder` belongs to."""
    for part in ("arguments", "versions", "chip"):
        for name in {**known[part], **fit[part]}:
            before, now = known[part].get(name), fit[part].get(name)
            if before != now:
                what = {"versions": f"version of {name}", "chip": f"{name} of the chip"}.get(part, name)
                raise CheckpointError(
                    f"The fit in {folder} was begun with another {said(what, 60)} ({said(before)}, now {said(now)}), "
                    "and the draws would not be the same: continue with what it was begun with, or fit again."
                )
    if changed := sorted(
        name for name in {**known["code"], **fit["code"]} if known["code"].get(name) != fit["code"].get(name)
    ):
        raise CheckpointError(
            f"The fit in {folder} was begun with other code of bayes_snn {__version__} (another {said(changed[0])}), "
            "and the draws might not be the same: continue with the code that it was begun with, or fit again."
        )
    for part, what in (
        ("inputs", "other training inputs"),
        ("labels", "other training labels"),
        ("sample_weight", "other weights of samples"),
        ("prior", "another prior"),
        ("readout", "another readout"),
        ("starts", "another prior"),
        ("test", "other test samples"),
    ):
        if known.get(part) != fit.get(part):
            raise CheckpointError(
                f"The fit in {folder} was begun with {what}: continue with what it was begun with, or fit again."
            )
    for part in ("feature_names", "class_names"):
        if known[part] != fit[part]:
            pairs = zip(known[part] or [], fit[part] or [], strict=False)
            before, now = next((pair for pair in pairs if pair[0] != pair[1]), ("names", "none"))
            raise CheckpointError(
                f"The fit in {folder} was begun with other {part.replace('_', ' ')} ({before!r}, now {now!r}): name "
                "them as they were, or fit again."
            )


def check_model_file(known: dict[str, Any], path: str | Path, folder: Path) -> None:
    """A `CheckpointError` when a model file is not the one of the fit; it is only read, not run."""
    try:
        digest = _digest_of_text(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return  # the reader of model files says why
    if digest != known["prior"]:
        raise CheckpointError(
            f"The fit in {folder} was begun with another prior than {path} holds now: continue "
            "with what it was begun with, or fit again."
        )


def sign(digest: str) -> str | None:
    """A seal on a digest that only this user can make on this computer; None where no secret can be kept."""
    secret = _secret()
    return None if secret is None else hmac.new(secret, digest.encode(), "sha256").hexdigest()


def is_signed(digest: str, seal: object) -> bool:
    """Whether this user has made the seal, on this computer."""
    own = sign(digest)
    if own is None or not isinstance(seal, str):
        return False
    return hmac.compare_digest(own.encode(), seal.encode(errors="replace"))  # JSON may hold what UTF-8 does not have


def _secret() -> bytes | None:
    """32 random bytes in the user's home that no other user can read, made at the first call."""
    try:
        base = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
        path = base / "bayes_snn" / "secret"
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                os.write(handle, secrets.token_bytes(32))
            finally:
                os.close(handle)
        secret = path.read_bytes()
    except (OSError, RuntimeError):  # RuntimeError: there is no home
        return None
    return secret if len(secret) == 32 else None


def _own_sampler(sampler: str) -> dict[str, str]:
    """Digest of the text of a sampler that is none of this package's; nothing for one that is, or has no text."""
    make = SAMPLERS[sampler].make
    digest = None if isinstance(make, str) else _source(make)
    return {} if digest is None else {f"sampler {sampler}": digest}


def _source(function: Callable[..., Any]) -> str | None:
    """Digest of a function's text: of the whole model file where it is from one; None where there is no text."""
    module = sys.modules.get(function.__module__)
    try:
        if function.__module__.startswith("bayes_snn_model_") and module is not None and module.__file__:
            text = Path(module.__file__).read_text(encoding="utf-8")
        else:
            text = inspect.getsource(function)
    except (OSError, TypeError, ValueError):
        return None
    return _digest_of_text(text)


def _digest_of_text(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def digest_of(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def digest_of_arrays(arrays: Sequence[Any]) -> str:
    """Of arrays, their shapes and dtypes."""
    return hashlib.sha256(pack([np.asarray(array) for array in arrays])).hexdigest()


def _plain(value: Any) -> Any:
    """As JSON gives it back."""

    def number(item: Any) -> Any:
        return item.item() if isinstance(item, np.generic) else str(item)

    return json.loads(json.dumps(value, default=number))
