# %% [markdown]
# # Can I believe this posterior?
#
# **In short.** Look in two places. In *weight space* the chains of a spiking network seldom agree, and need not: hidden
# neurons can swap roles without any change in what the chip computes. In *function space*, at the predictions, they
# must agree, or the fit is not finished. Where the weights disagree and the predictions agree, use the ensemble of
# draws; do not use the mean of the weights.

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from bayes_snn import LIFChip, diagnose, fit, load_data, split_data
from bayes_snn.estimates.metrics import accuracy
from bayes_snn.estimates.predict import probabilities
from bayes_snn.likelihood import Readout
from bayes_snn.reports.chains import rank_shares

data = split_data(load_data("wine"), n_train=100, seed=0).with_bias()
chip = LIFChip((14, 4, 3))  # an ideal chip with four hidden neurons
names = {"feature_names": data.input_names, "class_names": data.class_names}
settings = {"sampler": "tempered", "draws": 1000, "tune": 500, "chains": 4, "cores": 1, "seed": 0}
result = fit(chip, data.train_inputs, data.train_labels, **settings, **names)
posterior = result.posterior["posterior"].dataset

# %% [markdown]
# ## The verdict
#
# Every fit comes with a verdict in words. The rest of this notebook is where it comes from. This one was drawn by
# replica exchange, `tempered`, which moves weights and the biases of the classes together: on a simulated chip it mixes
# farther than `sitewise` does, for more time.

# %%
print(result.diagnosis.verdict)

# %% [markdown]
# ## Traces, layer by layer
#
# A trace should look like noise about one level, the same for all chains. Here is one weight of each layer, and below
# them two things that the weights do: the log-likelihood of all training samples, and the probability that the chip
# gives to the class of one of them.

# %%
terms = result.posterior["log_likelihood/label"]  # log p of each training label, for each draw
least_sure = int(np.argmin(terms.mean(("chain", "draw")).values))
shown = {
    "w_1: proline to hidden 0": posterior["w_1"].sel(pre_1="proline", post_1=0),
    "w_2: hidden 0 to class_0": posterior["w_2"].sel(pre_2=0, post_2="class_0"),
    "log-likelihood of all training samples": terms.sum("observation"),
    "probability of the class of one sample": np.exp(terms.isel(observation=least_sure)),
}
figure, axes = plt.subplots(2, 2, figsize=(9.5, 5.2), layout="constrained", sharex=True)
for axis, (name, draws) in zip(axes.flat, shown.items(), strict=True):
    axis.plot(draws.transpose("draw", "chain").values, lw=0.5)
    axis.set_title(name, fontsize=10)
    axis.spines[["top", "right"]].set_visible(False)
for axis in axes[1]:
    axis.set_xlabel("draw (a colour for each chain)")

# %% [markdown]
# ## Ranks
#
# Put the draws of all chains in order. If the chains sample the same distribution, each has its even share at every
# rank, and its line stays near the dashed one. A line that leans to one side belongs to a chain that sits higher or
# lower than the others.

# %%
figure, axes = plt.subplots(2, 2, figsize=(9.5, 5.2), layout="constrained", sharex=True, sharey="row")
for axis, (name, draws) in zip(axes.flat, shown.items(), strict=True):
    axis.axhline(1.0, color="0.4", ls="--", lw=1)
    for chain, share in enumerate(rank_shares(draws.transpose("chain", "draw").values)):
        axis.stairs(share, np.linspace(0, 1, len(share) + 1), baseline=None, color=f"C{chain}", lw=1.5)
    axis.set_title(name, fontsize=10)
    axis.spines[["top", "right"]].set_visible(False)
for axis in axes[:, 0]:
    axis.set_ylabel("share (1: even)")
    axis.set_ylim(bottom=0)
for axis in axes[1]:
    axis.set_xlabel("rank among all draws")

