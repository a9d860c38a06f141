"""The page of errors is complete, and every error in it keeps the promises of the first paragraph."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from pages import maker

ROOT = Path(__file__).parents[1]
IDENTIFIER = re.compile(r"[a-z]+(-[a-z]+)*\.[a-z0-9]+(-[a-z0-9]+)*")


@pytest.fixture(scope="module")
def page() -> ModuleType:
    return maker("errors")


@pytest.fixture(scope="module")
def entries(page: ModuleType) -> list[Any]:
    return list(page.entries())


def test_the_page_is_up_to_date(page: ModuleType) -> None:
    assert page.PAGE.read_text(encoding="utf-8") == page.page(), "run `make docs`"


def test_every_identifier_is_a_literal_of_one_form(entries: list[Any]) -> None:
    odd = [(entry.path, entry.identifier) for entry in entries if not IDENTIFIER.fullmatch(entry.identifier)]
    assert not odd


def test_an_identifier_has_one_exit_code(page: ModuleType, entries: list[Any]) -> None:
    codes = defaultdict(set)
    for entry in entries:
        codes[entry.identifier].add(entry.code)
    assert not {name: found for name, found in codes.items() if len(found) > 1}
    assert {code for found in codes.values() for code in found} <= page.MEANING.keys()


def test_every_error_is_met_by_a_test(entries: list[Any]) -> None:
    written = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("*.py"))
    assert not sorted({entry.identifier for entry in entries if f"{entry.identifier}" not in written})


def test_classes_made_from_the_errors_are_found(page: ModuleType) -> None:
    codes = page.exit_codes()
    assert codes["InputError"] == 3
    assert codes["Diverged"] == codes["NumericalError"] == 7
