# %% [markdown]
# # A study of two conditions
#
# Half an hour. You need `pip install ".[measures,plots,video]"`. Nothing is downloaded. The [example
# files](01_photo.md#the-files) are in the current folder.
#
# Do people smile more while they watch a funny clip than a neutral one? We go the whole way: recordings, a table of frames,
# one number for each person and condition, a look at the data, a t-test, and a mixed model. At the end there is a sentence
# for your results section.
#
# ## The recordings
#
# In your study you have a video for each person and clip. Here we need one whose answer is known, so that we can check
# whether we find it. We make it up from a real video, in which a man looks neutral at first and then smiles: each "recording"
# is 20 seconds that are pieced together from his neutral frames and his smiles. We decide how often each of our sixteen
# people smiles, on average **1.5 times** in a neutral clip and **3 times** in a funny one, and some people smile more than
# others. If you have recordings of your own, run the first cell, which loads the packages, and skip the second:
# [below](#your-own-recordings) are the commands that take its place.

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import statsmodels.formula.api as smf
from scipy import stats

from fgnet_plugin import OfflineDetector
from fgnet_plugin.measures import Steps, from_folders, summarize

# %%
real = OfflineDetector().detect("video.mp4", progress_bar=False)
aus = ["AU01", "AU04", "AU06", "AU12", "AU25"]
neutral_face, smile = real[aus].iloc[:16].to_numpy(), real[aus].iloc[20:72].to_numpy()

rng = np.random.default_rng(5)
recordings = []
for person in range(1, 17):
    smiler = rng.gamma(2, 1 / 2)  # how much this person smiles, 1 on average
    rest = rng.normal(0, 0.03, len(aus))  # what this person's resting face looks like to the network
    for condition, smiles in {"neutral": 1.5, "funny": 3.0}.items():
        for clip in (1, 2):
            scores = neutral_face[rng.integers(len(neutral_face), size=500)]  # 20 s at 25 frames per second
            for start in rng.integers(448, size=rng.poisson(smiles * smiler)):
                scores[start : start + 52] = smile
            table = pd.DataFrame(np.clip(scores + rest, 0, 1), columns=aus)
            name = f"study/{condition}/P{person:02}/clip{clip}.mp4"
            recordings.append(table.assign(input=name, frame=range(500), time=np.arange(500) / 25))

frames = pd.concat(recordings, ignore_index=True)
frames.to_csv("study.csv", index=False)
print(f"{frames['input'].nunique()} recordings, {len(frames):,} frames")

# %% [markdown]
# The recordings are sorted into folders, `study/condition/person/clip`. That is all the program needs to know about your
# design: the folders tell who and what each recording is.

# %%
factors = from_folders(list(frames["input"].unique()), ["condition", "subject"])
factors.sample(4, random_state=0)

# %% [markdown]
# ## Decide first
#
# With twelve AUs, several measures and a handful of options there are hundreds of analyses, and some of them are "significant"
# in any data. So decide before you look, best in a preregistration. Ours: **AU12, base rate** (the share of time in which lip
# corners are pulled up), a median of 0.2 s against trembling scores, frames without a face do not count.
#
# ## From frames to people
#
# We have 32,000 frames, but 16 people. Frames of one person are not independent: if we gave all of them to a t-test, it would
# believe that we had asked 32,000 people. So we first make a row for each person and condition.

# %%
by_person = summarize("study.csv", by="person", factors=factors, steps=Steps(smooth="median", window=0.2))
by_person.long.query("AU == 'AU12'")[["subject", "condition", "seconds", "base_rate", "mean", "events"]].head(6).round(2)

# %% [markdown]
# How much of the data was used? `exclusions` has a row for each recording and the sum at the end; it belongs in your paper.

# %%
by_person.exclusions.tail(3)

# %% [markdown]
# ## Look at the data
#
# A line for each person. Without this picture you would not notice a single person who makes the whole effect, or a camera
# that failed in one condition.

# %%
# alt: a line for each of sixteen people from the neutral to the funny condition; nearly all lines rise
au12 = by_person.long[by_person.long["AU"] == "AU12"]
wide = au12.pivot(index="subject", columns="condition", values="base_rate")[["neutral", "funny"]]

fig, ax = plt.subplots(figsize=(4.5, 3.5), layout="constrained")
ax.plot([0, 1], wide.to_numpy().T, color="0.6", lw=1, marker="o", ms=4)
ax.plot([0, 1], wide.mean(), color="C0", lw=3, marker="o", label="mean")
ax.set_xticks([0, 1], ["neutral", "funny"])
ax.set(ylabel="share of time with AU12", ylim=(0, 1), xlim=(-0.3, 1.3))
ax.legend()
plt.show()

# %% [markdown]
# ## A t-test
#
# Every person was in both conditions, so each is compared with themselves: a paired t-test. People who lack a condition have
# no difference; we say how many there are, instead of losing them silently.

# %%
complete = wide.dropna()
print(f"people left out because they lack a condition: {len(wide) - len(complete)}")

difference = complete["funny"] - complete["neutral"]
test = stats.ttest_rel(complete["funny"], complete["neutral"])
interval = test.confidence_interval()
print(f"mean difference {difference.mean():.3f}, 95 % CI [{interval.low:.3f}, {interval.high:.3f}]")
print(f"t({test.df}) = {test.statistic:.2f}, p = {test.pvalue:.2g}, d_z = {difference.mean() / difference.std():.2f}")

