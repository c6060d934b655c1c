"""Open video files with PyAV, and give their packets."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from fgnet_plugin.errors import InputError

try:
    import av as av
    from av.stream import Disposition
except ModuleNotFoundError:  # of the extras `video` and `train`: `Video` says so, and pictures can be read without it
    av = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.stream import VideoStream

MOST_PIXELS = 2**27
"""Pixels of a frame at most: 16K film has 133 million. A file that claims more is damaged, or wants to fill the memory."""

_LISTS = {"concat", "dash", "hls", "image2", "imf", "rtp", "rtsp", "sap", "sdp", "webm_dash_manifest"}  # name other files
_DEVICES = {"alsa", "fbdev", "kmsgrab", "lavfi", "oss", "video4linux2,v4l2", "x11grab"}
_TEXTS = {"adf", "bin", "idf", "tty", "xbin"}  # FFmpeg would draw their letters


@cache
def _formats() -> str:
    """List the formats that FFmpeg may take a file for."""
    wanted = []
    for name in sorted(av.formats_available - _LISTS - _DEVICES - _TEXTS):
        try:
            av.ContainerFormat(name, "r")
        except ValueError:  # one that is only written
            continue
        wanted.append(name)
    return ",".join(wanted)


def open_container(file: Path, name: str) -> tuple[InputContainer, VideoStream]:
    """Open a video file and its video stream, ready to decode with one thread.

    Args:
        file: absolute path. FFmpeg takes what stands before a colon in a relative one for a protocol.
        name: of the file in messages.

    Raises:
        InputError: no video, of an unknown kind, or of more than `MOST_PIXELS` a frame.
    """
    try:
        options = {"format_whitelist": _formats(), "protocol_whitelist": "file"}
        container = av.open(str(file), metadata_errors="replace", options=options)
    except (av.error.FFmpegError, ValueError) as error:
        with file.open("rb") as data:
            mp4 = data.read(8)[4:] == b"ftyp"
        reason = "its index is missing, as after a copy that broke off" if mp4 else "it is damaged or another kind of file"
        raise InputError(f"{name} cannot be read as a video: {reason}; copy or convert it again") from error
    try:
        return container, _video_stream(container, name)
    except BaseException:
        container.close()
        raise


def _video_stream(container: InputContainer, name: str) -> VideoStream:
    stream = container.streams.best("video")
    if not isinstance(stream, av.VideoStream) or stream.disposition & Disposition.attached_pic:
        raise InputError(f"{name} holds no video, at most sound and its cover; give a file with a video stream")
    if stream.codec_context is None:
        raise InputError(f"{name} is coded in a way that PyAV does not know; convert it to H.264 in mp4")
    check_pixels(stream.width, stream.height, name)
    stream.codec_context.thread_count = 1
    stream.codec_context.options = {"max_pixels": str(MOST_PIXELS)}  # also of sizes that change in mid-video
    try:
        stream.codec_context.open()  # before skip_frame is set: AV1's decoder looks at it only here
    except (av.error.FFmpegError, ValueError) as error:
        raise InputError(f"{name} cannot be decoded: its header is damaged; copy or convert it again") from error
    return stream


def check_pixels(width: int, height: int, name: str) -> None:
    """Raise InputError where a frame would have more than `MOST_PIXELS`."""
    if width * height > MOST_PIXELS:
        raise InputError(
            f"{name} claims frames of {width}×{height} pixels ({MOST_PIXELS / 1e6:.0f} million at most are read): it is "
            "damaged, or has to be made smaller first"
        )


def packets_of(container: InputContainer, stream: VideoStream) -> Iterator[Packet[VideoStream]]:
    """Yield a stream's packets in the order in which they are stored."""
    return (packet for packet in container.demux(stream) if packet.size)  # an empty packet would end the decoding
