"""Films for the laboratory: made once, served as HLS or RTSP, decoded by ffmpeg without mercy."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.lab.commands import LabError, run
from tests.lab.hosts import Host
from tests.lab.processes import Process

__all__ = ["FRAME_RATE", "Movie", "Viewer", "make_movie", "start_rtsp_server"]

FRAME_RATE = 25
"""Frames a second."""

_ENCODING_TIMEOUT = 120.0
_MAKE = (
    *("-f", "lavfi", "-i", f"testsrc2=size=640x360:rate={FRAME_RATE}"),
    *("-f", "lavfi", "-i", "sine=frequency=440:sample_rate=44100"),
    *("-c:v", "libx264", "-preset", "ultrafast", "-g", "50", "-pix_fmt", "yuv420p"),
    *("-b:v", "2M", "-c:a", "aac", "-b:a", "96k"),
)
_SEGMENTS = ("-c", "copy", "-f", "hls", "-hls_time", "4", "-hls_playlist_type", "vod")
_RTSP_SERVER = """
import sys
import gi
gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer
address, port, movie = sys.argv[1:]
Gst.init(None)
server = GstRtspServer.RTSPServer()
server.set_address(address)
server.set_service(port)
factory = GstRtspServer.RTSPMediaFactory()
factory.set_launch(
    f'( filesrc location="{movie}" ! qtdemux name=d'
    " d.video_0 ! queue ! rtph264pay name=pay0 pt=96 config-interval=-1"
    " d.audio_0 ! queue ! rtpmp4gpay name=pay1 pt=97 )"
)
server.get_mount_points().add_factory("/camera", factory)
server.attach(None)
GLib.MainLoop().run()
"""
# Debian's own interpreter: the bindings of GStreamer are a Debian package.
_SYSTEM_PYTHON = "/usr/bin/python3"


@dataclass(frozen=True, slots=True)
class Movie:
    """A film with picture and sound.

    :ivar file: all of it, MP4.
    :ivar playlist: the same as HLS, with its segments beside it.
    :ivar frames: how many pictures it has.
    """

    file: Path
    playlist: Path
    frames: int


def make_movie(directory: Path, seconds: int) -> Movie:
    """Make a film of some 2 Mbit/s.

    :param directory: gets ``camera.mp4``, ``camera.m3u8`` and its segments.
    :param seconds: how long it is.
    """
    ffmpeg = ("ffmpeg", "-nostdin", "-v", "error", "-y")
    file, playlist = directory / "camera.mp4", directory / "camera.m3u8"
    run([*ffmpeg, *_MAKE, "-t", str(seconds), str(file)], timeout=_ENCODING_TIMEOUT)
    run([*ffmpeg, "-i", str(file), *_SEGMENTS, str(playlist)], timeout=_ENCODING_TIMEOUT)
    return Movie(file, playlist, seconds * FRAME_RATE)


def start_rtsp_server(
    host: Host, movie: Path, *, address: str = "127.0.0.1", port: int = 8554
) -> Process:
    """Serve a film as a camera does: by RTSP, at its own pace, as ``/camera``.

    :param host: where.
    :param movie: an MP4 file with H.264 and AAC.
    :param address: the host's address to listen on.
    :param port: the port to listen on.
    :return: GStreamer's server, listening.
    """
    registry = host.directory("gstreamer") / "registry.bin"
    server = host.start(
        [_SYSTEM_PYTHON, "-c", _RTSP_SERVER, address, str(port), str(movie.absolute())],
        name="rtsp",
        env={"GST_REGISTRY": str(registry)},
    )
    server.wait_for_port(port, timeout=30)
    return server


@dataclass
class Viewer:
    """An ffmpeg that decodes a stream to nowhere and stops at the first error.

    :param host: where it runs.
    :param url: what it plays.
    :param options: for its input, e.g. ``-rtsp_transport tcp``.
    :ivar frames: pictures decoded when :meth:`look` was called last.
    :ivar stall: the longest time without a new picture, after the first, in seconds.
    :ivar began: seconds from its start to its first picture, as far as :meth:`look` saw.
    :ivar took: seconds from its start to its end.
    """

    host: Host
    url: str
    options: tuple[str, ...] = ()
    frames: int = 0
    stall: float = 0.0
    began: float = 0.0
    took: float = 0.0
    _process: Process = field(init=False)
    _progress: Path = field(init=False)

    def __post_init__(self) -> None:
        """Start it."""
        self._progress = self.host.directory("viewer") / "progress"
        self._process = self.host.start(
            [
                *("ffmpeg", "-nostdin", "-v", "warning", "-xerror", "-err_detect", "explode"),
                *self.options,
                *("-i", self.url),
                *("-progress", str(self._progress), "-stats_period", "0.2"),
                *("-fps_mode", "passthrough", "-f", "null", "-"),
            ]
        )
        self._started = self._moved = time.monotonic()

    def look(self) -> bool:
        """Take a look at how far it is; to be called several times a second.

        :return: whether it has ended.
        """
        ended = not self._process.running
        now = time.monotonic()
        frames = self._read_frames()
        if frames > self.frames:
            if self.frames:
                self.stall = max(self.stall, now - self._moved)
            else:
                self.began = now - self._started
            self.frames, self._moved = frames, now
        if ended and not self.took:
            self.took = now - self._started
        return ended

    def complaints(self) -> str:
        """Give everything it wrote: nothing, if all went well.

        :raises LabError: it failed.
        """
        status = self._process.wait(1)
        said = self._process.output()
        if status:
            raise LabError(f"ffmpeg ended with status {status} after {self.frames}: {said}")
        return said

    def _read_frames(self) -> int:
        text = self._progress.read_text() if self._progress.exists() else ""
        _, found, last = text.rpartition("\nframe=")
        if not found:
            _, found, last = text.rpartition("frame=")
        number = last.partition("\n")[0].strip()
        return int(number) if number.isdigit() else 0
