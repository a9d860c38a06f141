"""Movies as the browser makes them: read back frame by frame, and what is offered where it can make none."""

from __future__ import annotations

import base64
import io
import shutil
import struct
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from viewer.browsing import Visit, next_link, visited
from viewer.conftest import Explorer

FRAMES = 5


@pytest.fixture(scope="module")
def visit(
    browser: Any, finished_run: Path, tmp_path_factory: pytest.TempPathFactory, start: Callable[..., Explorer]
) -> Visit:
    run = tmp_path_factory.mktemp("filmed") / "run"
    shutil.copytree(finished_run, run)
    explorer = start(run)
    seen = visited(browser, run, explorer, next_link(explorer))
    along_the_first_axis(seen)
    return seen


def along_the_first_axis(seen: Visit) -> None:
    seen.page.fill("#frames", str(FRAMES))
    seen.page.keyboard.press("Tab")
    seen.page.select_option("#axis", "component1")
    seen.until("() => dynaflex.explore.path.movie.nodes.length === 17")


def boxes(content: bytes) -> dict[str, bytes]:
    """The boxes at the top of an MP4, or inside of a box, by name."""
    found, at = {}, 0
    while at < len(content):
        (size,), name = struct.unpack_from(">I", content, at), content[at + 4 : at + 8].decode()
        assert 8 <= size <= len(content) - at, (name, size)
        found[name] = content[at + 8 : at + size]
        at += size
    return found


def within(content: bytes, *names: str) -> bytes:
    for name in names:
        content = boxes(content)[name]
    return content


def played(browser: Any, content: bytes, kind: str, times: list[float]) -> tuple[dict[str, float], list[np.ndarray]]:
    """What a browser says about a video, and its pictures at some times."""
    page = browser.new_page()
    page.set_content("<video muted></video>")
    found = page.evaluate(
        """async ([content, kind, times]) => {
          const video = document.querySelector('video');
          const happened = (name) => new Promise((resolve, fail) => {
            video.addEventListener(name, resolve, { once: true });
            video.addEventListener('error', () => fail(new Error(video.error.message)), { once: true });
          });
          const loaded = happened('loadeddata');
          video.src = `data:${kind};base64,${content}`;
          await loaded;
          const [width, height] = [video.videoWidth, video.videoHeight];
          const canvas = Object.assign(document.createElement('canvas'), { width, height });
          const shots = [];
          for (const time of times) {
            const there = happened('seeked');
            video.currentTime = time;
            await there;
            canvas.getContext('2d').drawImage(video, 0, 0);
            shots.push(canvas.toDataURL());
          }
          return { duration: video.duration, width, height, shots };
        }""",
        [base64.b64encode(content).decode(), kind, times],
    )
    page.close()
    shots = [picture(base64.b64decode(shot.split(",")[1])) for shot in found.pop("shots")]
    return found, shots


