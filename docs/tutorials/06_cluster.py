# %% [markdown]
# # Your own recordings on a cluster
#
# Fifteen minutes. You need `pip install ".[video,scale]"`. Nothing is downloaded. The [example files](01_photo.md#the-files)
# are in the current folder.
#
# One video takes minutes, five hundred take days. This page shows how to spread them over the cores of one machine and over
# the machines of a cluster, what happens when something breaks in the night, and how to read the result. You can try
# everything but the last step on a laptop.
#
# ## How long will it take?
#
# Ask before you start. Nothing is written.

# %%
# !fgnet detect clips/ --offline --estimate

# %% [markdown]
# ## One machine, all cores
#
# With a *folder* as `--out`, the result is a dataset: a table for each recording. Two processes share the work here; take as
# many as your machine has cores. We also put a file into the folder that is no video, as happens in every real study.

# %%
from pathlib import Path

letters = Path("clips/P17.mp4").write_text("the camera's battery was empty")

# %%
# !fgnet detect clips/ --offline --out corpus/ --workers 2 --relative-to clips

# %% [markdown]
# The two videos are done. The broken one is named, and did not stop the others; the command's exit status is 1, so that a
# script notices.
#
# Did the machine crash in the middle of the night, or did you press Ctrl-C? **Type the same command again.** What is done is
# not done again, and nothing is ever half there: each recording's table appears as a whole or not at all.
#
# ## Where are we?
#
# `fgnet status` looks at the folder, also from another terminal while the work goes on.

# %%
# !fgnet status corpus/ --failed

# %% [markdown]
# Look at each file in this list before you analyse anything. If recordings fail more often in one condition than in the other
# – dim rooms, say – the ones that are left are no fair sample.
#
# ## Read the dataset
#
# pandas, R's arrow, polars and DuckDB read the folder as one table. Name the columns that you need: all of them are many.

# %%
import pandas as pd

frames = pd.read_parquet("corpus", columns=["input", "frame", "time", "AU06", "AU12"])
frames.groupby("input")[["AU06", "AU12"]].mean().round(2)

# %% [markdown]
# Everything in this package that takes a table takes the folder, too: `fgnet summarize corpus/`, `fgnet compare corpus/ …`,
# `fgnet report corpus/`. The [study](03_study.md) goes on from here.
#
# ## A cluster
#
# University clusters mostly run SLURM: you hand in a script, and it starts when machines are free. You need not write the
# script yourself. Say how many machines may share the work and how long each may take at most.

# %%
# !fgnet slurm clips/ --offline --out corpus/ --relative-to clips --tasks 4 --cpus-per-task 8 --time 4:00:00 > job.sh

# %%
print(Path("job.sh").read_text())

# %% [markdown]
# Four tasks, and each takes its own quarter of the recordings. They do not talk to each other, so the first may start tonight
# and the last tomorrow. Copy recordings to a disk that all machines see, install the package there, and hand the script in.
# This cell is not run here, because there is no SLURM on the machine that made this page.

# %% tags=["not-run"]
# !sbatch job.sh
# !squeue --me
# !fgnet status corpus/

# %% [markdown]
# Some tasks ran out of time? `sbatch job.sh` again, also with another number of tasks: what is missing is done.
#
# Three questions to ask the people who run your cluster:
#
# 1. *Which partition has GPUs?* With [published weights](05_published_weights.md) use them: `--gpus-per-task 1
#    --sbatch=--partition=NAME`, and leave out `--offline`. The bundled network needs none.
# 2. *Do the machines see the internet?* Mostly not. Fetch weights beforehand, into a folder that `FGNET_HOME` names.
# 3. *May recordings of participants be there?* Ask your ethics board, too. The tables hold no pictures.
#
# The scripts were checked and run with a stand-in, but never on a real SLURM yet: begin with two recordings, and tell us.
#
# More: [many recordings](../scale.md). Next: [train on your corpus](07_train.md).
