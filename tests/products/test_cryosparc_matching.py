"""Laws of finding the same particles again: each has its own image, whatever the stacks are called."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dynaflex.errors import InputError
from dynaflex.products.cryosparc.matching import by_image


def imported(*images: tuple[str, int]) -> np.ndarray:
    rows = np.zeros(len(images), dtype=[("uid", "<u8"), ("blob/path", "S90"), ("blob/idx", "<u4")])
    rows["uid"] = np.arange(len(images))
    rows["blob/path"], rows["blob/idx"] = zip(*((name.encode(), index) for name, index in images), strict=True)
    return rows


def places(table: np.ndarray, *images: str, path: Path = Path("J1.cs"), project: Path | None = None) -> list[int]:
    return by_image(table, images, path, project).tolist()


def test_names_that_cryosparc_gives_to_links_are_seen_through() -> None:
    table = imported(("J3/imported/00417_b.mrc", 1), (">J3/imported/00418_20150917_a.mrc", 0), ("b2.mrcs", 1))
    assert places(table, "1@Extract/20150917_a.mrcs", "000002@Extract/b.mrcs") == [1, 0]
    assert places(table, "000002@b2.mrcs", "000001@b.mrcs", "000001@c.mrcs") == [2, -1, -1]


def test_a_name_that_begins_with_a_number_is_not_shortened_where_it_is_whole() -> None:
    table = imported(("J3/2024_a.mrc", 0), ("J3/a.mrc", 0))
    assert places(table, "1@x/a.mrcs", "1@x/2024_a.mrcs") == [1, 0]


def test_folders_tell_stacks_of_one_name_apart() -> None:
    table = imported(("J3/night2/a.mrc", 0), ("J3/night1/a.mrc", 0))
    assert places(table, "1@Extract/night1/a.mrcs", "1@Extract/night2/a.mrcs") == [1, 0]


def test_links_tell_stacks_of_one_name_apart(tmp_path: Path) -> None:
    links = tmp_path / "cs" / "J3" / "imported"
    links.mkdir(parents=True)
    for number, night in enumerate(("night2", "night1")):
        (tmp_path / "relion" / night).mkdir(parents=True)
        (tmp_path / "relion" / night / "a.mrcs").write_text(night)
        (links / f"{number}_a.mrcs").symlink_to(tmp_path / "relion" / night / "a.mrcs")
    table = imported(("J3/imported/0_a.mrcs", 0), ("J3/imported/1_a.mrcs", 0))
    given = {"path": links.parent / "particles.cs", "project": tmp_path / "relion"}
    assert places(table, "1@night1/a.mrcs", "1@night2/a.mrcs", **given) == [1, 0]  # type: ignore[arg-type]
    with pytest.raises(InputError) as caught:
        places(table, "1@night1/a.mrcs", "1@night2/a.mrcs")
    assert caught.value.identifier == "cs.ambiguous-stack"


@pytest.mark.parametrize(
    ("table", "images"),
    [
        (imported(("a.mrc", 0), ("a.mrc", 0)), ("1@a.mrcs",)),
        (imported(("a.mrc", 0), ("a.mrc", 1)), ("1@a.mrcs", "1@a.mrcs")),
    ],
)
def test_particles_that_share_an_image_are_not_guessed(table: np.ndarray, images: tuple[str, ...]) -> None:
    with pytest.raises(InputError) as caught:
        places(table, *images)
    assert caught.value.identifier == "cs.repeated-image"


def test_particles_in_no_stack_of_the_run_may_repeat() -> None:
    assert places(imported(("z.mrc", 0), ("z.mrc", 0), ("a.mrc", 4)), "5@a.mrcs") == [2]


def test_a_table_without_images_says_so() -> None:
    with pytest.raises(InputError) as caught:
        places(np.zeros(2, dtype=[("uid", "<u8")]), "1@a.mrcs")
    assert caught.value.identifier == "cs.missing-column"
