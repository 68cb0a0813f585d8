"""What kernels are compiled for."""

import numpy as np
import pytest

from bayes_snn.chips.lif.chip import LIFChip
from bayes_snn.chips.lif.state import new_run

LAYERS = (3, 2, 2)


@pytest.mark.parametrize("name", [None, "comparator", "gain", "leak", "threshold", "stuck", "silent", "quantisation"])
def test_plain_neurons_are_compiled_for_without_what_they_lack(name):
    chip = LIFChip(LAYERS, name, 4 if name == "quantisation" else 0.5)
    assert new_run(chip.circuit, np.uint64(0)) is None


@pytest.mark.parametrize(("name", "n_steps"), [("noise", 32), ("current", 32), ("drift", 32), (None, 65)])
def test_others_are_not(name, n_steps):
    chip = LIFChip(LAYERS, name, 0.5, n_steps=n_steps)
    run = new_run(chip.circuit, np.uint64(7))
    assert run is not None
    assert run.key == 7
