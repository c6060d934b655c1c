# %% [markdown]
# # Published weights
#
# Ten minutes, and a download of 2.5 GB when you do it for real. You need `pip install ".[feat]"`. The [example
# files](01_photo.md#the-files) are in the current folder.
#
# So far we used the small network that comes with the package. For research, use the weights that the authors of
# [FG-Net](https://arxiv.org/abs/2308.12380) published: the same method, but a network nearly two hundred times as large,
# which was trained on recordings of people. This page shows how to get them, how to be sure that they are what they claim to
# be, and what to write in your paper.
#
# ## Which one?
#
# There are two, named after the corpora that they were trained on.
#
# | name | AUs | trained on |
# | --- | --- | --- |
# | `fgnet-bp4d` | 1 2 4 6 7 10 12 14 15 17 23 24 | BP4D: 41 young adults in a laboratory, made to laugh, to feel pain … |
# | `fgnet-disfa` | 1 2 4 6 9 12 25 26 | DISFA: 27 adults who watched videos |
#
# Take the one that knows your AUs. If both do, take the one whose people and situations are more like yours. The terms of the
# weights allow research; read them before you use them in a product.
#
# Weights are kept in a folder of your account, or where `FGNET_HOME` says. On a shared machine, choose a folder that all can
# read.

# %%
import os

os.environ["FGNET_HOME"] = "weights"

# %%
# !fgnet weights list

# %% [markdown]
# ## Fetch them
#
# These two commands fetch the authors' files from their Google Drive, convert them into one file, and check it. They are not
# run on this page, because it is made without a network.

# %% tags=["not-run"]
# !fgnet weights download fgnet-bp4d
# !fgnet weights verify fgnet-bp4d

# %% [markdown]
# Google Drive sometimes refuses, when too many people ask in one day. The error then names two files, `model.pth` and
# `encoder.pt`, to be fetched in a browser; `fgnet weights convert` does the rest.
#
# ## What the conversion does
#
# We can watch it with stand-ins: two files that are laid out as the authors' are, but small, and filled with random numbers.
# (Skip this cell when you have the real ones.)

# %%
from pathlib import Path

import torch

from fgnet_plugin import FGNetConfig, convert_published
from fgnet_plugin.action_units import corpus_aus
from fgnet_plugin.checkpoints.published import shapes
from fgnet_plugin.ops.resample import blur_kernel

small = FGNetConfig(
    aus=corpus_aus("BP4D"),
    image_size=64,
    generator_size=128,
    generator_channels=(32, 32, 32, 32, 24, 16),
    style_dim=32,
    mapping_layers=2,
    encoder_channels=(16, 16, 32, 32),
    encoder_units=(1, 1, 2, 1),
    heatmap_size=16,
)


def numbers(name, shape):
    """A tensor's random stand-in, of sizes that a network can compute with."""
    if name.endswith("num_batches_tracked"):
        return torch.zeros((), dtype=torch.int64)
    if name.endswith("kernel"):
        return blur_kernel(torch.device("cpu"), torch.float32)
    if name.endswith("running_var"):
        return torch.ones(shape)
    return torch.randn(shape) * (2 / max(torch.Size(shape[1:]).numel(), 1)) ** 0.5


torch.manual_seed(0)
model = {part: {name: numbers(name, shape) for name, shape in of.items()} for part, of in shapes(small).items()}
torch.save(model, "model.pth")
torch.save({"latent_avg": torch.randn(small.n_styles, small.style_dim)}, "encoder.pt")
convert_published("model.pth", "encoder.pt", "BP4D", "stand-in.safetensors", config=small)

# %% [markdown]
# With the real files you would write `fgnet weights convert model.pth encoder.pt --corpus BP4D`, without `config`. Two things
# are worth knowing:
#
# - A `.pth` file can hide a program that runs when the file is opened. Here nothing in it is ever executed: only tensors are
#   read, and a file that holds more is refused.
# - Every tensor's name and size is checked. A truncated download is an error, never a network that is quietly wrong.
#
# The result carries a checksum over all numbers, which `verify` computes again, and says what it was made of.

# %%
# !fgnet weights verify stand-in.safetensors

# %% [markdown]
# What happens with a file that is damaged? We change one byte.

# %%
damaged = bytearray(Path("stand-in.safetensors").read_bytes())
damaged[-100] ^= 1
size = Path("damaged.safetensors").write_bytes(damaged)

# %%
# !fgnet weights verify damaged.safetensors

# %% [markdown]
# ## Use them
#
# From here on all is as in the [first tutorial](01_photo.md): only the detector is another one. With the real weights:

# %% tags=["not-run"]
from fgnet_plugin import Detector

detector = Detector(au_model="fgnet-bp4d")  # on an NVIDIA GPU: device="cuda"
fex = detector.detect("video.mp4", save="fex.csv")

# %% [markdown]
# Py-feat's own models, for faces, landmarks and emotions, are downloaded at the first use, too. With the published weights a
# face takes about a second on two CPU cores: for videos take a machine with a GPU, or every fifth frame (`skip_frames=5`).
#
# Any file will do in the place of a name, here our stand-in. Its scores mean nothing – it has never seen a face – but the way
# is the same.

# %%
from fgnet_plugin import OfflineDetector

detector = OfflineDetector("stand-in.safetensors")
table = detector.detect("photo.jpg", save="photo.csv", progress_bar=False)
table.filter(like="AU").round(2)

# %% [markdown]
# Twelve AUs have scores, those of BP4D; AU25 has none, although the person's lips are apart, because BP4D's coders did not
# code it. An AU that a network does not know is empty, never 0.
#
# ## Which weights was this table made with?
#
# In half a year you will want to know. The table's `.run` file knows.

# %%
# !fgnet provenance photo.csv

# %% [markdown]
# ## In your paper
#
# Name the weights and the digest above, cite FG-Net, and cite the corpus, too. Do not report scores on BP4D or DISFA
# themselves as held-out accuracy: the authors do not say which people a file was trained on.
#
# To be honest about this package: the comparison with the authors' code was made with generated weights like those above, at
# full size. It shows that both compute [the same numbers](../numerics.md), not how well the real weights do on your
# recordings. Find that out yourself, with a [comparison](04_compare.md) on some of your own coded frames.
#
# Next: [your own recordings on a cluster](06_cluster.md).
