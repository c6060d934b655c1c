"""py-feat integration: the Detector, the Fex subclass, model downloads.

Importing this imports py-feat, which takes seconds.
"""

import fgnet_plugin.utils.progress  # noqa: F401  (before py-feat imports tqdm, see there)

try:
    import feat as _feat  # noqa: F401
except ModuleNotFoundError as error:
    if error.name != "feat":
        raise ModuleNotFoundError(
            f"py-feat needs {error.name}, which is not installed; fgnet doctor lists what is missing and how to get it",
            name=error.name,
        ) from error
    raise ModuleNotFoundError(
        "py-feat is not installed; run: pip install 'fgnet-plugin[feat]' (the network, the face finder and the training "
        "work without it)",
        name="feat",
    ) from error
