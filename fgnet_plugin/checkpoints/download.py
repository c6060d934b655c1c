"""Download and convert published weights."""

from __future__ import annotations

from pathlib import Path

from fgnet_plugin.checkpoints.convert import convert_published
from fgnet_plugin.checkpoints.registry import named, resolve
from fgnet_plugin.errors import CheckpointError, DownloadError

TIMEOUT_SECONDS, RETRIES = 30, 3
CONNECT_SECONDS = 5


def download(name: str, *, half: bool = False, keep: bool = False, quiet: bool = False) -> Path:
    """Download published weights from the authors' Google Drive and convert them; an interrupted download is continued.

    An existing checkpoint is left as it is.

    The environment variable FGNET_MIRROR names a web folder to fetch from instead, with ``encoder.pt`` and
    ``fgnet-bp4d/model.pth`` in it. The files' checksums are recorded in the checkpoint, since the authors publish none.

    Args:
        name: a name of published weights. Bundled ones need no download: their path is returned.
        half: store float16, see `checkpoints.convert_published`.
        keep: keep model.pth after conversion. encoder.pt is kept in any case, because the other published model needs it too.
        quiet: show no progress bar.

    Returns:
        The checkpoint's path.

    Raises:
        DownloadError: the link fails; the message says how to get the files in a browser.
        CheckpointError: unknown name, or the downloaded file is no checkpoint.
    """
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
    """Download a file (through Google Drive's page for large files where needed) to `path`, unless that exists.

    The file arrives under another name beside `path` and is renamed when complete; what an earlier attempt left there is
    continued. Raises DownloadError.
    """
    if path.is_file():
        return
    import gdown  # with requests, only needed for downloads, and slow to import
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
    """Raise DownloadError within seconds where the server can't be reached: retries would only make people wait."""
    import requests

    server = "/".join(address.split("/")[:3])
    try:
        requests.head(server, timeout=CONNECT_SECONDS)
    except requests.ConnectionError as error:
        unconnected = ("ConnectTimeoutError", "NameResolutionError", "NewConnectionError", "ProxyError")
        if any(name in str(error) for name in unconnected):
            raise DownloadError(f"{server} can't be reached from this machine") from error
    except requests.RequestException:
        pass  # the server answers; the download itself reports what is wrong
