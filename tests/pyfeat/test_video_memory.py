"""A long video takes no more memory than a short one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import HELPERS
from photos import feat_path

av = pytest.importorskip("av")
pytest.importorskip("feat.detector", reason="py-feat and what it needs are not installed", exc_type=ImportError)
resource = pytest.importorskip("resource", reason="this system does not tell a process's peak memory")

SCRIPT = """
import sys, warnings
from peak_memory import peak
warnings.simplefilter("ignore")
from fgnet_plugin import Detector
fex = Detector.offline().detect(sys.argv[1], batch_size=8, progress_bar=False)
assert fex["frame"].nunique() == int(sys.argv[2]) and fex["AU12"].notna().all()
print(peak())
"""


def looped(path: Path, count: int) -> Path:
    """py-feat's video of a smile, over and over, as long as `count` frames."""
    with av.open(str(feat_path("single_face.mp4"))) as file:
        frames = [frame.to_ndarray(format="yuv420p") for frame in file.decode(video=0)]
    with av.open(str(path), "w") as out:
        stream = out.add_stream("mpeg4", rate=30)
        stream.height, stream.width, stream.pix_fmt = frames[0].shape[0] * 2 // 3, frames[0].shape[1], "yuv420p"
        stream.bit_rate = 2_000_000
        for i in range(count):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(frames[i % len(frames)], format="yuv420p")))
        out.mux(stream.encode())
    return path


@pytest.mark.slow
def test_2000_frames_take_no_more_memory_than_200(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    peaks = {}
    for count in (200, 2000):
        video = looped(tmp_path / f"{count}.mp4", count)
        environment = os.environ | {"PYTHONPATH": str(HELPERS)}
        command = [sys.executable, "-c", SCRIPT, str(video), str(count)]
        run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=1500)
        assert run.returncode == 0, run.stderr[-2000:]
        peaks[count] = int(run.stdout)
    with capsys.disabled():
        print("\npeak memory, batch 8: " + ", ".join(f"{count} frames {peak / 1e6:.0f} MB" for count, peak in peaks.items()))
    assert peaks[2000] < 1.1 * peaks[200]
