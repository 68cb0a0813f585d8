# %% [markdown]
# # What does my prior say, and does it matter?
#
# **In short.** Ask a prior before the fit: draw weights from it, run the chip, and see how often neurons spike and how
# sure the answers are. After the fit, compare priors by what they predict, and ask by power-scaling whether the answer
# hangs on the prior. All of this takes a file of some fifteen lines and no change anywhere else.

# %%
import logging

import arviz as az
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pymc as pm
import xarray as xr

from bayes_snn import LIFChip, fit, load_data, split_data
from bayes_snn.checks.leave_one_out import compare
from bayes_snn.checks.prior_check import prior_predictive
from bayes_snn.checks.prior_figures import draw_prior
from bayes_snn.posterior.weight_scales import weight_scales

data = split_data(load_data("wine"), n_train=80, seed=0)
chip = LIFChip((13, 5, 3), distortion="comparator", sigma=1.0, seed=0)
PRIORS = ("gaussian", "standard_normal", "hierarchical", "student_t", "horseshoe")

# %% [markdown]
# ## Which spike rates does a prior believe in?
#
# A neuron can spike at each of the 32 steps, so that rates run from 0 to 1 spikes per step. A neuron is *silent* if no
# input makes it spike, and *saturated* if it knows only off and full on.

# %%
before = {p: prior_predictive(chip, data.train_inputs, p, data.train_labels, draws=100) for p in PRIORS}
for name, found in before.items():
    print(f"{name}\n{found}\n")

# %%
draw_prior(before)

# %% [markdown]
# Under `standard_normal`, Normal(0, 1) for all weights and once the default, half of the output neurons are silent and
# half of the answers undecided. A neuron receives a sum over its fan-in: five hidden neurons that spike now and then
# hardly bring an output to its threshold with weights of size 1. So `gaussian`, the default, and all other priors have
# a scale for each layer, with which currents spread over three thresholds whatever the fan-in. And all of them but
# `standard_normal` have a random bias of each class, b_k ~ Normal(0, beta n_steps / 4), in the readout: equal counts do
# not leave an answer undecided, and an output neuron that never spikes costs its own part and no more. The scales:

# %%
print([round(scale, 2) for scale in weight_scales(chip)])

# %% [markdown]
# The horseshoe, which has a few huge weights, has the most saturated hidden neurons. A prior can also be plainly wrong.
# With a standard deviation of 0.05 hardly a current reaches the threshold:


# %%
def too_narrow(chip):
    pairs = zip(chip.spec.weight_names, chip.spec.weight_dims, strict=True)
    return [pm.Normal(name, 0, 0.05, dims=dims) for name, dims in pairs]


print(prior_predictive(chip, data.train_inputs, too_narrow, data.train_labels, draws=100))

# %% [markdown]
# Every output neuron is silent and every answer undecided. No fit was needed to see that.
#
# ## Which prior predicts best?
#
# Five short fits on the same training samples. Leave-one-out cross-validation (LOO) estimates from the draws alone how
# well each would predict a sample that it has not seen.

# %%
fits = {}
for name in PRIORS:
    settings = {"sampler": "sitewise", "draws": 250, "tune": 250, "chains": 4, "cores": 1, "seed": 0}
    fits[name] = fit(chip, data.train_inputs, data.train_labels, name, **settings)
table = compare(fits)
print(table[["elpd", "se", "elpd_diff", "dse", "weight", "k_high", "k_tied", "mixed"]].round(2).to_string())

# %% [markdown]
# Read the last three columns first. `k_high` counts samples for which the posterior without them would be too different
# from the one with them; `k_tied` those whose largest importance weights are all equal, as spike counts make them.
# Where `k_high` is not 0 or the chains have not `mixed`, elpd is a hint and no more. There are samples here that no fit
# has seen, so ask them:

# %%
rows = {}
for name, result in fits.items():
    score = result.evaluate(data.test_inputs, data.test_labels)["ensemble"]
    rows[name] = {"test accuracy": score["accuracy"], "test log score": score["log_score"], "elpd / n": 0.0}
    rows[name]["elpd / n"] = table.loc[name, "elpd"] / data.n_train
print(pd.DataFrame(rows).T.round(3).to_string())

# %%
axes = plt.figure(figsize=(7, 2.6), layout="constrained").subplots()
axes.errorbar(table["elpd"], range(len(table)), xerr=table["se"], fmt="o", color="#1b6ca8", capsize=3)
axes.set(
    yticks=range(len(table)),
    yticklabels=table.index,
    xlabel="elpd of the training samples (nats), with one standard error",
)
axes.set_ylim(len(table) - 0.5, -0.5)
axes.spines[["top", "right"]].set_visible(False)

# %% [markdown]
# Here the two agree, though LOO could not be trusted alone: weights of size 1 in every layer have the lowest log score,
# scales by the fan-in a higher one, and scales that are learned around these the highest. Accuracy does not tell them
# apart.
#
# ## Does the answer hang on the prior?
#
# Power-scaling asks what would change if the prior, or the likelihood, counted a little more or less. Above 0.05 it
# matters. Weights are the wrong place to ask, for hidden neurons swap roles; ask the scales, which do not care for the
# order of neurons, and the predictions. What is scaled is the prior of the scales alone, which the file chose: the
# weights have 80 terms below it, which together would swamp it.

# %%
result = fits["hierarchical"]
terms = result.posterior["log_likelihood/label"]
asked = result.posterior["posterior"].dataset[["scale_w_1", "scale_w_2"]]
asked["mean p(label)"] = np.exp(terms).mean("observation")
log_prior = result.posterior["log_prior"].dataset[["scale_w_1", "scale_w_2"]]  # what the prior file chose
tree = xr.DataTree.from_dict({"posterior": asked, "log_likelihood": terms.to_dataset(), "log_prior": log_prior})
logging.getLogger("arviz_stats").setLevel(logging.ERROR)  # it repeats in words what the table says
print(az.psense_summary(tree).to_string())

# %% [markdown]
# Sensitivity to the prior is above 0.05 in all three rows: 80 samples do not settle how large weights should be, and
# the prior of the scales is part of the answer. It is least for the predictions, on which the data have the most to
# say.
#
# ## Answer
#
# 1. Before a fit: `prior_predictive` and `draw_prior`. Silent outputs, or answers that are all sure, say that the
#    prior is wrong for the chip.
# 2. After it: `compare` and the scores of test samples. If they disagree, believe the test samples.
# 3. Then `az.psense_summary`, on scales and predictions.
#
# [docs/priors.md](../docs/priors.md) says how to write a prior of your own.
