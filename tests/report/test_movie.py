"""Laws of movies as files: an MP4 beside the GIF where ffmpeg is, with the frames that went in, and none elsewhere."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dynaflex.grid import Grid
from dynaflex.report.drawing import movie
from dynaflex.report.drawing.conformations import CarriedSurface
from dynaflex.report.drawing.surface import isosurface

needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="no ffmpeg: MP4 is NOT tested")


def shades(height: int = 121, width: int = 163) -> list[np.ndarray]:
    """Frames with odd sides, each of one colour."""
    return [np.full((height, width, 3), (level, 40, 255 - level), np.uint8) for level in (10, 90, 170, 250)]


def seen(film: bytes, folder: Path) -> tuple[dict[str, object], np.ndarray]:
    """What ffmpeg itself says of a film, and the frames ``(f h w 3)`` that it makes of it."""
    path = folder / "film.mp4"
    path.write_bytes(film)
    told = subprocess.run(
        ["ffprobe", "-v", "error", "-show_streams", "-of", "json", path], capture_output=True, check=True
    )
    stream = json.loads(told.stdout)["streams"][0]
    raw = subprocess.run(
        ["ffmpeg", "-v", "error", "-i", path, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"],
        capture_output=True, check=True,
    ).stdout  # fmt: skip
    return stream, np.frombuffer(raw, np.uint8).reshape(-1, stream["height"], stream["width"], 3)


@needs_ffmpeg
@pytest.mark.parametrize("encoders", [movie._ENCODERS, (("-c:v", "no-such-encoder"), movie._ENCODERS[1])])
def test_the_film_has_the_frames_that_went_in(
    encoders: tuple[tuple[str, ...], ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(movie, "_ENCODERS", encoders)
    film = movie.mp4(shades(), pause=100)
    assert film is not None
    stream, frames = seen(film, tmp_path)
    assert stream["pix_fmt"] == "yuv420p" and stream["r_frame_rate"] == "10/1"
    assert frames.shape == (4, 120, 162, 3)
    for found, given in zip(frames, shades(), strict=True):
        np.testing.assert_allclose(found.mean(axis=(0, 1)), given[0, 0], atol=12)
    assert film.index(b"moov") < film.index(b"mdat"), "it can be played before it is all there"


@needs_ffmpeg
def test_no_encoder_at_all_is_no_film(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(movie, "_ENCODERS", (("-c:v", "no-such-encoder"),))
    assert movie.mp4(shades()) is None


@pytest.mark.parametrize("there", [pytest.param(True, marks=needs_ffmpeg), False])
def test_a_movie_is_a_gif_and_with_ffmpeg_an_mp4(there: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", os.environ["PATH"] if there else "")
    grid = Grid(16, 4.0)
    ball = (20.0 - grid.radius_of_points()).reshape((16,) * 3)
    surface = isosurface(ball.numpy(), 0.0, grid.pixel_size)
    moved = surface.vertices + np.linspace(-5, 5, 3)[:, None, None] * np.array([1.0, 0.0, 0.0])
    found = CarriedSurface(surface, moved, torch.as_tensor(ball), 0.0, grid, np.eye(3), np.zeros(3))
    heard: list[int] = []
    movie.write_movie(found, "a ball", tmp_path, heard.append)
    assert heard == [1, 2, 3] and len(list((tmp_path / "frames").glob("*.png"))) == 3
    assert Image.open(tmp_path / "movie.gif").n_frames == 4
    assert (tmp_path / "movie.mp4").exists() == there
    told = movie.without_mp4()
    assert (told is None) == there and (there or "ffmpeg" in str(told))
