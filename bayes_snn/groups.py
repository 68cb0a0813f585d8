"""Names of groups, variables and attributes of a fit's DataTree, and of the stats of its steps, in one place."""

from __future__ import annotations

LABELS = "label"  # the observed variable
SAMPLE_WEIGHT = "sample_weight"  # of constant_data: how often each sample counts, where not all count once

OUTPUTS, CONSTANT = "outputs", "constant"  # group and variable: class probabilities of each draw
ALIKE, UNRESPONSIVE = "alike", "unresponsive"  # attributes: all draws answered alike; so were draws from the prior
OTHER_TERMS, SUPPORT = "other_terms", "support"  # groups: terms of the model beside the chip's; bounds of the prior
LOW, HIGH = "low_", "high_"  # of the variables of SUPPORT, before the name of a layer

REMEASURED = "remeasured"  # the group of what follows
# stats of a step that watches, nan where a draw began without a look: log L of the current point as it was carried and
# as it was measured, and as measured at the point of reference
BEFORE, AFTER, REFERENCE = "remeasured_before", "remeasured_after", "remeasured_reference"
NOTHING = dict.fromkeys((BEFORE, AFTER, REFERENCE), float("nan"))

# stats of the sampler twin: the chip's answer to the current point, and log L_chip - p log L_twin at what was proposed
COUNTS, GAP = "counts", "gap"
PROGRAMMINGS = "programmings"  # stat: times that the chip's weights were written, from the start of the chain

READOUT = "readout"  # attribute of the group posterior: its variables SCALE and BIAS are those of the readout
SCALE, BIAS = "beta", "bias"
