# %% [markdown]
# # Calibrate
#
# Half an hour. You need `pip install ".[measures,plots,train]"`. Nothing is downloaded.
#
# A score of 0.7 does not mean 70 %. And the share of frames with a score above 0.5 is not how often people smile. If you want
# to write either in a paper, let people code a few dozen faces of *your* recordings. From these, we learn what the scores
# mean in your study, and get numbers with intervals that hold even where the network is wrong.
#
# ## A study whose truth we know
#
# To see whether calibration tells the truth, we need the truth. So we draw twenty people on the computer, photograph each of
# them twelve times with other expressions, and let the bundled network read the faces. The drawing program knows which AUs it
# has drawn. (With your own data, `fgnet detect` makes the table; skip this cell.)

# %%
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch

import fgnet_plugin
from fgnet_plugin import measures
from fgnet_plugin.training.rendered import DOMAINS, head_expressions, head_scene, heads
from fgnet_plugin.training.rendered.head_corpus import AUS, photograph

network = fgnet_plugin.load("fgnet-rendered")
aus = ["AU06", "AU12", "AU20"]
people, pictures_each = 20, 12
light = replace(DOMAINS["webcam"], occluders=0.0)

tables, faces = [], []
for person in range(people):
    rng = np.random.default_rng([8, person])
    head = head_scene.draw_person(rng, light, heads.draw_head(rng))
    images, truth = [], []
    for _ in range(pictures_each):
        expression, gaze = head_expressions.draw_expression(rng, heads.DRAWN)
        shot = photograph(rng, light, head, expression, gaze, 128, "aligned")
        images.append(torch.from_numpy(shot.image).permute(2, 0, 1))
        labels, _ = head_expressions.label(expression, heads.DRAWN, shot.parted, eyes_hidden=shot.eyes_hidden)
        truth.append([labels[AUS.index(au)] for au in aus])
    scores = network.predict(torch.stack(images)).scores.numpy()[:, [network.aus.index(au) for au in aus]]
    of_person = pd.DataFrame(scores, columns=aus).assign(input=f"P{person + 1:02}.mp4", frame=range(pictures_each))
    of_person[[f"{au}_truth" for au in aus]] = truth
    tables.append(of_person)
    faces += images

everything = pd.concat(tables, ignore_index=True)
fex = everything[["input", "frame", *aus]]

