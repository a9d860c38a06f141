"""A device that is not there, and programs that run on it, each in a process of its own."""

NAME = "pretended"
