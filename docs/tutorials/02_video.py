# %% [markdown]
# # A video
#
# Fifteen minutes. You need `pip install ".[feat,measures]"`. Nothing is downloaded. The [example
# files](01_photo.md#the-files) are in the current folder.
#
# A video is many photos in a row, and that changes the questions: not only *whether* somebody smiles, but *when*, *how long*
# and *how often*. We read a short video of less than three seconds, look at the AUs over time, and turn thousands of numbers
# into a handful.
#
# ## From a video to a table

# %%
import matplotlib.pyplot as plt

import fgnet_plugin
from fgnet_plugin.measures import find_events, smooth, summarize

detector = fgnet_plugin.Detector.offline()
fex = detector.detect("video.mp4", time=True, progress_bar=False)
fex[["frame", "time", "FaceScore", "AU06", "AU12", "AU25"]].iloc[::12].round(2)

# %% [markdown]
# Every frame has a row; `time` is its time in the video, in seconds. (We show every twelfth row.) If no face is found in a
# frame, the row is there all the same, with empty scores. So the first thing to check in a new video is how many rows are
# empty, and whether any frame has more than one face.

# %%
empty = fex["AU12"].isna().sum()
faces_per_frame = fex.groupby("frame").size()
print(f"{fex['frame'].nunique()} frames, {empty} rows without a face, at most {faces_per_frame.max()} face(s) in a frame")

# %% [markdown]
# ## Look before you count

# %%
# alt: the scores of AU6, AU12 and AU25 over less than three seconds; they rise together in the middle and fall again
fgnet_plugin.plot_time_course(fex, aus=["AU06", "AU12", "AU25"])

# %% [markdown]
# A smile comes, stays, and goes in the last frames: lip corners (AU12), cheeks (AU6) and lips (AU25) rise together. Is it
# really there? Look at the face in the frame with the highest score of AU12.

# %%
# alt: the frame with the highest score of AU12, a smiling man, and his AU scores
apex = fex["AU12"].argmax()
fgnet_plugin.plot_faces(fex.iloc[[apex]])[0]

# %% [markdown]
# For a whole recording with its pictures, `fgnet report` makes [a page to click through](../reports.md), and `fgnet overlay`
# writes the boxes and scores [into the video](../usage.md#overlays).
#
# ## Smooth
#
# Scores tremble a little from frame to frame, because the picture is noisy and the face's position is measured anew in each
# frame. A running median of 0.2 s takes the tremble out and keeps the edges. Choose a window that is shorter than half of the
# shortest movement that you care about: whatever is shorter than half a window is gone afterwards.

# %%
# alt: the score of AU6 over time, as it is in grey and smoothed in blue, with the threshold of 0.5
seconds = fex["time"].to_numpy()
aus = fex[["AU06", "AU12", "AU25"]]
smoothed = smooth(aus, seconds, "median", window=0.2)

fig, ax = plt.subplots(figsize=(7, 2.8), layout="constrained")
ax.plot(seconds, aus["AU06"], color="0.6", label="score")
ax.plot(seconds, smoothed["AU06"], color="C0", label="median of 0.2 s")
ax.axhline(0.5, color="0.5", lw=0.8, ls=":")
ax.set(xlabel="seconds", ylabel="AU6", ylim=(0, 1))
ax.legend(loc="lower center")
plt.show()

# %% [markdown]
# Look at the end: the fall in the last frames is cut, because a median needs frames on both sides. The first and last half
# window of a recording are less sure than the rest.
#
# ## Events
#
# An event begins when the score rises and ends when it has fallen clearly below the threshold, so that a score that hovers
# around 0.5 does not make ten events out of one smile.

# %%
events = find_events(smoothed, seconds, threshold=0.5)
events[["AU", "onset", "apex", "offset", "duration", "peak", "complete"]].round(2)

# %% [markdown]
# `onset` and `offset` are when the event begins and ends, `apex` is when its score is highest. `complete` is `False` for an
# event that was already going on when the video began, or, as here, still when it ended: it counts as an event, but its
# duration is unknown.
#
# ## A row for the recording
#
# Statistics need few numbers for each recording. `summarize` gives the ones that studies use most.

# %%
summary = summarize(fex, aus=["AU06", "AU12", "AU25"])
summary.long[["AU", "name", "seconds", "base_rate", "mean", "events", "events_per_minute"]].round(2)

# %% [markdown]
# - `base_rate`: the share of time in which the AU is present. 0.4 means 40 % of the time. It is the easiest to explain.
# - `mean`: the mean score. It also moves when the network is unsure, so it is more sensitive and harder to interpret.
# - `events_per_minute`: how often. Three seconds are far too short for it: a single smile makes a rate of more than twenty.
#
# Two warnings. The 72 frames are **not** 72 independent observations: a face in one frame is nearly the face in the next.
# Never give frames to a t-test; the [study](03_study.md) shows what to do instead. And do not compare different AUs with each
# other: each has a scale of its own.
#
# ## Your own videos
#
# ```sh
# fgnet detect clips/ --offline --estimate
# fgnet detect clips/ --offline --out clips.csv
# fgnet summarize clips.csv --out results
# ```
#
# The first line tells how long it will take. If it is too long, `--skip-frames 5` reads every fifth frame only; at 25 frames
# per second that is still five a second, enough for smiles and frowns and too few for blinks. If people walk through the
# background, `--faces track` follows one person. `results` then holds tables for your statistics program, and `codebook.csv`,
# which explains each column.
#
# Next: [a study](03_study.md).
