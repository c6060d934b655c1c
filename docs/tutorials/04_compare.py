# %% [markdown]
# # Comparing AU models and human coders
#
# Twenty minutes. You need `pip install ".[measures,plots,video]"`. Nothing is downloaded. The [example
# files](01_photo.md#the-files) are in the current folder.
#
# Two programs rarely give the same AUs for the same face. How much do they agree, and which is nearer to what trained people
# see? We compare two networks and a table of OpenFace on one video, then two human coders with each other, and last a model
# with the coders, with intervals that are honest about how few people were filmed.
#
# ## Models on the same video
#
# Two versions of the bundled network read the same video. The third table is a file with the columns of OpenFace's output.
# OpenFace itself is not part of this package, so we write a small file of that form ourselves; with your own, the first line
# after it is all you need.

# %%
import numpy as np
import pandas as pd

from fgnet_plugin import OfflineDetector, compare

new = OfflineDetector("fgnet-rendered").detect("video.mp4", progress_bar=False)
old = OfflineDetector("fgnet-rendered-1").detect("video.mp4", progress_bar=False)

rng = np.random.default_rng(0)
made_up = {"frame": new["frame"] + 1, "confidence": 0.98, "success": 1}  # OpenFace counts frames from 1
for au in ("AU06", "AU12", "AU25"):
    intensity = np.clip(4 * new[au] - 0.5 + rng.normal(0, 0.4, len(new)), 0, 5)
    made_up |= {f"{au}_r": intensity.round(2), f"{au}_c": (intensity > 1.2).astype(float)}
pd.DataFrame(made_up).to_csv("of_video.csv", index=False)

# %%
openface = pd.read_csv("of_video.csv")
models = compare({"new": new, "old": old, "OpenFace": openface})
chosen = models.agreement[models.agreement["AU"].isin(["AU06", "AU12", "AU25"])]
chosen[["AU", "model_a", "model_b", "n", "pearson_r", "icc", "kappa", "prevalence_a", "prevalence_b"]].round(2)

# %% [markdown]
# `compare` knows OpenFace's columns: that intensities go from 0 to 5, that frames count from 1, and that `AU12_c` says
# whether the AU is present. Three measures of agreement answer three questions:
#
# | measure | do the models … | goes down when |
# | --- | --- | --- |
# | `pearson_r` | rise and fall together? | one sees movements that the other does not |
# | `icc` | give the same *values*? | one is always higher, or stretches the scale |
# | `kappa` | make the same *decisions*, beyond chance? | one has a laxer threshold; the AU is rare |
#
# κ is 1 for perfect agreement and 0 for that of chance. Always read it beside the prevalence (how often each model says
# "present"): for an AU that hardly occurs, κ can be near 0 although the models agree in 99 % of frames. An empty κ means that
# both models say the same in every frame: there is nothing to agree on.

# %% [markdown]
# Look at AU6 of the two networks: they rise and fall together (a high r), and yet they agree no better than chance (κ of 0).
# The old one never gets above 0.5 for these cheeks. It sees the movement, and its threshold is too high for this man: a
# matter of calibration, not of blindness.

# %%
# alt: for each AU, the agreement of each pair of models, and below how often each says that the AU is present
models.plot()

# %% [markdown]
# Two programs that agree are not thereby right: they may have learned the same mistake. The two networks here even learned
# from the same kind of drawn faces. For that question we need people.
#
# ## Two human coders
#
# Twelve people were filmed, and from each recording 30 frames were drawn. Anna and Ben, both FACS-trained, coded AU6 and AU12
# in all of them: 1 for present, 0 for absent, and 9 where a frame can't be coded. We make these codes up, together with
# scores of a model, so that we know what should come out: each coder slips in about 6 % of frames, and the model is a little
# too generous with some people and too strict with others, as real ones are.

# %%
people, each = 12, 30
person = np.repeat(np.arange(people), each)
rows = pd.DataFrame({"input": [f"P{p + 1:02}.mp4" for p in person], "frame": np.tile(np.arange(each) * 25, people)})
rows["subject"] = [f"P{p + 1:02}" for p in person]

anna, ben, scores = rows.copy(), rows.copy(), rows.copy()
for au, rate in {"AU06": 0.25, "AU12": 0.4}.items():
    truth = rng.random(len(rows)) < rng.beta(4 * rate, 4 * (1 - rate), people)[person]
    for coder in (anna, ben):
        slips = rng.random(len(rows)) < 0.06
        coder[au] = np.where(slips, ~truth, truth).astype(int)
        coder.loc[rng.random(len(rows)) < 0.01, au] = 9
    evidence = np.where(truth, 1.3, -1.3) + rng.normal(0, 1, len(rows)) + rng.normal(0, 0.9, people)[person]
    scores[au] = 1 / (1 + np.exp(-evidence))
anna.head(3)

# %% [markdown]
# A coder is compared like a model.

# %%
coders = compare({"Anna": anna.replace(9, np.nan), "Ben": ben.replace(9, np.nan)})
coders.agreement[["AU", "n", "kappa", "prevalence_a", "prevalence_b"]].round(2)

# %% [markdown]
# This κ is the ceiling: nobody can ask a model to agree with a coder better than a second coder does. If the ceiling is low,
# train the coders or sharpen the definition before you blame the model.
#
# ## A model against the coders
#
# Given `labels`, `compare` also measures accuracy. F1 balances missed and false AUs at the threshold of 0.5; AUC (area under
# the ROC curve) asks, whatever the threshold, how often a frame with the AU has the higher score: 0.5 is guessing, 1 is
# perfect.

# %%
frames = anna.drop(columns="subject").assign(row=range(len(anna)))
by_frame = compare({"model": scores}, labels=frames, cluster="row", bootstrap=500)
by_person = compare({"model": scores}, labels=anna, cluster="subject", bootstrap=500)
columns = ["AU", "n", "prevalence", "f1", "f1_low", "f1_high", "auc", "auc_low", "auc_high"]
pd.concat({"frames drawn": by_frame.accuracy, "people drawn": by_person.accuracy})[columns].round(2)

# %% [markdown]
# The values are the same, the intervals are not. The interval says how much the value would change with another sample. If
# single frames are drawn, "another sample" means other frames *of the same twelve people*. If people are drawn with all their
# frames (`cluster="subject"`), it means other people – which is what you want to know before you use the model in the next
# study. Report the second. (Without `cluster`, `compare` draws files where there are at least five, since most often every
# file shows another person.)
#
# With fewer than five people such an interval says little, and a warning tells you so.
#
# ## What goes wrong most often
#
# - **Frames are off by one.** This package and py-feat count from 0, OpenFace and many annotation tools from 1. `compare`
#   knows OpenFace's, and warns if labels would fit better one frame earlier or later.
# - **Only clear frames were coded.** Accuracy is then too good. Draw frames at random; `fgnet sample` does it.
# - **Coders saw the scores.** Then they agree with them.
# - **One threshold for everybody.** A high AUC with a low F1 means: the order is right, the threshold is not. That can be
#   mended: [calibrate](08_calibrate.md).
#
# ## Your own tables

# %%
scores.to_csv("model.csv", index=False)
anna.to_csv("anna.csv", index=False)

# %%
# !fgnet compare model.csv --labels anna.csv --cluster subject --plot agreement.png

# %% [markdown]
# Codes from ELAN and BORIS are read as they are: `--labels session.eaf`. See [comparing AU
# models](../usage.md#comparing-au-models) for all forms, and [agreement with human
# coders](../measures.md#agreement-with-human-coders) for events and base rates instead of frames.
#
# Next: [published weights](05_published_weights.md).