def picture(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"), dtype=int)


def test_the_mp4_has_every_frame_forth_and_back(visit: Visit, browser: Any) -> None:
    assert visit.page.locator("#export [value=video]").inner_text() == "MP4"
    content = visit.export("video")
    with zipfile.ZipFile(io.BytesIO(visit.export("frames"))) as archive:
        stills = [picture(archive.read(f"frame_{number:03d}.png")) for number in range(FRAMES)]
    top = boxes(content)
    assert list(top) == ["ftyp", "moov", "mdat"]
    media = within(top["moov"], "trak", "mdia")
    table = within(media, "minf", "stbl")
    (scale,) = struct.unpack_from(">I", within(media, "mdhd"), 12)
    _, _, count, ticks = struct.unpack(">4I", within(table, "stts"))
    rate = scale / ticks
    assert count == 2 * FRAMES - 2 and rate == 6
    _, _, sizes, *lengths = struct.unpack(f">{3 + count}I", within(table, "stsz"))
    assert sizes == count and sum(lengths) == len(top["mdat"])
    (offset,) = struct.unpack_from(">I", within(table, "stco"), 8)
    assert content[offset:] == top["mdat"]
    about, shots = played(browser, content, "video/mp4", [(number + 0.5) / rate for number in range(count)])
    assert about["duration"] == pytest.approx(count / rate, abs=0.01)
    height, width = stills[0].shape[:2]
    assert (about["width"], about["height"]) == (width - width % 2, height - height % 2)
    for number, shot in enumerate(shots):
        still = stills[min(number, count - number)][: shot.shape[0], : shot.shape[1]]
        others = [
            each[: shot.shape[0], : shot.shape[1]] for each in stills if each is not stills[min(number, count - number)]
        ]
        own = np.abs(shot - still).mean()
        assert own < 4 and own < min(np.abs(shot - other).mean() for other in others)


def test_play_without_a_path_goes_along_the_main_motion(visit: Visit) -> None:
    visit.ask("() => dynaflex.explore.path.clear()")
    assert visit.page.is_disabled("#export")
    visit.page.click("#play")
    visit.until("() => dynaflex.explore.path.movie.playing && dynaflex.explore.path.movie.index > 1")
    visit.page.click("#play")
    visit.until("() => !dynaflex.explore.path.movie.playing")
    assert visit.page.input_value("#axis") == "motion1" and visit.page.is_enabled("#export")
    along = (
        "() => { const { particles, path } = dynaflex.explore;"
        " return particles.places(path.movie.nodes, path.movie.half, ['motion1', 'motion2']) }"
    )
    x = np.array(visit.ask(along))[:, 0]
    values = np.array(visit.ask("async () => [...await dynaflex.explore.particles.values('motion1')]"))
    low, high = np.percentile(values, [2, 98])
    assert (np.diff(x) > 0).all()
    np.testing.assert_allclose(x[[0, -1]], [low, high], atol=0.2 * (high - low))


def test_one_clicked_place_is_no_path_and_is_kept(visit: Visit) -> None:
    visit.ask("() => dynaflex.explore.path.clear()")
    visit.page.click("[data-tool=path]")
    visit.page.mouse.click(*visit.at(0.5, 0.5))
    visit.until("() => dynaflex.explore.path.movie.nodes.length === 1")
    assert visit.page.is_disabled("#play")
    visit.page.click("[data-tool=show]")
    visit.page.select_option("#axis", "component1")
    visit.until("() => dynaflex.explore.path.movie.nodes.length > 1")


def test_the_frame_rate_goes_with_the_frames(visit: Visit) -> None:
    rates = visit.ask(
        "() => { const { movie } = dynaflex.explore.path; const { frames } = movie;"
        " const found = [2, 24, 60, 200].map((n) => { movie.frames = n; return movie.rate });"
        " movie.frames = frames; return found }"
    )
    assert rates == [6, 8, 20, 30]


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="no ffmpeg: the command in the zip is NOT tested")
def test_the_command_in_the_zip_makes_the_same_movie(visit: Visit, browser: Any, tmp_path: Path) -> None:
    with zipfile.ZipFile(io.BytesIO(visit.export("frames"))) as archive:
        archive.extractall(tmp_path)
    (line,) = (line for line in (tmp_path / "make_mp4.txt").read_text().splitlines() if line.startswith("ffmpeg "))
    subprocess.run(line, shell=True, cwd=tmp_path, check=True, capture_output=True, stdin=subprocess.DEVNULL)
    about, _ = played(browser, (tmp_path / "motion.mp4").read_bytes(), "video/mp4", [])
    assert about["duration"] == pytest.approx((2 * FRAMES - 1) / 6, abs=0.01)


ONLY_WEBM = """() => {
  delete window.VideoEncoder;
  const known = MediaRecorder.isTypeSupported.bind(MediaRecorder);
  MediaRecorder.isTypeSupported = (type) => !type.includes('mp4') && known(type);
}"""
NOTHING = "() => { delete window.VideoEncoder; delete window.MediaRecorder; }"


@pytest.mark.parametrize(
    ("without", "ending"), [("() => { delete window.VideoEncoder }", "mp4"), (ONLY_WEBM, "webm")], ids=["mp4", "webm"]
)
def test_a_recorder_makes_the_movie_where_there_is_no_encoder(
    visit: Visit, browser: Any, without: str, ending: str
) -> None:
    seen = again(visit, browser, without)
    assert seen.page.locator("#export [value=video]").inner_text() == {"mp4": "MP4", "webm": "WebM"}[ending]
    assert ("no MP4" in seen.page.locator("#export").get_attribute("title")) == (ending == "webm")
    along_the_first_axis(seen)
    with seen.page.expect_download(timeout=120_000) as waited:
        seen.page.select_option("#export", "video")
    assert waited.value.suggested_filename == f"motion.{ending}"
    about, shots = played(browser, Path(waited.value.path()).read_bytes(), f"video/{ending}", [0.3])
    assert about["width"] % 2 == 0 and np.ptp(shots[0]) > 100
    assert seen.troubles == []
    seen.page.close()


def test_where_no_movie_can_be_made_none_is_offered(visit: Visit, browser: Any) -> None:
    seen = again(visit, browser, NOTHING)
    assert seen.page.locator("#export option").all_inner_texts()[:2] == ["Export…", "GIF"]
    assert "this browser makes no video" in seen.page.locator("#export").get_attribute("title")
    seen.page.close()


def again(visit: Visit, browser: Any, without: str) -> Visit:
    """Another visit with the next link, in a browser that lacks something."""
    return visited(browser, visit.run, visit.explorer, next_link(visit.explorer), f"({without})()")
