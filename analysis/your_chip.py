# %% [markdown]
# # How do I train a chip of my own?
#
# **In short.** A chip is any object with a `spec` and a method `run(weights, inputs)` that returns spike counts.
# Nothing else has to be known of it: no gradient, no model, no hidden spikes. This notebook writes one in some twenty
# lines, trains it, reads the verdict, and breaks its link to see what happens.

# %%
import numpy as np
from IPython.display import Markdown

from bayes_snn import ChipError, ChipSpec, fit, load_data, load_fit, split_data, write_report
from bayes_snn.checks.prior_check import prior_predictive
from bayes_snn.checks.prior_figures import draw_prior

# %% [markdown]
# ## The chip
#
# This one is a simulation, so that the notebook runs everywhere; yours would talk to a board in `run`. It has three
# faults that its maker did not want: every neuron has a threshold of its own, every neuron has a gain of its own and a
# ceiling, and weights are kept in 5 bits.


# %%
class MyChip:
    spec = ChipSpec(layers=(4, 5, 3), n_steps=20, weight_range=(-2.0, 2.0), weight_bits=5)
    subsets = True  # showing half of the samples costs half

    def __init__(self, seed):
        rng = np.random.default_rng(seed)
        self.threshold = [0.3 * rng.normal(size=n) for n in self.spec.layers[1:]]
        self.gain = [np.exp(0.3 * rng.normal(size=n)) for n in self.spec.layers[1:]]

    def count_spikes(self, layer, current):  # of each neuron: none below its threshold, n_steps at its ceiling
        rate = np.tanh(self.gain[layer] * (current - self.threshold[layer]))
        return np.floor(self.spec.n_steps * np.maximum(rate, 0.0))

    def run(self, weights, inputs):
        in_bits = [np.round(np.clip(matrix, -2.0, 2.0) * 7.5) / 7.5 for matrix in weights]
        hidden = self.count_spikes(0, inputs @ in_bits[0])
        return self.count_spikes(1, hidden @ in_bits[1] / self.spec.n_steps).astype(int)


# %% [markdown]
# ## Does it answer?
#
# Data first: iris, four features and three classes, standardised on the training part. Then one run with weights from
# nowhere: a row of spike counts for each flower.

# %%
data = split_data(load_data("iris"), n_train=60, seed=0)
chip = MyChip(seed=1)
rng = np.random.default_rng(0)
some_weights = [rng.normal(size=shape) for shape in chip.spec.weight_shapes]
print(chip.run(some_weights, data.train_inputs[:5]))

# %% [markdown]
# ## What does the prior believe of it?
#
# Before a fit, the chip runs with weights drawn from the prior. If most output neurons stayed silent, or every answer
# were sure, the prior would be wrong for this chip. This chip does not show its hidden spikes, so only the output is
# seen.

# %%
before = prior_predictive(chip, data.train_inputs, "gaussian", data.train_labels, draws=100)
print(before)
draw_prior(before)

# %% [markdown]
# ## The fit
#
# Four chains, one weight at a time. `presentations` is what a chip on a bench would have had to show.

# %%
settings = {"sampler": "sitewise", "draws": 300, "tune": 300}
result = fit(chip, data.train_inputs, data.train_labels, class_names=data.class_names, **settings)
print(result.diagnosis.verdict)
print(f"{result.presentations:,} presentations, {result.passes:,.0f} passes of the training set")

# %% [markdown]
# Read the verdict before anything else. This fit is short, so that the notebook is, and the verdict says so and says
# what to do: on a simulated chip that costs some minutes, on a bench think of the presentations first. What the chip
# has learned all the same, the test flowers say:

# %%
scores = result.evaluate(data.test_inputs, data.test_labels)
rows = [f"| {name} | {score['accuracy']:.2f} | {score['log_score']:.2f} |" for name, score in scores.items()]
Markdown("\n".join(["| estimate | test accuracy | log score |", "|---|---|---|", *rows]))

# %% [markdown]
# The ensemble runs the chip with many draws and averages; `stacked` does so with a weight for each chain, as these have
# not mixed. The three others are one set of weights each, to be programmed once.
#
# ## What if the chip answers nonsense?
#
# A driver can lose bytes, return NaN, or count spikes that cannot be. Nothing of this may enter a chain as if it were a
# bad proposal. Below, the link breaks after 500 runs, in three ways. Each fit ends with a sentence that says what came.


# %%
class BrokenLink:
    def __init__(self, chip, spoil):
        self.chip, self.spec, self.spoil, self.runs = chip, chip.spec, spoil, 0

    def run(self, weights, inputs):
        self.runs += 1
        counts = self.chip.run(weights, inputs)
        return counts if self.runs < 500 else self.spoil(counts)


faults = {
    "a bit flips": lambda counts: counts + 64,
    "a value is lost": lambda counts: np.where(counts > 3, np.nan, counts),
    "a row is lost": lambda counts: counts[1:],
}
for what, spoil in faults.items():
    broken = BrokenLink(chip, spoil)
    try:
        fit(broken, data.train_inputs, data.train_labels, sampler="block", draws=500, tune=500, chains=1)
    except ChipError as error:
        print(f"{what}: {error}\n")

# %% [markdown]
# An exception that `run` raises itself ends the fit too, as the cause of a `ChipError`.
#
# ## Keep it
#
# A fit is a folder. Only a `LIFChip` can be made again from its description, so yours is passed when the folder is
# read. The predictions are the same, bit for bit. `write_report` makes one page of it all.

# %%
result.save("my_fit", overwrite=True)  # of an earlier run of this page
again = load_fit("my_fit", chip=chip)
same = np.array_equal(again.predict(data.test_inputs), result.predict(data.test_inputs))
report = write_report(again, "my_fit/report.html", test=(data.test_inputs, data.test_labels))
print(f"same predictions: {same}; {report.name} holds {report.read_text(encoding='utf-8').count('<svg')} figures")

# %% [markdown]
# ## Answer
#
# Write `spec` and `run`, look at the prior predictive check, fit, and read the verdict before the accuracies. If a run
# of your chip is slow, [the page on samplers](../docs/samplers.md) says which sampler asks for the fewest.
