"""Download published weights."""

from __future__ import annotations

from pathlib import Path

from fgnet_plugin.checkpoints.registry import named, resolve
from fgnet_plugin.errors import CheckpointError, DownloadError

TIMEOUT_SECONDS, RETRIES = 30, 3


CONNECT_SECONDS = 5


def download(name: str, *, half: bool = False, keep: bool = False, quiet: bool = False) -> Path:
    """Fetches published weights from the authors' Google Drive and converts them; an interrupted download is continued.

    A checkpoint that is there already is left as it is.

    The environment variable FGNET_MIRROR names a web folder to fetch from instead, with ``encoder.pt`` and
    ``fgnet-bp4d/model.pth`` in it. The files' checksums are recorded in the checkpoint, since the authors publish none.

    Args:
        name: of published weights; bundled ones are there already.
        half: store float16, see `checkpoints.convert_published`.
        keep: keep model.pth after conversion. encoder.pt is kept anyway: the other published model needs it too.
        quiet: no progress bar.

    Returns:
        The checkpoint's path.

    Raises:
        DownloadError: the link fails; the message says how to get the files in a browser.
        CheckpointError: no such name, or what was downloaded is no checkpoint.
    """
    from fgnet_plugin.checkpoints.convert import convert_published

    entry = named(name)
    if entry.file or entry.path.is_file():
        return resolve(name)
    for path, address in entry.downloads.items():
        try:
            fetch(address, path, quiet=quiet)
        except DownloadError as error:
            raise DownloadError(f"{path.name} of {name} could not be downloaded: {error}\n{entry.how_to_get()}") from error
    model_pth, encoder_pt = entry.downloads
    try:
        convert_published(model_pth, encoder_pt, entry.corpus, entry.path, half=half)
    except CheckpointError as error:
        raise CheckpointError(f"{error}\nIf the file was damaged on its way, delete it and download again.") from error
    if not keep:
        model_pth.unlink()
    return entry.path


def fetch(address: str, path: Path, *, quiet: bool = False) -> None:
    """A file from the web (Google Drive's large-file pages included) to `path`, unless it is there already.

    It arrives under another name beside `path` and is renamed when complete; a part that an earlier attempt left is
    continued. Raises DownloadError.
    """
    if path.is_file():
        return
    import gdown
    import requests

    _check_reachable(address)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        gdown.download(
            address, str(path), quiet=quiet, resume=True, timeout=TIMEOUT_SECONDS, retries=RETRIES, use_cookies=False
        )
    except (gdown.exceptions.DownloadError, requests.RequestException, OSError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DownloadError(reason if len(reason) < 300 else reason[:300] + " …") from error


def _check_reachable(address: str) -> None:
    """Raises DownloadError within seconds where the server can't be reached: retries would only make people wait."""
    import requests

    server = "/".join(address.split("/")[:3])
    try:
        requests.head(server, timeout=CONNECT_SECONDS)
    except requests.ConnectionError as error:
        unconnected = ("ConnectTimeoutError", "NameResolutionError", "NewConnectionError", "ProxyError")
        if any(name in str(error) for name in unconnected):
            raise DownloadError(f"{server} can't be reached from this machine") from error
    except requests.RequestException:
        pass  # it is there; what is wrong shows at the download
