"""Named weights and ``fgnet weights``, with a local web server in the place of Google Drive."""

import http.server
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from conftest import SMALL

from fgnet_plugin import CheckpointError, DownloadError, load
from fgnet_plugin.checkpoints import convert
from fgnet_plugin.checkpoints import download as download_module
from fgnet_plugin.checkpoints.download import download, fetch
from fgnet_plugin.checkpoints.fgnet import read_info
from fgnet_plugin.checkpoints.registry import manifest, resolve
from fgnet_plugin.cli import main
from fgnet_plugin.utils.paths import cache_folder, data_folder


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FGNET_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def fgnet(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run the command line in this process."""

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        monkeypatch.setattr(sys, "argv", ["fgnet", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            main()
        return subprocess.CompletedProcess(arguments, stopped.value.code or 0, *capsys.readouterr())

    return run


@pytest.fixture
def small_published(small_files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """The published files at the small size, as if the authors' network had it."""
    monkeypatch.setattr(convert, "FGNetConfig", lambda aus: SMALL)
    return small_files


class FlakyServer(http.server.SimpleHTTPRequestHandler):
    """Serves a folder with byte ranges; drops the connection in the middle of each file's first transfer."""

    asked: list[tuple[str, str | None]]
    drop_after: int | None

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        path, wanted = Path(self.translate_path(self.path)), self.headers.get("Range")
        first_time = self.path not in [path for path, _ in self.asked]
        self.asked.append((self.path, wanted))
        if not path.is_file():
            self.send_error(404)
            return
        content = path.read_bytes()
        start = int(wanted.removeprefix("bytes=").split("-")[0]) if wanted else 0
        self.send_response(206 if wanted else 200)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Disposition", f'attachment; filename="{path.name}"')
        self.send_header("Accept-Ranges", "bytes")
        if wanted:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        end = self.drop_after if self.drop_after and first_time else len(content)
        self.wfile.write(content[start:end])
        if end < len(content):
            self.close_connection = True


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path, type[FlakyServer]]]:
    folder = tmp_path / "served"
    folder.mkdir()
    handler = type("Handler", (FlakyServer,), {"asked": [], "drop_after": None})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder))) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}", folder, handler
        running.shutdown()


def test_a_dropped_download_is_continued(server: tuple[str, Path, type[FlakyServer]], tmp_path: Path) -> None:
    address, folder, handler = server
    content = os.urandom(3_000_000)
    (folder / "model.pth").write_bytes(content)
    handler.drop_after = 1_000_000
    target = tmp_path / "here" / "model.pth"
    fetch(f"{address}/model.pth", target, quiet=True)
    assert target.read_bytes() == content
    assert [path.name for path in target.parent.iterdir()] == ["model.pth"]
    assert handler.asked[-1][1] is not None, "the second request should ask for the rest only"


def test_what_an_interrupted_process_left_is_continued(server: tuple[str, Path, type[FlakyServer]], tmp_path: Path) -> None:
    address, folder, handler = server
    content = os.urandom(2_000_000)
    (folder / "model.pth").write_bytes(content)
    target = tmp_path / "model.pth"
    handler.drop_after = 1_200_000  # gdown keeps whole blocks of 512 KiB
    retries, download_module.RETRIES = download_module.RETRIES, 0
    try:
        with pytest.raises(DownloadError):
            fetch(f"{address}/model.pth", target, quiet=True)
    finally:
        download_module.RETRIES = retries
    assert not target.exists()
    fetch(f"{address}/model.pth", target, quiet=True)
    assert target.read_bytes() == content
    assert handler.asked[-1][1] == "bytes=1048576-"


def test_download_fetches_and_converts(
    server: tuple[str, Path, type[FlakyServer]],
    small_published: tuple[Path, Path],
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    fgnet: Command,
) -> None:
    address, folder, _ = server
    (folder / "fgnet-bp4d").mkdir()
    (folder / "fgnet-bp4d" / "model.pth").symlink_to(small_published[0])
    (folder / "encoder.pt").symlink_to(small_published[1])
    monkeypatch.setenv("FGNET_MIRROR", address + "/")
    with pytest.raises(CheckpointError, match="fgnet weights download fgnet-bp4d"):
        load("fgnet-bp4d")
    path = download("fgnet-bp4d", half=True, quiet=True)
    assert path == resolve("fgnet-bp4d") == home / "fgnet-bp4d.safetensors"
    assert set(read_info(path).sources) == {"model.pth", "encoder.pt"}
    left = sorted(str(p.relative_to(home)) for p in home.rglob("*") if p.is_file())
    assert left == ["downloads/encoder.pt", "fgnet-bp4d.safetensors"]
    listed = fgnet("weights", "list").stdout
    assert f" {path.stat().st_size / 1e6:.0f} MB  " in listed.splitlines()[0]
    assert fgnet("weights", "verify", "fgnet-bp4d").returncode == 0


