"""The page of the door is up to date, and everything on it is documented."""

from __future__ import annotations

import inspect
from pathlib import Path
from types import ModuleType

import pytest

from dynaflex import api
from pages import maker

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def page() -> ModuleType:
    return maker("api")


def test_the_page_is_up_to_date(page: ModuleType) -> None:
    assert page.PAGE.read_text(encoding="utf-8") == page.page(), "run `make docs`"


def test_the_page_has_all_that_the_door_opens(page: ModuleType) -> None:
    functions = {name for names in page.FUNCTIONS.values() for name in names}
    results = {kind.__name__ for kind in page.RESULTS}
    assert functions | (results & {*api.__all__}) == {*api.__all__}


@pytest.mark.parametrize("name", [name for name in api.__all__ if inspect.isfunction(getattr(api, name))])
def test_every_function_names_its_parameters_and_shows_a_use(name: str) -> None:
    function = getattr(api, name)
    doc = inspect.getdoc(function) or ""
    listed = doc.partition("Args:\n")[2].partition("\n\n")[0]
    names = {one.strip() for line in listed.splitlines() if line[4:5] != " " for one in line.split(":")[0].split(",")}
    assert names == {*inspect.signature(function).parameters} - {"settings"}
    assert f"df.{name}(" in doc.partition("Example:\n")[2]
