"""The product's own way to read each kind of file, as its commands go."""

import itertools
import json
import warnings
from collections.abc import Callable
from pathlib import Path

import originals

Reader = Callable[[Path], object]


def read_picture(path: Path) -> None:
    from fgnet_plugin.media.animation import open_video
    from fgnet_plugin.media.images import picture_size, read_picture

    picture_size(path, upright=True)
    try:
        read_picture(path)
    finally:
        frames = open_video(path)
        for i in range(min(len(frames), 5)):
            frames[i]


def read_video(path: Path) -> None:
    from fgnet_plugin.media.animation import open_video
    from fgnet_plugin.media.video import DamagedVideoError

    with open_video(path) as video:
        frames = range(min(len(video), 40))
        times = [video.time(i) for i in range(len(video))]
        assert all(a <= b for a, b in itertools.pairwise(times))
        video.rate_note()
        for i in [*frames, *frames[::-7]]:
            try:
                video[i]
            except DamagedVideoError as error:
                if i not in error.frames or not error.gap:
                    raise AssertionError(f"frame {i} is not among {error.frames}") from error


def read_table(path: Path) -> None:
    from fgnet_plugin.comparison.openface import read_landmarks
    from fgnet_plugin.pyfeat.fex_frames import read_table
    from fgnet_plugin.utils.journal import read_csv
    from fgnet_plugin.utils.tables import read_pieces

    _each(path, read_csv, read_table, read_landmarks, lambda table: list(read_pieces(table)))


def read_parquet(path: Path) -> None:
    from fgnet_plugin.cli.plots import read_parquet
    from fgnet_plugin.utils.journal import read_table
    from fgnet_plugin.utils.tables import read_pieces

    path = path.replace(path.with_suffix(".parquet"))
    _each(path, read_table, read_parquet, lambda table: list(read_pieces(table)))


def read_settings(path: Path) -> None:
    from fgnet_plugin.training.config import yaml_dataclass
    from fgnet_plugin.training.config.detector import DetectorConfig

    yaml_dataclass.read(DetectorConfig, path)


def read_run(path: Path) -> None:
    from fgnet_plugin.cli.resume import options_of_run
    from fgnet_plugin.utils.journal import Journal, is_unfinished, run_path

    table = path.with_name("fuzzed.csv")
    table.write_text("a,b\n" + "1,2\n" * 100)
    path.replace(run_path(table))
    is_unfinished(table)
    options_of_run(table)
    Journal(table, json.loads(originals.runs(path)[0].split(b"\n")[0]), resume=True)


def read_weights(path: Path) -> None:
    from fgnet_plugin.checkpoints.fgnet import load
    from fgnet_plugin.utils import safetensors_file

    safetensors_file.has_format(path, "example/1")
    _each(path, load, safetensors_file.read_tensors, safetensors_file.verify_digest, safetensors_file.read_shapes)


def read_pickle(path: Path) -> None:
    from fgnet_plugin.checkpoints.published import read_torch_file
    from fgnet_plugin.training.engine.checkpoint import steps_done

    _each(path, read_torch_file, steps_done)


def _each(path: Path, *readers: Reader) -> None:
    """Call all readers, and raise the error of one at the end; of those that are no refusals, the first at once."""
    refusals: list[Exception] = []
    for reader in readers:
        try:
            reader(path)
        except Exception as error:
            if not is_refusal(error, path):
                raise
            refusals.append(error)
    if refusals:
        raise refusals[0]


def is_refusal(error: BaseException, path: Path) -> bool:
    """Tell whether an error is one that the command line prints as a line, and names the file."""
    return isinstance(error, (ValueError, OSError)) and path.stem in str(error) and not isinstance(error, UnicodeError)


KINDS: dict[str, tuple[str, Callable[[Path], list[bytes]], Reader]] = {
    "pictures": (".png", originals.pictures, read_picture),
    "videos": (".bin", originals.videos, read_video),
    "csv": (".csv", originals.tables, read_table),
    "parquet": (".bin", originals.parquets, read_parquet),
    "yaml": (".yaml", originals.settings, read_settings),
    "json": (".bin", originals.runs, read_run),
    "safetensors": (".safetensors", originals.weights, read_weights),
    "pickles": (".pth", originals.pickles, read_pickle),
}
"""Of each kind: the suffix of the files, what makes whole ones, and what reads them."""


def quietly(reader: Reader, path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reader(path)
