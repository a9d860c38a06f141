"""``python -m pretended.program WAITS command ...``: the command line where there is a pretended device.

In a process of its own, because torch counts the devices of a process once. WAITS is the JSON file that is told where
the device was waited for.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from unittest.mock import patch

from dynaflex.cli.main import main
from pretended.device import pretended


def run(waits: Path, arguments: list[str]) -> None:
    """Leave as the command does."""
    with pretended() as device, patch.object(sys, "argv", ["dynaflex", *arguments]):
        try:
            main()
        finally:
            counted = [[count, why, place] for (why, place), count in device.waits.most_common()]
            waits.write_text(json.dumps(counted))


if __name__ == "__main__":
    run(Path(sys.argv[1]), sys.argv[2:])
