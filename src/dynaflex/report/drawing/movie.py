"""Movies of a map that moves: numbered PNG frames, a GIF that plays to and fro, and an MP4 where ffmpeg is there.

They are drawn without a graphics card.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from dynaflex.io import durable
from dynaflex.report.drawing.conformations import CarriedSurface, carried, from_the_middle
from dynaflex.report.drawing.style import bare, motion_scale, on_white, scale_bar
from dynaflex.report.drawing.surface import draw_surface

PIXELS = 560
PAUSE = 90
"""Milliseconds per frame of the GIF."""
_HEIGHT, _BAR = 5.6, 1.15
_ENCODERS = (("-c:v", "libx264", "-crf", "18", "-preset", "medium"), ("-c:v", "mpeg4", "-q:v", "3"))
"""The better one first; some builds of ffmpeg lack it."""


def write_movie(found: CarriedSurface, title: str, out: Path, say: Callable[[int], None]) -> None:
    """Write ``frame_000.png ...`` into the folder ``out/frames``, and ``movie.gif`` and ``movie.mp4`` into ``out``.

    The surface is coloured by how far each place is from where it is in the middle conformation, on one scale. ``say``
    hears how many frames are drawn. The MP4 needs ffmpeg on the PATH.
    """
    (out / "frames").mkdir(parents=True, exist_ok=True)
    frames = []
    for number, picture in enumerate(draw_frames(found, title)):
        content = BytesIO()
        Image.fromarray(picture).save(content, format="png", optimize=True)
        durable.write_bytes(out / "frames" / f"frame_{number:03d}.png", content.getvalue())
        frames.append(picture)
        say(number + 1)
    to_and_fro = [*frames, *frames[-2:0:-1]]
    durable.write_bytes(out / "movie.gif", gif(to_and_fro))
    film = mp4(to_and_fro)
    if film is not None:
        durable.write_bytes(out / "movie.mp4", film)


def draw_frames(found: CarriedSurface, title: str) -> list[NDArray[np.uint8]]:
    """A picture ``(h w 3)`` of every conformation, all in one frame, with a scale bar and the colours' scale in Å."""
    distance = from_the_middle(found.moved)
    colours = motion_scale(distance)
    across, up = 1.06 * np.abs((found.moved - found.center) @ found.camera[:2].T).max(axis=(0, 1))
    reach = max(across, up)
    pictures = []
    for number, vertices in enumerate(found.moved):
        fills = colours.to_rgba(distance[number])[:, :3]
        surface = carried(found.surface, vertices)
        shown = draw_surface(surface, fills, found.camera, found.center, reach, PIXELS)
        pictures.append(_framed(shown, colours, (across, up), f"{title}, {number + 1} of {len(found.moved)}"))
    return pictures


def gif(frames: list[NDArray[np.uint8]], pause: int = PAUSE) -> bytes:
    """An endless GIF of pictures ``(h w 3)``, all with the colours that suit the first, ``pause`` ms each."""
    palette = Image.fromarray(frames[0]).quantize(255, dither=Image.Dither.NONE)
    if len(frames) > 2:
        # The frame farthest from the first has the colours of what moves.
        both = np.concatenate([frames[0], frames[len(frames) // 2]])
        palette = Image.fromarray(both).quantize(255, dither=Image.Dither.NONE)
    entries = np.array(palette.getpalette()).reshape(-1, 3)
    entries[entries.sum(axis=1).argmax()] = 255  # the paper is white, not the mean of what is nearly white
    palette.putpalette(entries.ravel().tolist())
    images = [Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    content = BytesIO()
    images[0].save(content, format="gif", save_all=True, append_images=images[1:], duration=pause, loop=0)
    return content.getvalue()


def without_mp4() -> str | None:
    """Why there will be no MP4, for people; None where there will be one."""
    return None if shutil.which("ffmpeg") else "no ffmpeg on the PATH: the movies are GIFs, without MP4"


def mp4(frames: Sequence[NDArray[np.uint8]], pause: int = PAUSE) -> bytes | None:
    """An MP4 of pictures ``(h w 3)``, ``pause`` ms each, that every player shows; None where no encoder is to be had.

    An odd row or column at the edge is left out: the format has none.
    """
    program = shutil.which("ffmpeg")
    if program is None:
        return None
    height, width = (size // 2 * 2 for size in frames[0].shape[:2])
    content = b"".join(np.ascontiguousarray(frame[:height, :width]).tobytes() for frame in frames)
    with tempfile.TemporaryDirectory(prefix="dynaflex-") as folder:
        target = Path(folder) / "movie.mp4"
        for encoder in _ENCODERS:
            # A fixed list of arguments, no shell, and nothing in it that a user or a file has named.
            arguments = [
                program, "-nostdin", "-loglevel", "error", "-y",
                "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", f"1000/{pause}", "-i", "pipe:0",
                *encoder, "-pix_fmt", "yuv420p", "-movflags", "+faststart", str(target),
            ]  # fmt: skip
            done = subprocess.run(arguments, input=content, capture_output=True, check=False)
            if done.returncode == 0 and target.is_file():
                return target.read_bytes()
    return None


def _framed(
    shown: NDArray[np.uint8], colours: ScalarMappable, extent: tuple[float, float], title: str
) -> NDArray[np.uint8]:
    """The square picture cut to the ``extent`` (across, up) in Å to each side, with title, scale bar and scale."""
    across, up = extent
    reach = max(extent)
    with matplotlib.rc_context(on_white()):
        size = (max(3.0, _HEIGHT * across / up) + _BAR, _HEIGHT + 0.4)
        figure = Figure(figsize=size, layout="constrained", facecolor="white", dpi=100)
        axes = figure.subplots()
        axes.imshow(shown, extent=(-reach, reach, -reach, reach), interpolation="lanczos")
        axes.set(xlim=(-across, across), ylim=(-up, up))
        bare(axes)
        axes.set_title(title)
        scale_bar(axes, 2 * across)
        bar = figure.colorbar(colours, ax=axes, shrink=0.6, aspect=24, label="from the middle conformation, Å")
        bar.outline.set_visible(False)
        content = BytesIO()
        figure.savefig(content, format="png", dpi=100)
        return np.array(Image.open(content).convert("RGB"))
