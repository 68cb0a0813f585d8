"""Every capability of a chip, behind a link and behind a server: it survives, or it is listed as withheld."""

from __future__ import annotations

import re
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from bayes_snn.chips.capabilities import CAPABILITIES
from bayes_snn.chips.contract import ChipSpec, Parameter
from bayes_snn.chips.link.link import Link
from bayes_snn.chips.remote.client import RemoteChip
from tests.chips.remote.test_remote import serving

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "bayes_snn"
LEVELS = np.array([-1.0, 0.0, 1.0])
SPECS = {  # every field of a spec, another value than its default
    "n_steps": 7,
    "weight_range": (-2.0, 1.5),
    "weight_bits": 3,
    "deterministic": False,
    "drifting": True,
    "parameters": (Parameter("threshold", (1, 2), ("chip", "neuron"), LEVELS),),
}


class Plain:
    """A chip that offers nothing."""

    spec = ChipSpec((2, 2), 5)

    def run(self, weights, inputs):
        return np.full((len(inputs), 2), 3)


class Able(Plain):
    """A chip that offers everything there is to offer."""

    copyable = subsets = given_inputs = sweeps_weighted = True
    weight_levels = (LEVELS,)

    def run_tagged(self, weights, inputs, tag):
        return tag, self.run(weights, inputs)

    def site_sweeper(self, *arguments):
        raise AssertionError("it went past the link")

    def spikes(self, weights, inputs):
        raise AssertionError("it went past the link")

    def reset(self):
        pass

    def restart_noise(self, seed):
        self.noise = seed

    def checkpoint_state(self):
        return self.noise

    def restore_state(self, state):
        self.noise = state


def test_the_chip_of_this_test_offers_everything():
    assert [name for name in CAPABILITIES if not hasattr(Able, name)] == []


@pytest.mark.parametrize("name", CAPABILITIES)
def test_a_capability_survives_or_is_listed_as_withheld(name):
    chip = Able()
    assert hasattr(Link(chip), name) == (CAPABILITIES[name].link is None)
    with serving(chip) as server:
        remote = RemoteChip(server.address)
        told = hasattr(remote, name) or (name == "weight_levels" and remote.spec.parameters[0].levels is not None)
        assert told == (CAPABILITIES[name].remote is None)
        remote.close()


@pytest.mark.parametrize("name", SPECS)
def test_every_field_of_a_spec_survives(name):
    chip = Plain()
    chip.spec = replace(Plain.spec, **{name: SPECS[name]})
    assert chip.spec != Plain.spec
    assert Link(chip).spec == chip.spec
    with serving(Link(chip)) as server:
        remote = RemoteChip(server.address)
        assert remote.spec == chip.spec
        remote.close()


def test_no_field_of_a_spec_is_left_out_here():
    assert {field.name for field in fields(ChipSpec)} == {"layers", *SPECS}


def test_what_the_package_asks_chips_for_is_in_the_table():
    asked = set()
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        asked |= set(re.findall(r"getattr\((?:self\.)?_?(?:op\.)?chip, \"(\w+)\", (?:None|False)\)", text))
    told = {"spec", "run", "name", "chip", "faults", "remember"}  # by every chip, and by stand-ins of chips
    simulated = {"strengths", "tau_m"}  # of `LIFChip` alone
    assert asked - told - simulated <= CAPABILITIES.keys()
    assert {"site_sweeper", "subsets"} <= asked


def test_the_readme_lists_every_capability():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = text[text.index("| attribute | what it promises") :].split("\n\n")[0]
    assert [name for name in CAPABILITIES if name not in rows and name != "weight_levels"] == []
