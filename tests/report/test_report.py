"""Laws of the report: it needs nothing else, shows what the files say, and survives what they lack."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from dynaflex.errors import InputError
from dynaflex.report import figures, pictures
from dynaflex.report.html import write_report

HOSTILE = '<script>alert("x")</script> & <b>bold</b>'
VOID = {"meta", "br", "hr", "img", "link", "input"}


def curves(limit: float, at_0143: float | None, shells: int = 33) -> dict[str, object]:
    frequency = np.arange(shells) / 192.0
    fall = 1 / (1 + np.exp((frequency - 1 / limit) * 120))
    return {
        "frequency": frequency.tolist(),
        "unmasked": (fall * 0.97).tolist(),
        "masked": fall.tolist(),
        "corrected": (fall * 0.99).tolist(),
        "resolution": {"0.143": at_0143, "0.5": 9.87},
    }


def write_run(run: Path, particles: int = 400, points: int = 300, box: int = 24) -> Path:
    """A finished run in small: every file that the report reads."""
    random = np.random.default_rng(0)
    (run / "maps").mkdir(parents=True)
    write = {
        "config.json": {"seed": 7, "train_box": 64, "nested": {"inner": HOSTILE}, "epochs": None},
        "provenance.json": {
            "version": "0.1.0",
            "command": ["dynaflex", "dynamight", "particles.star", "--map", "map <1>.mrc"],
            "started": "2024-05-06T07:08:09+00:00",
            "counts": {
                "table": particles + 3,
                "used": particles,
                "excluded": [{"row": row, "reason": "NaN in the image"} for row in (5, 17, 301)],
            },
            "warnings": ["The reference comes from an atomic model: model bias is possible.", HOSTILE],
            "shared_between_halves": ["mask.mrc", "the map low-passed to 20 Å"],
            "inputs": {"particles": {"path": "particles.star", "sha256": "abc123"}},
        },
        "fsc.json": {"deformed": curves(6.5, 6.21), "rigid": curves(9.0, 8.43), "claim_limit": 20.0},
        "model_fsc.json": {
            f"half{half}": {
                "frequency": curves(8, None)["frequency"],
                "consensus": curves(12, None)["masked"],
                "final": curves(8 + half, None)["masked"],
            }
            for half in (1, 2)
        },
        "threshold.json": {
            "threshold": 0.0123,
            "histogram_edges": np.linspace(-0.02, 0.06, 81).tolist(),
            "histogram_counts": (1e5 * np.exp(-((np.linspace(-0.02, 0.06, 80) / 0.012) ** 2))).tolist(),
            "automatic": True,
        },
        "poses_drift.json": {"rotation_degrees": {"median": 0.42}},
    }
    for name, content in write.items():
        (run / name).write_text(json.dumps(content))
    phases = ["warm-up"] * 3 + ["joint"] * 20 + ["gaussians"] * 4
    lines = [
        {
            "half": half,
            "epoch": epoch,
            "phase": phase,
            "steps": 150,
            "data_loss": 1.0 + 0.2 * np.exp(-epoch / 5) + 0.01 * half,
            "held_out_loss": None if phase == "warm-up" else 1.02 + 0.2 * np.exp(-epoch / 5) + 0.01 * half,
            "geometry": 0.02 * epoch,
            "kl": 0.1,
            "lambda": 0.9 + 0.01 * epoch,
            "rms_displacement": 4 * (1 - np.exp(-epoch / 6)),
            "seconds": 10.0,
            "memory_mb": 612.0,
        }
        for half in (1, 2)
        for epoch, phase in enumerate(phases, 1)
    ]
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    angle = random.uniform(-1, 1, particles)
    mean = np.stack([angle, angle**2, *random.normal(scale=0.1, size=(2, particles))], axis=1)
    half = 1 + np.arange(particles) % 2
    np.savez(run / "latents.npz", index=np.arange(particles), half=half, mean=mean, scale=np.full_like(mean, 0.1))
    points_ = random.normal(scale=(30.0, 12.0, 12.0), size=(points, 3))
    lever = np.clip(points_[:, 0], 0, None) / 10
    np.savez(
        run / "motion.npz",
        points=points_,
        rms_displacement=0.2 + lever,
        direction=np.stack([0 * lever, lever, 0.3 * lever], axis=1),
        error=0.3 + 0.1 * lever,
        displacement_norm=np.abs(angle) * 4,
    )
    for kind in ("map", "rigid"):
        for number in (1, 2):
            volume = random.normal(size=(box, box, box)).astype(np.float32)
            with mrcfile.new(run / "maps" / f"{kind}_half{number}.mrc", volume) as mrc:
                mrc.voxel_size = 3.0
    return run


READ = [
    "config.json",
    "provenance.json",
    "fsc.json",
    "model_fsc.json",
    "metrics.jsonl",
    "latents.npz",
    "motion.npz",
    "threshold.json",
    "maps/map_half1.mrc",
    "maps/rigid_half2.mrc",
]


class Page(HTMLParser):
    """Checks nesting, and gathers text, identifiers and references."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.identifiers: list[str] = []
        self.references: list[str] = []
        self.tags: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name == "id":
                self.identifiers.append(value or "")
            if name in ("src", "href", "xlink:href", "data", "poster", "srcset", "action"):
                self.references.append(value or "")
            self.references.extend(re.findall(r"url\(([^)]+)\)", value or ""))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-3:]}"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).split())


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("report") / "run")


