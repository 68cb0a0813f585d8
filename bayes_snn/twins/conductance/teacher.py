"""How well a neuron's parameters explain its spikes, with derivatives: teacher forcing.

The spikes that were seen reset the neuron, not those that it would make itself, so each step of each presentation is
one label of a logistic regression on sharpness (v - theta). Derivatives are carried along from step to step.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from bayes_snn.twins.conductance.neuron import (
    ADAPT,
    BEND,
    COUPLING,
    DECAY_E,
    DECAY_I,
    E0,
    GAIN,
    H1,
    H2,
    H3,
    H4,
    H5,
    H6,
    HIGHEST,
    I0,
    JUMP,
    LEAK,
    LONGEST,
    LOWEST,
    OFFSET,
    ONSET,
    REFRACTORY,
    RESET,
    REVERSAL_E,
    REVERSAL_I,
    STEEPEST,
    M,
    Q,
)


@njit(cache=True, error_model="numpy")
def teach(p, first, x, excited, inhibited, spikes, sharpness, derive, times):  # type: ignore[no-untyped-def]
    """Minus the log-likelihood of spikes, its gradient (n,), and the expected Hessian (n, n), of parameters p (n,).

    first
        Whether it is a neuron of the first layer, with x (n_presentations,); else with what arrives, excited and
        inhibited (n_presentations, n_steps).
    spikes
        (n_presentations, n_steps) bool.
    derive
        Without it gradient and Hessian are not computed.
    times
        (n_presentations, n_steps) float64, filled with the part of the step before each spike.
    """
    n, n_steps = len(p), spikes.shape[1]
    loss, gradient, hessian = 0.0, np.zeros(n), np.zeros((n, n))
    leak, adapt, refractory = np.exp(p[LEAK]), np.exp(p[ADAPT]), np.exp(p[REFRACTORY])
    keep = np.exp(-adapt)
    rate_e = rate_i = keep_e = keep_i = 0.0
    if not first:
        rate_e, rate_i = np.exp(p[DECAY_E]), np.exp(p[DECAY_I])
        keep_e, keep_i = np.exp(-rate_e), np.exp(-rate_i)
    dv, da, dr, de, di = np.zeros(n), np.zeros(n), np.zeros(n), np.zeros(n), np.zeros(n)
    dj, dg, do, dw, dz = np.zeros(n), np.zeros(n), np.zeros(n), np.zeros(n), np.zeros(n)
    for s in range(spikes.shape[0]):
        v = a = r = g_e = g_i = 0.0
        dv[:], da[:], dr[:], de[:], di[:] = 0.0, 0.0, 0.0, 0.0, 0.0
        for t in range(n_steps):
            j = p[OFFSET] - a
            if first:
                j += p[GAIN] * x[s]
            else:
                if derive:
                    for k in range(n):
                        de[k] *= keep_e
                        di[k] *= keep_i
                    de[DECAY_E] -= rate_e * keep_e * g_e
                    di[DECAY_I] -= rate_i * keep_i * g_i
                g_e, g_i = keep_e * g_e, keep_i * g_i
                for lag in range(min(3, t + 1)):
                    g_e += p[E0 + lag] * excited[s, t - lag]
                    g_i += p[I0 + lag] * inhibited[s, t - lag]
                    de[E0 + lag] += excited[s, t - lag]
                    di[I0 + lag] += inhibited[s, t - lag]
                j += p[REVERSAL_E] * g_e + p[REVERSAL_I] * g_i
            steep = abs(j) < STEEPEST
            j = min(max(j, -STEEPEST), STEEPEST)
            shut = g_e + g_i < 0.0  # strengths of synapses are not kept from falling below 0
            open_ = max(g_e + g_i, 0.0)
            g = leak + open_
            d = min(max(1.0 - r, 0.0), LONGEST)
            y = g * d
            shrink = 1.0 / (1.0 + y * (1.0 + y * (0.5 + y / 6.0)))
            fill = 1.0 + y * (0.5 + y / 6.0)
            inner = v + j * d * fill
            w = max(shrink * inner, LOWEST)
            over = min(max(w - p[ONSET], 0.0), HIGHEST)
            new = w + p[BEND] * d * over * over
            q = j - g
            u, m = q / (Q + abs(q)), 0.0
            theta = 1.0 + u * (p[H1] + u * (p[H2] + u * p[H3]))
            if not first:
                m = open_ / (M + open_)
                theta += m * (p[H4] + p[H5] * u + p[H6] * m)
            fired = spikes[s, t]
            z = sharpness * (new - theta)
            z = min(max(z, -200.0), 200.0)
            told = d > 0.0
            if told:
                loss += np.log1p(np.exp(-abs(z))) + max(-z if fired else z, 0.0)
            if derive:
                slope = -shrink * shrink * (1.0 + y * (1.0 + 0.5 * y)) * inner + shrink * j * d * (0.5 + y / 3.0)
                inside = w > LOWEST
                bent = 2.0 * p[BEND] * d * over if over < HIGHEST else 0.0
                du = Q / ((Q + abs(q)) * (Q + abs(q)))
                dm = M / ((M + open_) * (M + open_)) if not first else 0.0
                by_u = p[H1] + u * (2.0 * p[H2] + 3.0 * u * p[H3]) + (0.0 if first else m * p[H5])
                by_m = 0.0 if first else p[H4] + p[H5] * u + 2.0 * p[H6] * m
                free = 0.0 < d < LONGEST
                for k in range(n):
                    do[k] = 0.0 if shut else de[k] + di[k]
                    dg[k] = do[k]
                    dj[k] = -da[k]
                    if not first:
                        dj[k] += p[REVERSAL_E] * de[k] + p[REVERSAL_I] * di[k]
                dg[LEAK] += leak
                dj[OFFSET] += 1.0
                if first:
                    dj[GAIN] += x[s]
                else:
                    dj[REVERSAL_E] += g_e
                    dj[REVERSAL_I] += g_i
                if not steep:
                    dj[:] = 0.0
                for k in range(n):
                    dd = -dr[k] if free else 0.0
                    dy = d * dg[k] + g * dd
                    one = shrink * (dv[k] + fill * (d * dj[k] + j * dd)) + slope * dy
                    one = one if inside else 0.0
                    dw[k] = one * (1.0 + bent) + p[BEND] * over * over * dd
                    dz[k] = dw[k] - by_u * du * (dj[k] - dg[k]) - by_m * dm * do[k]
                dw[BEND] += d * over * over
                dz[BEND] += d * over * over
                dw[ONSET] -= bent
                dz[ONSET] -= bent
                dz[H1] -= u
                dz[H2] -= u * u
                dz[H3] -= u * u * u
                if not first:
                    dz[H4] -= m
                    dz[H5] -= m * u
                    dz[H6] -= m * m
                if told:
                    chance = 1.0 / (1.0 + np.exp(-z))
                    wrong, weight = chance - (1.0 if fired else 0.0), chance * (1.0 - chance)
                    if abs(wrong) > 1e-6 or weight > 1e-6:
                        for k in range(n):
                            gradient[k] += wrong * sharpness * dz[k]
                            scaled = weight * sharpness * sharpness * dz[k]
                            for l in range(k + 1):
                                hessian[k, l] += scaled * dz[l]
            # the adaptation, and what a spike does
            if derive:
                for k in range(n):
                    da[k] = keep * da[k] + (1.0 - keep) * p[COUPLING] * dw[k]
                da[ADAPT] += -adapt * keep * (a - p[COUPLING] * new)
                da[COUPLING] += (1.0 - keep) * new
            a = keep * a + (1.0 - keep) * p[COUPLING] * new
            if fired:
                rise = new - v
                part = (theta - v) / rise if rise > 1e-9 else 1.0
                crosses = 0.0 < part < 1.0
                part = min(max(part, 0.0), 1.0)
                at = 1.0 - d + part * d
                later = at > 0.0
                at = max(at, 0.0)
                times[s, t] = at
                if derive:
                    free = 0.0 < d < LONGEST
                    for k in range(n):
                        dd = -dr[k] if free else 0.0
                        dpart = 0.0
                        if crosses:
                            dtheta = dw[k] - dz[k]
                            dpart = ((dtheta - dv[k]) - part * (dw[k] - dv[k])) / rise
                        dr[k] = ((part - 1.0) * dd + d * dpart) if later else 0.0
                        dv[k] = 0.0
                    dr[REFRACTORY] += refractory
                    dv[RESET] = 1.0
                    da[JUMP] += 1.0
                r = refractory - (1.0 - at)
                v = p[RESET]
                a += p[JUMP]
            else:
                times[s, t] = 0.0
                v = new
                if derive:
                    for k in range(n):
                        dv[k] = dw[k]
                if r >= 1.0:
                    r -= 1.0
                else:
                    r = 0.0
                    if derive:
                        dr[:] = 0.0
            # a neuron at rest in its refractory time stays at its reset
    for k in range(n):
        for l in range(k):
            hessian[l, k] = hessian[k, l]
    return loss, gradient, hessian
