# %% [markdown]
# # Can I believe this posterior?
#
# **In short.** Look in two places. In *weight space* the chains of a spiking network seldom agree, and need not: hidden
# neurons can swap roles without any change in what the chip computes. In *function space*, at the predictions, they
# must agree, or the fit is not finished. Where the weights disagree and the predictions agree, use the ensemble of
# draws; do not use the mean of the weights.

# %%
import arviz as az
import numpy as np
import pandas as pd
import xarray as xr

from bayes_snn import LIFChip, diagnose, fit, load_data, split_data
from bayes_snn.metrics import accuracy
from bayes_snn.predict import probabilities

data = split_data(load_data("wine"), n_train=100, seed=0)
chip = LIFChip((13, 4, 3))  # an ideal chip with four hidden neurons
names = {"feature_names": data.feature_names, "class_names": data.class_names}
result = fit(chip, data.train_inputs, data.train_labels, draws=1000, tune=500, chains=4, cores=1, seed=0, **names)
posterior = result.posterior["posterior"].dataset

# %% [markdown]
# ## The verdict
#
# Every fit comes with a verdict in words. The rest of this notebook is where it comes from.

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
function = xr.Dataset(
    {"log-likelihood": terms.sum("observation"), "p(label)": np.exp(terms.isel(observation=least_sure, drop=True))}
)
weights = xr.Dataset(
    {
        "w_1: proline to hidden 0": posterior["w_1"].sel(pre_1="proline", post_1=0, drop=True),
        "w_2: hidden 0 to class_0": posterior["w_2"].sel(pre_2=0, post_2="class_0", drop=True),
    }
)
both = xr.DataTree.from_dict({"posterior": xr.merge([weights, function])})
_ = az.plot_trace(both, figure_kwargs={"figsize": (9, 6)})

# %% [markdown]
# ## Ranks
#
# Put the draws of all chains in order. If the chains sample the same distribution, each has its share at every rank,
# and its line stays inside the grey band: the line is how far the chain's ranks are from even. One that leaves it sits
# too high or too low.

# %%
_ = az.plot_rank(both, figure_kwargs={"figsize": (9, 6)})

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
# Take the best draw and let two hidden neurons swap places: their columns in the first layer, their rows in the second.
# On an ideal chip this is the same network under another name. Here are the two networks, and the one half-way between.

# %%
best = result.weights("map")
order = [1, 0, 2, 3]
swapped = [best[0][:, order], best[1][order]]
between = [(a + b) / 2 for a, b in zip(best, swapped, strict=True)]
for name, w in {"best draw": best, "hidden 0 and 1 swapped": swapped, "half-way between": between}.items():
    p = probabilities(chip, w, data.train_inputs)
    log_likelihood = np.log(p[np.arange(data.n_train), data.train_labels]).sum()
    print(f"{name:24} accuracy {accuracy(p, data.train_labels):.3f}   log-likelihood {log_likelihood:8.2f}")

# %% [markdown]
# With four hidden neurons there are 24 such orders, each a mode of the posterior with the same height. A chain finds
# one and stays near it, or wanders between some; another chain finds another. A mean over modes is a point between
# them, where the posterior may be low.
#
# ## Why the posterior mean can lose accuracy
#
# The mean of the draws of one chain stays within what that chain has visited. The mean of all chains need not be near
# any draw. The ensemble averages predictions, which do not care for the order of neurons.

# %%
chains = {
    f"mean of chain {c}": [posterior[w].sel(chain=c).mean("draw").values for w in chip.spec.weight_names]
    for c in range(4)
}
shown = {name: probabilities(chip, w, data.test_inputs) for name, w in chains.items()}
shown |= {
    f"{name} of all chains": result.predict(data.test_inputs, name) for name in ("mean", "map", "medoid", "ensemble")
}
print(pd.Series({name: accuracy(p, data.test_labels) for name, p in shown.items()}).round(3).to_string())

# %% [markdown]
# ## What to do
#
# | what you see | what it means | what to do |
# |---|---|---|
# | R-hat good in both spaces | the posterior can be read weight by weight | use any estimate |
# | bad for weights, good for predictions | neurons swap roles | `ensemble`, or `medoid` for a single set of weights |
# | bad for predictions too | the chains have not found the same functions | longer `tune` and `draws` |
# | R-hat good, few effective draws | the chains agree, but move slowly | longer `draws` |
#
# On a chip with distortions no two hidden neurons are equal, so that the modes are not of the same height any more; but
# they are still there. [README.md](../README.md#estimates) has the accuracies of all four estimates on such chips.