@pytest.fixture(scope="module")
def page(finished: Path) -> Page:
    return Page(write_report(finished).read_text(encoding="utf-8"))


def test_the_page_loads_nothing_and_runs_nothing(finished: Path, page: Page) -> None:
    source = (finished / "report.html").read_text(encoding="utf-8")
    assert "http:" not in source and "https:" not in source and "@import" not in source
    assert not {"script", "link", "iframe", "object", "embed"} & set(page.tags)
    for reference in page.references:
        assert reference.startswith(("#", "data:image/png;base64,")), reference[:80]


def test_identifiers_are_unique_and_every_reference_finds_one(page: Page) -> None:
    assert len(set(page.identifiers)) == len(page.identifiers)
    inside = {reference[1:] for reference in page.references if reference.startswith("#")}
    assert inside <= set(page.identifiers)


def test_all_figures_are_there_and_described(page: Page) -> None:
    keys = {"fsc", "slices", "motion", "displacement", "latents", "training", "model", "threshold"}
    assert keys <= set(page.identifiers)
    assert page.tags.count("figure") == page.tags.count("figcaption") == len(keys)
    assert "cannot be shown" not in page.text


def test_numbers_of_the_files_appear(page: Page) -> None:
    for number in (
        "8.43 → 6.21 Å",
        "403 particles in the table = 400 used + 3 excluded",
        "0.0123",
        "27 + 27",
        "612 MB",
    ):
        assert number in page.text, number
    assert "8,100 steps" in page.text and "9 min" in page.text
    assert "5, 17, 301" in page.text and "NaN in the image" in page.text
    assert "0.42" in page.text and "abc123" in page.text and "inside 20 Å" in page.text
    for shared in ("mask.mrc", "the map low-passed to 20 Å"):
        assert shared in page.text


def test_text_of_the_files_is_escaped(finished: Path, page: Page) -> None:
    source = (finished / "report.html").read_text(encoding="utf-8")
    assert "<script" not in source and "<b>" not in source and "map <1>" not in source
    assert page.text.count(HOSTILE) == 2  # a warning and a setting, as text
    assert "map <1>.mrc" in page.text


