"""The ``focus`` command; nothing heavy is imported until a verb runs."""

from focus_core.cli.app import main

__all__ = ["main"]
