"""What the tests of products ask of the ``run`` that each file has."""

from __future__ import annotations

import pytest

from dynaflex.prepare.inputs import Inputs
from dynaflex.products.states.surroundings import Surroundings
from dynaflex.results.reopen import reopened
from dynaflex.run.directory import Run


@pytest.fixture(scope="module")
def inputs(run: Run) -> Inputs:
    return reopened(run)


@pytest.fixture(scope="module")
def both(run: Run) -> Surroundings:
    return Surroundings(run)