def test_equal_runs_give_equal_reports(finished: Path, page: Page) -> None:
    first = (finished / "report.html").read_bytes()
    assert write_report(finished).read_bytes() == first


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports without their figures: what is tested is the page, and drawing takes a second."""
    for module in (figures, pictures):
        for name in [name for name in vars(module) if name.startswith("draw_")]:
            monkeypatch.setattr(module, name, lambda *_: b"<svg></svg>")


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("name", READ)
def test_a_missing_file_is_named_in_its_place(name: str, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    (run / name).unlink()
    page = Page(write_report(run).read_text(encoding="utf-8"))
    assert f"{name}: not in the run directory" in page.text
    assert page.text.count(name) >= 2  # in the summary and in place


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("name", READ)
def test_a_damaged_file_is_named(name: str, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    (run / name).write_bytes(b"\x00{damaged")
    page = Page(write_report(run).read_text(encoding="utf-8"))
    assert f"{name}: cannot be read" in page.text


@pytest.mark.parametrize("name", [name for name in READ if "json" in name])
@pytest.mark.parametrize("content", ["{}", '{"deformed": [], "half1": 3, "counts": "x", "threshold": null}'])
def test_contents_that_make_no_sense_do_not_stop_the_report(name: str, content: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content + "\n")
    assert f"{name}: cannot" not in Page(write_report(tmp_path).read_text(encoding="utf-8")).text


def test_an_empty_directory_gets_a_report_that_says_so(tmp_path: Path) -> None:
    page = Page(write_report(tmp_path).read_text(encoding="utf-8"))
    assert "not complete" in page.text
    assert "figure" not in page.tags


def test_a_training_that_stopped_in_a_line_is_drawn_up_to_it(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    text = (run / "metrics.jsonl").read_text()
    (tmp_path / "metrics.jsonl").write_text(text[:-30])
    page = Page(write_report(tmp_path).read_text(encoding="utf-8"))
    assert "training" in page.identifiers
    assert "Epochs 27 + 26" in page.text


@pytest.mark.usefixtures("undrawn")
def test_counts_that_do_not_add_up_are_a_warning(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    provenance = json.loads((run / "provenance.json").read_text())
    provenance["counts"]["used"] -= 1
    (run / "provenance.json").write_text(json.dumps(provenance))
    assert "403 particles in the table, but 399 used + 3 excluded = 402" in Page(write_report(run).read_text()).text


@pytest.mark.usefixtures("undrawn")
def test_no_gain_and_no_claim_are_said_plainly(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    fsc = {"deformed": curves(9, 8.5), "rigid": curves(9, 8.43), "claim_limit": 20.0}
    (run / "fsc.json").write_text(json.dumps(fsc))
    assert "no better than the rigid control at 8.43 Å" in Page(write_report(run).read_text()).text
    (run / "fsc.json").write_text(json.dumps({**fsc, "deformed": curves(30, None), "rigid": curves(30, None)}))
    page = Page(write_report(run).read_text())
    assert "No resolution is claimed" in page.text and "20 Å that both halves started from" in page.text


@pytest.mark.usefixtures("undrawn")
def test_motion_within_its_error_is_not_sold_as_motion(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    motion = dict(np.load(run / "motion.npz"))
    np.savez(run / "motion.npz", **{**motion, "error": motion["rms_displacement"]})
    assert "should not be interpreted" in Page(write_report(run).read_text()).text
    np.savez(run / "motion.npz", **{**motion, "rms_displacement": np.full(300, 0.1)})
    assert "Nothing moves" in Page(write_report(run).read_text()).text


def test_a_single_latent_coordinate_and_many_particles_are_drawn(tmp_path: Path) -> None:
    for dimension, particles in ((1, 50), (2, 9000)):
        random = np.random.default_rng(1)
        mean = random.normal(size=(particles, dimension))
        np.savez(tmp_path / "latents.npz", half=1 + np.arange(particles) % 2, mean=mean)
        page = Page(write_report(tmp_path).read_text())
        assert "latents" in page.identifiers


@pytest.mark.usefixtures("undrawn")
def test_an_error_that_was_not_measured_is_not_certainty(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    motion = dict(np.load(run / "motion.npz"))
    np.savez(run / "motion.npz", **{**motion, "error": np.zeros(300)})
    text = Page(write_report(run).read_text()).text
    assert "cannot be said without held-out particles" in text and "Uncertainty" not in text


def test_a_run_that_is_not_there_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such run directory"):
        write_report(tmp_path / "nowhere")