# %% [markdown]
# ## R-hat and effective draws in both spaces
#
# R-hat compares chains (1 is agreement; here 1.05 is the limit), the effective sample size (ESS) says how many
# independent draws the correlated ones are worth. `diagnose` gives, of each group, the values that 95% of its
# quantities do better than, and the share of quantities whose R-hat is above the limit.

# %%
first, second = (diagnose(posterior[[name]], terms) for name in ("w_1", "w_2"))
groups = {
    "weight space, layer 1": first.weights,
    "weight space, layer 2": second.weights,
    "function space, log-likelihood": first.log_likelihood,
    "function space, p(label)": first.function,
}
rows = {name: [g.n, g.r_hat, g.share_r_hat_above, g.ess] for name, g in groups.items()}
table = pd.DataFrame.from_dict(rows, orient="index", columns=["quantities", "R-hat", "above 1.05", "ESS"])
print(table.round({"R-hat": 2, "above 1.05": 2, "ESS": 0}).to_string())

# %% [markdown]
# ## Why the weights disagree
#
# Take the best draw and let the two hidden neurons that differ most swap places: their columns in the first layer,
# their rows in the second. On an ideal chip this is the same network under another name. Here are the two networks, and
# the one half-way between.

# %%
best = result.weights("map")
apart = np.linalg.norm(best[0][:, :, None] - best[0][:, None, :], axis=0)
i, j = np.unravel_index(apart.argmax(), apart.shape)
order = [{i: j, j: i}.get(k, k) for k in range(4)]
swapped = [best[0][:, order], best[1][order]]
between = [(a + b) / 2 for a, b in zip(best, swapped, strict=True)]
for name, w in {"best draw": best, "two neurons swapped": swapped, "half-way between": between}.items():
    p = probabilities(chip, w, data.train_inputs, readout=result.readout("map"))
    log_likelihood = np.log(p[np.arange(data.n_train), data.train_labels]).sum()
    print(f"{name:24} accuracy {accuracy(p, data.train_labels):.3f}   log-likelihood {log_likelihood:8.2f}")

# %% [markdown]
# With four hidden neurons there are 24 such orders, each a mode of the posterior with the same height. A chain finds
# one and stays near it, or wanders between some; another chain finds another. A mean over modes is a point between
# them, where the posterior may be low.
#
# ## Why the posterior mean can lose accuracy
#
# A chain that stays in one mode has a mean that is a network of that mode; one that has wandered has a mean between
# modes. The mean of all chains is near no draw at all. The ensemble averages predictions, which do not care for the
# order of neurons. `distil` trains one set of weights to answer as the ensemble does, for a chip that is programmed
# once.

# %%
predicted = {}
for c in range(4):
    mean = [posterior[w].sel(chain=c).mean("draw").values for w in chip.spec.weight_names]
    readout = Readout(bias=posterior["bias"].sel(chain=c).mean("draw").values)
    predicted[f"mean of chain {c}"] = probabilities(chip, mean, data.test_inputs, readout=readout)
result.distil()
for name in result.estimates:
    predicted[f"{name} of all chains"] = result.predict(data.test_inputs, name)
print("test accuracy")
print(pd.Series({name: accuracy(p, data.test_labels) for name, p in predicted.items()}).round(3).to_string())

# %% [markdown]
# ## What to do
#
# | what you see | what it means | what to do |
# |---|---|---|
# | R-hat good in both spaces | the posterior can be read weight by weight | use any estimate |
# | bad for weights, good for predictions | neurons swap roles | `ensemble`, or `distil` for a single set of weights |
# | bad for predictions too | the chains have not found the same functions | longer `tune` and `draws` |
# | R-hat good, few effective draws | the chains agree, but move slowly | longer `draws` |
#
# On a chip with distortions no two hidden neurons are equal, so that the modes are not of the same height any more; but
# they are still there. [README.md](../README.md#estimates) says more about the estimates, and what they reach there.
