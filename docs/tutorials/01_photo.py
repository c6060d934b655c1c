# %% [markdown]
# # A photo
#
# Ten minutes. You need the package with py-feat: `pip install ".[feat]"` in a checkout of the repository. Nothing is
# downloaded, and a laptop is enough.
#
# In this tutorial we read the facial action units (AUs) of the faces in two photos, look at where in the face each AU was
# seen, and learn what the numbers mean. An AU is one visible movement of the face, as the Facial Action Coding System (FACS)
# lists them: AU12 pulls the corners of the lips up, AU6 raises the cheeks.
#
# ## The files
#
# `photo.jpg` and `party.jpg` are photos that come with py-feat. All tutorials read such example files from the current
# folder. In a terminal,
#
# ```sh
# fgnet demo --files my_tutorials
# ```
#
# puts them into a new folder `my_tutorials`, with `video.mp4` and, in `clips`, the same video twice. (A tutorial may do
# without py-feat, but this command needs the files of it: `pip install --no-deps py-feat`.) Start Jupyter
# (`pip install jupyterlab`) or Python there, and type along, or take photos of your own.
#
# ## One face
#
# A detector finds faces and reads their AUs. `Detector.offline()` is the one that works without any download: its networks
# come with the package.

# %%
import fgnet_plugin

detector = fgnet_plugin.Detector.offline()
fex = detector.detect("photo.jpg", progress_bar=False)

# %% [markdown]
# The result is a table, py-feat's `Fex`, with a row for each face: where the face is, its landmarks, its pose, and its AUs.
# There are hundreds of columns, so let us look at the AUs only, the highest score first.

# %%
scores = fex.aus.iloc[0].dropna().sort_values(ascending=False)
scores.to_frame("score").round(2)

# %% [markdown]
# Numbers are best read beside the face that they are about.

# %%
# alt: the photo with a box around the face, and beside it a bar for the score of each AU
fgnet_plugin.plot_faces(fex)[0]

# %% [markdown]
# A score says how sure the network is that an AU is present, from 0 to 1. The dotted line at 0.5 is the usual place to draw
# the line between "absent" and "present". So this network says: lip corners up, lips apart, upper lip a little raised – a
# smile. About the cheeks (AU6) it can't decide. Would you?
#
# What a score is **not**:
#
# - It is not how *strong* the movement is. A slight smile that is easy to see can have 0.99.
# - It is not a probability. Of all faces with a score of 0.7, the AU may be present in half or in nearly all;
#   [calibration](08_calibrate.md) finds out.
# - It is not an emotion. AU6 and AU12 together are what a smile looks like; what the person feels, no photo says.
# - An AU that is missing from the table was not "absent": this network never learned it. In the `Fex` such AUs are empty
#   (`NaN`).
#
# ## Where was it seen?
#
# FG-Net does not only give a score: for each AU it draws a map of the face. The score comes from that map, so the map is the
# network's evidence.

# %%
# alt: the face four times: coloured around the mouth for AU12 and AU25, and without any colour for AU6 and AU4
fgnet_plugin.plot_heatmaps(fex, rows=0, aus=["AU12", "AU25", "AU06", "AU04"])[0]

# %% [markdown]
# Colour marks what speaks for the AU; the darkest place has the colour of the score. AU12 and AU25 are seen around the mouth,
# where a FACS coder would look, too; the spots are broad, because this small network also hears the shape of the whole face.
# A face without colour is one on which the AU was not seen, as AU6 here. If an AU with a high score were marked in the wrong
# place – on a beard, a hand, the background – you would have a reason not to trust it.
#
# ## Several faces
#
# The same call reads a photo with many people. Each face gets a row.

# %%
party = detector.detect("party.jpg", progress_bar=False)
len(party)

# %%
# alt: a photo of five people with numbered faces, and a table of the AU scores of each of them
fgnet_plugin.plot_faces(party)[0]

# %% [markdown]
# First compare the number of rows with the number of people whom you see. A face that is small, turned away or half hidden
# may be missing, and no warning can tell you about a face that was not found. Then compare the scores with the faces. All
# five smile, and AU12 says so. The first woman also has a high score for AU2, raised outer brows: do you see it? A network
# that was right on average can be wrong on the face in front of you.
#
# How sure the face finder was is in the column `FaceScore`.

# %%
aus = ["AU01", "AU04", "AU06", "AU12", "AU25"]
party[["FaceScore", *aus]].round(2)

# %% [markdown]
# ## Keep the result
#
# A CSV file opens in R, SPSS, JASP and Excel. If you let the detector write it, a small file with the ending `.run` is
# written beside it: it says which weights and settings made the table. Keep both together; a reviewer may ask.

# %%
both = detector.detect(["photo.jpg", "party.jpg"], save="photos.csv", progress_bar=False)

# %%
# !fgnet provenance photos.csv

# %% [markdown]
# ## Your own photos
#
# Put them into a folder, open a terminal there, and type
#
# ```sh
# fgnet detect clips/ --offline --out clips.csv --plots pictures
# ```
#
# with your folder in the place of `clips/`. This writes the table and, for each photo, a picture like the ones above. Look at
# the pictures first.
#
# **The network that you used here is for learning.** `fgnet-rendered` is small and was trained on computer-drawn heads alone.
# [What it can and cannot do](../../weights/fgnet-rendered.md) has been measured; it is not meant for published results. For
# these, go on with [published weights](05_published_weights.md).
#
# Next: [a video](02_video.md).