# %% [markdown]
# Read the difference first: it has a unit, the share of time. 0.1 is six seconds of each minute. The interval says how sure
# we are of it, p only whether no difference at all would be surprising. d<sub>z</sub> is the difference in standard
# deviations of the differences; it depends on how many clips each person saw, so compare it with other studies with care.
#
# If you test several AUs, correct for it. Here for all five; those other than our preregistered AU12 are exploratory.

# %%
rows = []
for au, of_au in by_person.long.groupby("AU"):
    both = of_au.pivot(index="subject", columns="condition", values="mean").dropna()
    found = stats.ttest_rel(both["funny"], both["neutral"])
    rows.append({"AU": au, "difference": (both["funny"] - both["neutral"]).mean(), "p": found.pvalue})
every_au = pd.DataFrame(rows)
every_au["p corrected"] = stats.false_discovery_control(every_au["p"])
every_au.round(4)

# %% [markdown]
# The AUs of a smile go together, here AU6, AU12 and AU25: five tests are not five independent findings. And every AU whose
# scores differ between a neutral and a smiling face, however little, is "significant" here, also those that nobody would call
# present. Look at the size of a difference first: one hundredth of a score is nothing that a person could see.
#
# ## A mixed model
#
# The t-test took each person's two clips together. A mixed model works with the recordings themselves: it knows which belong
# to the same person, copes with people who lack some, and can take in more, such as the order of the clips. We need a row for
# each recording.

# %%
by_recording = summarize("study.csv", factors=factors, steps=Steps(smooth="median", window=0.2)).long
data = by_recording[by_recording["AU"] == "AU12"].copy()
data["funny"] = (data["condition"] == "funny").astype(int)  # 0 in the neutral condition, 1 in the funny one
model = smf.mixedlm("base_rate ~ funny", data, groups=data["subject"]).fit()
model.summary().tables[1]

# %% [markdown]
# - *Intercept*: the share of time with AU12 in the neutral condition.
# - *funny*: how much more in the funny one, with its interval. It is the number to report. It is the same as in the t-test,
#   because everybody saw as many clips in both conditions; the interval is not quite the same, as the model assumes that the
#   condition has the same effect on everybody.
# - *Group Var*: how much people differ from each other, as a variance; its square root is a standard deviation, in shares of
#   time. A warning about "the boundary of the parameter space" would mean that it is near 0: people differ no more than clips
#   do.
#
# The same in R: `lmer(base_rate ~ condition + (1 | subject), data)`, with the rows of AU12 in `long.csv` of the [command
# below](#your-own-recordings) as `data`; leave out its `--by person`, so that there is a row for each recording. R puts
# "funny" before "neutral", so the difference has a minus sign there. If people may also differ in how much the condition does
# to them – they often do – give each a slope, too: `(condition | subject)`, in Python `re_formula="~funny"`.
#
# ## Did we find the truth?
#
# We made the study, so we know: on average 1.5 more smiles in 20 seconds. How long is a smile, to the network?

# %%
in_smile = (real["AU12"].iloc[20:72] > 0.5).sum() / 25
print(f"AU12 is present for {in_smile:.2f} s of a smile, so we put in 1.5 × {in_smile:.2f} / 20 = {1.5 * in_smile / 20:.3f}")
print(f"the t-test found {difference.mean():.3f} [{interval.low:.3f}, {interval.high:.3f}]")

# %% [markdown]
# The truth is within the interval. The estimate itself is a little lower: some smiles overlap, and sixteen people are a small
# sample. In a real study you never get to see this line. And what we put in are *detected* smiles: a network that misses
# smiles in a dim room would show a difference between a dim and a bright condition although people smile alike. Light, camera
# and pose must not differ between your conditions; where they might, let people code a few hundred faces and use
# [calibration](08_calibrate.md).
#
# ## In your paper
#
# > Facial action units were detected in every frame (25 per second) with FG-Net (Yin et al., 2024; fgnet-plugin, weights …),
# > and scores smoothed with a running median of 0.2 s. Per person and condition we computed the share of time with AU12
# > (score ≥ 0.5). AU12 was present for a larger share of time in the funny than in the neutral condition, t(15) = …, p = …,
# > mean difference … [95 % CI …, …].
#
# For the first sentence, `fgnet report my_study.csv` writes one that fits your run: weights, face finder, frames without a
# face. The last command on this page keeps its settings in `results/settings.json`, and in `results/exclusions.csv` how many
# frames were used.
#
# ## Your own recordings
#
# Sort them into `study/neutral/P01/…`, `study/funny/P01/…`, a folder for each condition and person, then
#
# ```sh
# fgnet detect clips/ --recursive --offline --relative-to clips --out my_study.csv
# ```
#
# with your folder `study` in the place of `clips`, both times. Then run the first cell of this page, read the table,
# `frames = pd.read_csv("my_study.csv")`, and go on from the cell with `from_folders` on, with `"my_study.csv"` in the place of
# `"study.csv"` and the names of your conditions in the place of ours; leave out *Did we find the truth?* For results that you
# publish, leave out `--offline` and take [published weights](05_published_weights.md).
#
# Without Python, the following makes the tables for R, JASP or SPSS, with a codebook that explains each column (here of our
# `study.csv`; yours is `my_study.csv`):

# %%
# !fgnet summarize study.csv --folders condition/subject --by person --smooth median:0.2 --out results

# %% [markdown]
# If the names of files tell who and what they are (`P07_funny.mp4`), or a spreadsheet does, see [subjects, conditions,
# trials](../measures.md#subjects-conditions-trials). If people's resting faces differ much, give each [a baseline of their
# own](../measures.md#a-persons-own-baseline).
#
# Next: [how far can you trust the numbers?](04_compare.md)
