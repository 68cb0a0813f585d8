"""The neuron of the family `conductance`, and the names of its parameters.

Time is in steps, the voltage v is 0 at rest and about 1 at threshold; x is the neuron's input current, A+ and A- what
arrives through excitatory and inhibitory synapses (`arriving` in teacher.py). In each step

    g+   <- decay+ g+ + k+_0 A+[t] + k+_1 A+[t-1] + k+_2 A+[t-2],    g- likewise
    G     = leak + g+ + g-
    J     = gain x + offset + E+ g+ + E- g- - a, within -STEEPEST and STEEPEST
    v     <- v exp(-G d) + (J / G) (1 - exp(-G d))       d = 1 - r, what is left of the step after the refractory time
    v     <- v + bend d max(v - onset, 0)^2
    theta = 1 + h_1 u + h_2 u^2 + h_3 u^3 + h_4 m + h_5 m u + h_6 m^2

with u = q / (Q + |q|) of the slope q = J - G that v has at 1, and m = (g+ + g-) / (M + g+ + g-). Where v >= theta it
spikes, at the time when a straight line from the old v to the new one crosses theta. Then v is `reset`, and stays there
for `refractory` from that time on, which may end within a later step. The adaptation a relaxes to `coupling` v and
grows by `jump` at a spike. exp(-x) is 1 / (1 + x + x^2 / 2 + x^3 / 6).

The bend, of an exponential spike's upswing, and theta, a smooth function of how fast v rises and of how open the
synapses are, take up what these equations miss of a chip's own.
"""

from __future__ import annotations

Q, M = 0.3, 0.3  # scales of slopes and conductances in theta
LONGEST = 2.0  # steps that d may have
STEEPEST = 2.0  # of J, in thresholds a step
HIGHEST, LOWEST = 1.0, -8.0  # of v - onset in the bend; of v
FRACTIONS = 16  # of a step, to which the time of a spike is told to the layer behind

# those of every neuron; the logarithm of rates and times
LEAK, OFFSET, ADAPT, JUMP, COUPLING, REFRACTORY, RESET, BEND, ONSET, H1, H2, H3 = range(12)
N_SHARED = 12
GAIN = 12  # of the first layer alone
N_FIRST = 13
# of later layers alone
DECAY_E, E0, E1, E2, REVERSAL_E, DECAY_I, I0, I1, I2, REVERSAL_I, H4, H5, H6 = range(12, 25)
N_LATER = 25