# %%
# alt: eight drawn people with different expressions
fig, axes = plt.subplots(1, 8, figsize=(10, 1.5), layout="constrained")
for ax, face in zip(axes, faces[:: len(faces) // 8], strict=False):
    ax.imshow(face.permute(1, 2, 0))
    ax.axis("off")
plt.show()

# %% [markdown]
# ## Which faces to code
#
# Do not choose them yourself: people choose clear faces, and on clear faces every network is good. `coding_sheet` draws them
# at random, equally many of each person, and some more with high scores, so that rare AUs are seen. It remembers with which
# chance each face was drawn (`weight`), and later steps make up for it.

# %%
sheet = measures.coding_sheet(fex, "input", 120, aus=aus)
sheet.head(4)

# %% [markdown]
# The command `fgnet sample` also cuts the faces out as pictures with neutral names, so that coders see neither who it is nor
# what the network said. Your coders fill in 1, 0, or 9 where they can't decide. Here, the truth is our coder.

# %%
keys = everything.set_index(["input", "frame"]).loc[pd.MultiIndex.from_frame(sheet[["input", "frame"]])]
coded = sheet.copy()
for au in aus:
    coded[au] = keys[f"{au}_truth"].fillna(9).astype(int).to_numpy()
coded[["face", "input", "frame", *aus]].head(4)

# %% [markdown]
# ## From scores to probabilities
#
# `subject` says who is filmed; here every file shows another person. A curve is learned from some people and judged on
# others, so that nobody is judged by what was learned from their own face. With a few hundred coded faces take `"platt"`, a
# smooth curve with two numbers; with more than a thousand, `"isotonic"`, which may take any rising shape.

# %%
made_by = measures.made_by("fgnet-rendered", "bundled", "bundled")  # a table of `detect` says this by itself
calibration = measures.calibrate(fex, coded, subject="input", method="platt", made_by=made_by, bootstrap=300)
report = calibration.report
report[["AU", "n", "subjects", "prevalence", "ece_before", "ece", "brier_before", "brier", "threshold"]].round(3)

# %% [markdown]
# - `ece`, the expected calibration error, is the mean distance between what was said and what was true: 0.1 means that "70 %"
#   was on the average 60 % or 80 %. It is never quite 0 in a sample.
# - `brier` is the mean squared error of the probabilities; it also punishes a network that always says the base rate.
# - `threshold` is the probability from which the AU should count as present. It need not be 0.5.
#
# "Before" are the scores taken as they are. If "after" is not clearly better, the scores were good already, or you have coded
# too few faces.

# %%
# alt: for each of three AUs, how often it was present at each predicted probability, before and after calibration
calibration.plot()

# %% [markdown]
# On the diagonal, what was said is what was true. A curve below it: the network sees the AU too often.
#
# Now apply it to all faces, also to those that nobody coded.

# %%
probabilities = measures.calibrated(fex, calibration, made_by=made_by)
pd.concat([fex["AU20"].rename("score"), probabilities[["AU20", "AU20_present"]]], axis=1).iloc[:5].round(2)

# %% [markdown]
# A calibration holds for the same weights, the same face finder, and people and recordings like the coded ones. The program
# refuses others' scores; it can't see that your next study is filmed in another light.
#
# ## When the network should not decide
#
# Instead of yes or no, let it say "undecided" where it can't tell. The sets promise: of faces with the AU, of a new person,
# at least 90 % are called "present" or "undecided"; likewise for those without.

# %%
sets = measures.conformal_sets(fex, calibration, made_by=made_by)
sets.apply(lambda column: column.value_counts(normalize=True)).round(2)

# %% [markdown]
# Many "undecided" are no failure of the method: they are its honest answer for few coded people and a network that is unsure.
# Code these faces by hand, or leave the AU out.
#
# ## How often? With an interval that holds
#
# The question of most studies is a rate. There are three ways to it:
#
# - *naive*: let the network decide all faces. Many faces, but its mistakes do not average out.
# - *coded only*: use the human codes and nothing else. Right, but few.
# - *prediction-powered*: take the network's rate in all faces, and correct it by what it got wrong in the coded ones.

# %%
rates = measures.prediction_powered(fex, coded, subject="input")
rates["truth"] = [everything[f"{au}_truth"].mean() for au in rates["AU"]]
rates[["AU", "truth", "naive", "naive_low", "naive_high", "coded_only", "estimate", "low", "high"]].round(2)

# %%
# alt: for each AU the true rate and three estimates with their intervals
fig, ax = plt.subplots(figsize=(7, 3), layout="constrained")
ways = {"naive": ("naive", "C7"), "coded_only": ("coded only", "C1"), "": ("prediction-powered", "C0")}
for i, (way, (label, colour)) in enumerate(ways.items()):
    middle = rates[way or "estimate"]
    low, high = (rates[f"{way}_{end}".strip("_")] for end in ("low", "high"))
    at = np.arange(len(rates)) + 0.22 * (i - 1)
    ax.errorbar(at, middle, [middle - low, high - middle], fmt="o", color=colour, capsize=3, label=label)
for i, truth in enumerate(rates["truth"]):
    ax.plot([i - 0.35, i + 0.35], [truth, truth], "k-", lw=1, label="truth" if i == 0 else None)
ax.set_xticks(range(len(rates)), rates["AU"])
ax.set(ylabel="share of faces with the AU", ylim=(0, None))
ax.legend()
plt.show()

# %% [markdown]
# Look at AU20, the lips stretched sideways: the network sees it far too often, and its interval is narrow *around a wrong
# number*. More recordings would make it narrower still and not one bit more right. The prediction-powered intervals are as
# wide as they must be. Where the network is good (AU6), they are narrower than those of the codes alone; where it is bad
# (AU20), it has nothing to add, and the interval is a little wider. Coding more faces, of more people, makes them narrower.
#
# The same works for differences: `predictors=["condition"]` estimates how much more often people smile in one condition –
# with codes from both conditions, also where light or pose made the network err more in one of them.
#
# ## Your own recordings
#
# ```sh
# fgnet detect clips --offline --out fex.csv
# fgnet sample fex.csv --subject input --half-width 0.05 --out coding
# fgnet calibrate fex.csv coding/sheet.csv --key coding/key.csv --subject input --out calibration.json --plot reliability.png
# fgnet apply-calibration fex.csv calibration.json --sets --out probabilities.csv
# fgnet estimate fex.csv coding/sheet.csv --key coding/key.csv --subject input --out rates.csv
# ```
#
# After the second line, give `coding/sheet.csv` and the pictures to your coders, and keep `coding/key.csv` from them. Plan
# with at least ten people, better twenty: more people help more than more faces of each. All formulas, and when not to use
# them: [calibration, uncertainty and valid inference](../measures_calibration.md).
