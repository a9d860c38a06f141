"""What the held-out images of a run say about its motion."""

from __future__ import annotations

import json
from pathlib import Path

from dynaflex.results.support import SUPPORT, Support


def supports(run: Path) -> list[Support]:
    """The support of both halves, as the run has it."""
    record = json.loads((run / SUPPORT).read_text())
    return [Support(**record[f"half{half}"]) for half in (1, 2)]
