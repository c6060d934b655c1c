"""Named weights: where they are on this machine, and how they get there."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fgnet_plugin.errors import CheckpointError, DownloadError

DRIVE_ADDRESS = "https://drive.google.com/uc?id={id}"
TIMEOUT_SECONDS, RETRIES = 30, 3
CONNECT_SECONDS = 5


@dataclass(frozen=True)
class NamedWeights:
    """One entry of ``weights/manifest.json``."""

    name: str
    kind: str
    """"published" (converted from the authors' files), "bundled" (part of this package), or "pretrained" (part of this package,
    too, but generator and encoder only, for a training to start from)."""
    about: str
    licence: str
    corpus: str = ""
    file: str = ""
    """Its name in ``weights/``, where it comes with the package."""
    files: dict[str, dict[str, str]] | None = None
    """Published: the authors' files, ``{"model.pth": {"drive": Google Drive's id}, …}``."""

    @property
    def path(self) -> Path:
        """Where the checkpoint is, or will be."""
        return data_folder("weights") / self.file if self.file else cache_folder() / f"{self.name}.safetensors"

    @property
    def downloads(self) -> dict[Path, str]:
        """Published: where each of the authors' files goes on this machine -> its address."""
        mirror, kept = os.environ.get("FGNET_MIRROR"), cache_folder() / "downloads"
        found = {}
        for name, file in (self.files or {}).items():
            # pSp's encoder.pt is one file for all published models.
            relative = name if name == "encoder.pt" else f"{self.name}/{name}"
            found[kept / relative] = f"{mirror.rstrip('/')}/{relative}" if mirror else DRIVE_ADDRESS.format(id=file["drive"])
        return found

    def how_to_get(self) -> str:
        """Instructions for a machine where the download does not work."""
        if self.file:
            return f"{self.name} comes with the package, but this version lacks {self.path}"
        lines = [f"to get {self.name} by hand:"]
        for step, (path, file) in enumerate(zip(self.downloads, (self.files or {}).values(), strict=True), start=1):
            lines.append(
                f"  {step}. open https://drive.google.com/file/d/{file['drive']}/view in a browser and save the file as"
            )
            lines.append(f"     {path}")
        files = " ".join(f'"{path}"' for path in self.downloads)
        lines.append(f"  {len(self.downloads) + 1}. run: fgnet weights convert {files} --corpus {self.corpus}")
        return "\n".join(lines)


def data_folder(name: str) -> Path:
    """``weights`` or ``cuda``: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).parent
    installed = package / "_data" / name
    return installed if installed.is_dir() else package.parent / name


def cache_folder() -> Path:
    """Where downloaded and converted weights are kept: ``$FGNET_HOME``, or this platform's cache folder."""
    home = os.environ.get("FGNET_HOME")
    if home:
        return Path(home).expanduser()
    from platformdirs import user_cache_path

    return user_cache_path("fgnet-plugin", appauthor=False)


def manifest() -> dict[str, NamedWeights]:
    """All named weights: name -> entry."""
    entries: dict[str, Any] = json.loads((data_folder("weights") / "manifest.json").read_text(encoding="utf-8"))
    return {name: NamedWeights(name=name, **entry) for name, entry in entries.items()}


def named(name: str) -> NamedWeights:
    """The entry of a name. Raises CheckpointError for a name that the manifest lacks."""
    entries = manifest()
    if name not in entries:
        raise CheckpointError(f"no weights are called {name!r}; there are {', '.join(entries)}")
    return entries[name]


def resolve(name_or_path: str | Path) -> Path:
    """The file of a name or path; it exists.

    Raises CheckpointError, saying how to get the file, where it does not exist.
    """
    path = Path(name_or_path)
    entries = manifest()
    if str(name_or_path) in entries:
        entry = entries[str(name_or_path)]
        if not entry.path.is_file():
            way = f"run: fgnet weights download {entry.name}\nor, " if entry.kind == "published" else ""
            raise CheckpointError(f"{entry.name} is not on this machine; {way}{entry.how_to_get()}")
        return entry.path
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file, and no weights of that name (there are {', '.join(entries)})")
    return path


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
    from fgnet_plugin.checkpoints import convert_published

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
