"""Print the lowest versions that pyproject.toml allows, as constraints; torch is left out."""

from __future__ import annotations

import tomllib
from pathlib import Path

EXTRAS = ("atoms", "view")


def lowest() -> list[str]:
    """The lower bounds of pyproject.toml, of the core and of what the extras add to it."""
    text = (Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8")
    project = tomllib.loads(text)["project"]
    asked = [*project["dependencies"], *(one for name in EXTRAS for one in project["optional-dependencies"][name])]
    return [one.replace(">=", "==") for one in asked if not one.startswith("torch>")]


if __name__ == "__main__":
    print("\n".join(lowest()))
