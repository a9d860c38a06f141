"""What it costs to start: the CPU of ``dynaflex --help`` beside that of importing numpy and pandas.

    python benchmarks/startup.py [--rounds 15]

Prints one JSON line. Both take turns; figures are medians of user and system time of whole processes.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys

PROGRAM = 'import sys; sys.argv = ["dynaflex", {}]\nfrom dynaflex.cli.main import main\nmain()'
MEASURED = {
    "numpy_pandas": "import numpy, pandas",
    "help": PROGRAM.format('"--help"'),
    "flex_help": PROGRAM.format('"flex", "--help"'),
    "version": PROGRAM.format('"--version"'),
}


def main() -> None:
    """Measure in turns, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    spent: dict[str, list[float]] = {name: [] for name in MEASURED}
    for _ in range(rounds):
        for name, code in MEASURED.items():
            spent[name].append(cpu_seconds([sys.executable, "-c", code]))
    usual = {name: statistics.median(times) for name, times in spent.items()}
    ratios = [a / b for a, b in zip(spent["help"], spent["numpy_pandas"], strict=True)]
    figures = {f"{name}_cpu_s": round(value, 3) for name, value in usual.items()}
    print(
        json.dumps({"benchmark": "startup", **figures, "help_over_numpy_pandas": round(statistics.median(ratios), 2)})
    )


def cpu_seconds(command: list[str]) -> float:
    """User and system time of a process."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if os.waitstatus_to_exitcode(status) != 0:
        raise SystemExit(f"failed: {command}")
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
