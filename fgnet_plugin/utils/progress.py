"""tqdm's progress bar for terminals and notebooks, without its warning in notebooks that lack ipywidgets.

There it shows its bar as text, which is all that the warning is about. Whoever imports this first, imports it for the process.
"""

import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from tqdm.auto import tqdm

__all__ = ["tqdm"]
