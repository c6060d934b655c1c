# %% [markdown]
# # Train on your corpus
#
# Twenty minutes for this page; hours for a real training. You need `pip install ".[train,video,plots]"`. Nothing is
# downloaded.
#
# You have a few hundred pictures that people coded, and the network does badly on them: infants, a film in black and white,
# patients with a facial palsy. Then let the network go on learning with *your* pictures. We do this once from beginning to
# end, in small: pictures and a table of codes, aligned faces, a short training, and a fair test.
#
# ## The corpus
#
# We take computer-drawn heads in the style of an old film: black and white, hard light from one side, grain. The network that
# comes with the package was trained on drawn heads, too, but never on this style. Their AUs are known exactly, as if perfect
# coders had coded them. Every face is another person.

# %%
# !fgnet train render drawn --domain film --framing photo --size 224 --count 64 --workers 0

# %% [markdown]
# What you need are pictures (or videos) and **one table**: a row for each coded picture, with `input` (the file), `subject`
# (who it is), and a column for each AU: 1 where it is present, 0 where not, empty where it could not be coded. Frames of
# videos have a column `frame`, too, counted from 0. That is the same table that [comparisons](04_compare.md) take.

# %%
import pandas as pd

aus = ["AU01", "AU02", "AU04", "AU06", "AU10", "AU12", "AU15", "AU20", "AU24", "AU25", "AU26", "AU43"]
codes = pd.read_csv("drawn/faces.csv").rename(columns={"image_path": "input"})[["input", "subject", *aus]]
codes["input"] = "drawn/" + codes["input"]
codes.iloc[:48].to_csv("corpus.csv", index=False)  # to learn from
codes.iloc[48:].to_csv("test.csv", index=False)  # to be tested on: other people, not looked at until the end
codes.head(4)

# %% [markdown]
# `subject` is the most important column. Pictures of one person look alike; if a person is among the training *and* the test
# pictures, the network may recognise the person instead of the expression, and your accuracy is too good to be true. The
# program sets whole people aside, never single pictures.
#
# ## Aligned faces
#
# The network wants faces that are upright and all of the same size. One command finds the face in each picture, cuts it out,
# and keeps its landmarks, from which training knows where on the face each AU is.

# %%
# !fgnet train prepare own corpus.csv corpora --name film --size 128 --format png --workers 0

# %%
# alt: eight aligned faces of drawn heads in black and white, with hard light
from pathlib import Path

import matplotlib.pyplot as plt

pictures = sorted(Path("corpora/film/aligned_images").rglob("*.png"))[:8]
fig, axes = plt.subplots(1, 8, figsize=(10, 1.5), layout="constrained")
for ax, picture in zip(axes, pictures, strict=True):
    ax.imshow(plt.imread(picture))
    ax.axis("off")
plt.show()

# %% [markdown]
# Look through them, and read the summary above. In a quarter of these dark pictures no face was found;
# `corpora/film/report.csv` lists them. Of good recordings it should be a few in a hundred; if it is more, and more of some
# people than of others, your corpus is no longer the sample that you drew. A picture in which the wrong face was found, no
# program can tell you about.
#
# ## Train
#
# All settings of a training are in one file, so that you can keep it, send it, and repeat the training.

# %%
settings = f"""
data:
  csv:
    train: corpora/film/labels.csv
    image_root: corpora
    aus: [{", ".join(aus)}]
    val_fraction: 0.2            # so many of the people only choose the best epoch
  flip: true                     # mirrored faces are faces, too
model:
  start_from: fgnet-rendered     # go on from this network
  reset_interpreter: false       # and from what it knows of AUs
optimiser:
  lr: 2.0e-4
  batch_size: 12
  epochs: 3
  batches_per_epoch: null
  clip: 1.0
trainer:
  out: trained
  accelerator: cpu
  progress: false
export:
  corpus: drawn heads like an old film
"""
letters = Path("film.yaml").write_text(settings)

# %%
# !fgnet train detector --config film.yaml

# %% [markdown]
# That was a handful of steps, each with twelve faces; a real training has thousands. `trained/` now holds the network,
# `fgnet.safetensors`, and a log.

# %%
log = pd.read_csv("trained/metrics.csv")
log.dropna(subset="val_auc")[["epoch", "val_loss", "val_f1", "val_auc"]].round(3)

# %% [markdown]
# A row for each epoch, that is, each time all faces were seen: how well the network does on the people who were set aside for
# validation. Here it does not even get better, because some thirty faces teach this network nothing new. With your corpus,
# the curve rises, bends, and falls again when the network begins to learn the pictures by heart. The best epoch is kept.
#
# ## A fair test
#
# Was it worth it? Ask the pictures that took no part, and ask both networks, the one before and the one after. Everything is
# as in the [comparison](04_compare.md).

# %%
from fgnet_plugin import OfflineDetector, compare

test = pd.read_csv("test.csv")
files = list(test["input"])
tables = {
    "before": OfflineDetector("fgnet-rendered").detect(files, faces="largest", progress_bar=False),
    "after": OfflineDetector("trained/fgnet.safetensors").detect(files, faces="largest", progress_bar=False),
}
result = compare(tables, labels=test, cluster="subject", bootstrap=200).accuracy
result.pivot(index="AU", columns="model", values="auc")[["before", "after"]].round(2)

# %%
result.query("AU == 'mean'")[["model", "n", "f1", "f1_low", "f1_high", "auc", "auc_low", "auc_high"]].round(2)

# %% [markdown]
# There is no clear difference: the old network was good on these drawings already. And a dozen faces are far too few for a
# verdict, as the intervals say: those of both networks overlap, and a difference of a few hundredths is chance. With your
# corpus, test on at least thirty people, and report the intervals over *people*. If the new network is no better than the old
# one, keep the old one; you have learned something, too.
#
# Test once. If you change the settings, train again, test again, and keep the best, your test pictures have become training
# pictures. Choose by the validation people instead: that is what they are for.
#
# ## Use it
#
# The file works wherever a name of weights does:
#
# ```sh
# fgnet detect clips/ --offline --au-model trained/fgnet.safetensors --out clips.csv
# ```
#
# ## When you do it for real
#
# - **How many?** A few hundred coded pictures of at least thirty people, to adapt a network; ten thousand and more, and a
#   GPU, to train one from [a generator that knows faces](../training.md#the-three-stages), as the paper does.
# - **Start from** the published weights (`model.start_from: fgnet-bp4d`) if their licence allows what you plan, and leave the
#   AUs at those that it knows, or let it learn new ones (`reset_interpreter: true`).
# - **BP4D, DISFA**: `fgnet train prepare bp4d` reads the corpus as it is distributed, and the paper's folds are there.
# - **Interrupted?** The same command with `--resume` goes on where it was.
# - **Several folds and seeds**: `fgnet train evaluate` makes tables, intervals and a page of them.
#
# All settings: [training](../training.md). Next: [calibrate](08_calibrate.md).
