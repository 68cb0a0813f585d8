"""How bad input is refused: by one sentence."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bayes_snn.errors import InputError


def refusal(function: Callable[..., object], *arguments: object, **options: object) -> str:
    """The message of an InputError: one line, one sentence."""
    with pytest.raises(InputError) as error:
        function(*arguments, **options)
    message = str(error.value)
    assert "\n" not in message
    assert message[-1] in ".?"
    return message
