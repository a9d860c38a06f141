"""``python -m dynaflex``, for those who start many of it at once, as ``torchrun`` does."""

from __future__ import annotations

from dynaflex.relion.own import program

if __name__ == "__main__":
    program()