def test_a_failing_download_says_how_to_get_the_files(home: Path, monkeypatch: pytest.MonkeyPatch, fgnet: Command) -> None:
    """Google Drive itself, through a proxy that does not exist."""
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("FGNET_MIRROR", "")
    done = fgnet("weights", "download", "fgnet-disfa")
    assert done.returncode == 1
    assert "model.pth of fgnet-disfa could not be downloaded" in done.stderr
    assert "https://drive.google.com/file/d/1wTeqUNkhi-ONXXFJ4K6AozyOxyHTHog-/view" in done.stderr
    assert "https://drive.google.com/file/d/1bMTNWkh5LArlaWSc_wa8VKyq2V42T2z0/view" in done.stderr
    model_pth, encoder_pt = home / "downloads/fgnet-disfa/model.pth", home / "downloads/encoder.pt"
    assert f'fgnet weights convert "{model_pth}" "{encoder_pt}" --corpus DISFA' in done.stderr
    assert "Traceback" not in done.stderr
    assert not [path for path in home.rglob("*") if path.is_file()]


def test_a_missing_file_on_the_mirror(server: tuple[str, Path, type[FlakyServer]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FGNET_MIRROR", server[0])
    with pytest.raises(DownloadError, match=r"(?s)404.*to get fgnet-bp4d by hand"):
        download("fgnet-bp4d", quiet=True)


def test_command_line_converts_by_hand(small_published: tuple[Path, Path], tmp_path: Path, fgnet: Command) -> None:
    out = tmp_path / "folder with spaces" / "modèle.safetensors"
    done = fgnet("weights", "convert", *small_published, "--corpus", "bp4d", "--out", out, "--half", "--fold", 1)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(out)
    assert read_info(out).fold == 1
    again = fgnet("weights", "convert", *small_published, "--corpus", "bp4d", "--out", out)
    assert (again.returncode, again.stderr) == (
        1,
        f"error: {out} exists; give --overwrite to replace it, or --out for another file\n",
    )
    content = bytearray(out.read_bytes())
    content[len(content) // 2] ^= 1
    out.write_bytes(content)
    broken = fgnet("weights", "verify", out)
    assert broken.returncode == 1
    assert "damaged" in broken.stderr


def test_command_line_errors(fgnet: Command) -> None:
    for arguments, code, says in (
        (("weights", "path", "fgnet-bp4d"), 1, "not on this machine"),
        (("weights", "path", "nonsense"), 1, "fgnet-bp4d, fgnet-disfa, fgnet-rendered"),
        (("weights", "download", "nonsense"), 1, "no weights are called 'nonsense'"),
        (("weights", "convert", "a", "b", "--corpus", "AffectNet"), 1, "unknown corpus 'AffectNet'"),
        (("weights", "convert", "a", "b", "--corpus", "BP4D"), 1, "b: no such file"),
        (("weights", "convert", "a"), 2, "Missing argument"),
    ):
        done = fgnet(*arguments)
        assert (done.returncode, says in done.stderr, "Traceback" in done.stderr) == (code, True, False), done.stderr


def test_cache_folder(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    assert cache_folder() == home
    monkeypatch.delenv("FGNET_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    if sys.platform == "linux":
        assert cache_folder() == Path("/somewhere/fgnet-plugin")


def test_manifest_names() -> None:
    assert set(manifest()) == {"fgnet-bp4d", "fgnet-disfa", "fgnet-rendered", "fgnet-rendered-1", "pretrained-rendered"}
    assert (data_folder("cuda")).is_dir()


def test_pretrained_parts_are_verified_without_the_training_extra() -> None:
    code = """
import sys
sys.modules["yaml"] = sys.modules["lightning"] = sys.modules["pandas"] = None  # as if they were not installed
sys.argv = ["fgnet", "weights", "verify", "pretrained-rendered"]
from fgnet_plugin.cli import main
main()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pretrained-rendered.safetensors: intact" in done.stdout
