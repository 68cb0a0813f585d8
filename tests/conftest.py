"""What holds for every test."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytensor
import pytest
from hypothesis import settings

settings.register_profile("unhurried", deadline=None)  # no test depends on a clock
settings.load_profile("unhurried")


@pytest.fixture(scope="session", autouse=True)
def state_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Secrets of the tests' own, in the processes that they start too: the user's home stays as it is."""
    home, before = tmp_path_factory.mktemp("state"), os.environ.get("XDG_STATE_HOME")
    os.environ["XDG_STATE_HOME"] = str(home)
    yield home
    os.environ.pop("XDG_STATE_HOME")
    if before is not None:
        os.environ["XDG_STATE_HOME"] = before


@pytest.fixture(scope="module")
def quickly_compiled() -> Iterator[None]:
    """For modules of many fits of few draws, whose time would go into PyTensor's compilations.

    What is computed is the same but for rounding; tests in samplers/ and posterior/ have it compiled as users do. So it
    is in the processes that a test starts: a fit that is stopped in one of them continues here to the same draws.
    """
    with pytest.MonkeyPatch.context() as patched, pytensor.config.change_flags(mode="FAST_COMPILE"):
        patched.setenv(
            "PYTENSOR_FLAGS", ",".join(filter(None, [os.environ.get("PYTENSOR_FLAGS"), "mode=FAST_COMPILE"]))
        )
        yield
