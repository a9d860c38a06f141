"""Laws of the report as a page: it needs nothing else, shows every figure, and survives what is missing or damaged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dynaflex.errors import InputError
from dynaflex.report.html import write_report
from dynaflex.run.results import REPORT, listed_in

SECTIONS = {"before-and-after", "motion-found", "certainty", "latent-space", "learning", "carrier", "repeat"}
FIGURES = {"fsc", "film-maps", "slices", "local-resolution", "motion", "displacement", "latents", "training", "model"}
SHARED = [
    "config.json",
    "provenance.json",
    "fsc.json",
    "model_fsc.json",
    "metrics.jsonl",
    "latents.npz",
    "motion.npz",
    "maps/map_half1.mrc",
    "maps/rigid_half2.mrc",
    "maps/map.mrc",
    "maps/local_resolution.mrc",
]
READ = {"run": [*SHARED, "threshold.json"], "flex": [*SHARED, "mesh.npz", "grid.json"]}
CASES = [(kind, name) for kind, names in READ.items() for name in names]
PageOf = Callable[[Path], Any]


@pytest.mark.parametrize("kind", ["finished", "finished_flex"])
def test_the_page_loads_nothing(kind: str, request: pytest.FixtureRequest, page_of: PageOf) -> None:
    run = request.getfixturevalue(kind)
    page = page_of(run)
    source = (run / "report.html").read_text(encoding="utf-8")
    assert "http:" not in source and "https:" not in source and "@import" not in source
    assert not {"link", "iframe", "object", "embed"} & set(page.tags)
    assert "<script src" not in source and source.count("<script") <= 1
    for reference in page.references:
        beside = reference.startswith("figures/") and (run / reference).is_file()
        inside = reference.startswith(("#", "data:image/png;base64,", "data:image/webp;base64,"))
        assert beside or inside, reference[:80]


@pytest.mark.parametrize("kind", ["page", "flex_page"])
def test_identifiers_are_unique_and_every_reference_finds_one(kind: str, request: pytest.FixtureRequest) -> None:
    page = request.getfixturevalue(kind)
    assert len(set(page.identifiers)) == len(page.identifiers)
    inside = {reference[1:] for reference in page.references if reference.startswith("#")}
    assert inside <= set(page.identifiers)


@pytest.mark.parametrize("kind", ["page", "flex_page"])
def test_the_contents_lead_to_every_section_in_order(kind: str, request: pytest.FixtureRequest) -> None:
    page = request.getfixturevalue(kind)
    inside = [reference[1:] for reference in page.references if reference.startswith("#")]
    listed = inside[: inside.index("repeat") + 1]
    assert listed[0] == "summary" and set(listed[1:]) == SECTIONS
    assert listed == [name for name in page.identifiers if name in listed]


@pytest.mark.parametrize(("kind", "own"), [("page", "threshold"), ("flex_page", "mesh")])
def test_all_figures_are_there_and_described(kind: str, own: str, request: pytest.FixtureRequest) -> None:
    page = request.getfixturevalue(kind)
    keys = FIGURES | {own}
    assert keys <= set(page.identifiers)
    assert page.tags.count("figure") == page.tags.count("figcaption") == len(keys)
    assert "cannot be shown" not in page.text


def test_text_of_the_files_is_escaped(finished: Path, page: Any, hostile: str) -> None:
    source = (finished / "report.html").read_text(encoding="utf-8")
    assert "<script>alert" not in source and "<b>" not in source and "map <1>" not in source
    assert page.text.count(hostile) == 3  # a warning, a setting and what computed it, as text
    assert "map <1>.mrc" in page.text


def test_equal_runs_give_equal_reports(finished_flex: Path, flex_page: Any) -> None:
    first = (finished_flex / "report.html").read_bytes()
    assert write_report(finished_flex).read_bytes() == first


def test_the_page_and_its_pictures_are_listed_as_they_were_written(finished: Path) -> None:
    write_report(finished)
    listed = listed_in(finished, REPORT)
    pictures = {path.relative_to(finished).as_posix() for path in (finished / "figures").iterdir()}
    assert len(pictures) >= 2 * len(FIGURES - {"film-maps"})
    assert set(listed.names()) == {"report.html"} | pictures and not listed.faults()
    for name in ("report.html", "figures/fsc.png"):
        whole = (finished / name).read_bytes()
        (finished / name).write_bytes(whole + b" ")
        assert set(listed.faults()) == {name}
        (finished / name).write_bytes(whole)


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(("kind", "name"), CASES)
def test_a_missing_file_is_named_in_its_place(
    kind: str, name: str, request: pytest.FixtureRequest, page_of: PageOf
) -> None:
    run = request.getfixturevalue(kind)
    (run / name).unlink()
    page = page_of(run)
    assert f"{name}: not in the run directory" in page.text
    assert page.text.count(name) >= (1 if name in ("grid.json", "maps/map.mrc") else 2)  # in the summary and in place


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(("kind", "name"), CASES)
def test_a_damaged_file_is_named(kind: str, name: str, request: pytest.FixtureRequest, page_of: PageOf) -> None:
    run = request.getfixturevalue(kind)
    (run / name).write_bytes(b"\x00{damaged")
    assert f"{name}: cannot be read" in page_of(run).text


@pytest.mark.parametrize("name", [name for name in SHARED if "json" in name] + ["threshold.json", "grid.json"])
@pytest.mark.parametrize("content", ["{}", '{"deformed": [], "half1": 3, "counts": "x", "threshold": null}'])
def test_contents_that_make_no_sense_do_not_stop_the_report(
    name: str, content: str, tmp_path: Path, page_of: PageOf
) -> None:
    (tmp_path / name).write_text(content + "\n")
    assert f"{name}: cannot" not in page_of(tmp_path).text


def test_an_empty_directory_gets_a_report_that_says_so(tmp_path: Path, page_of: PageOf) -> None:
    page = page_of(tmp_path)
    assert "not complete" in page.text and f"dynaflex resume {tmp_path}" in page.text
    assert "figure" not in page.tags


def test_a_run_that_is_not_there_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such run directory"):
        write_report(tmp_path / "nowhere")


@pytest.mark.parametrize("kind", ["page", "flex_page"])
def test_the_page_names_what_computed_the_run(kind: str, request: pytest.FixtureRequest) -> None:
    assert "Computed by native C, interface 1, 2 threads, then by reference" in request.getfixturevalue(kind).text
