"""Colours and shapes that tell classes apart, also for readers who do not see some colours, and on paper.

The colours are those of Okabe & Ito (2008), *Color Universal Design*; each class has a marker of its own beside them.
"""

from __future__ import annotations

OKABE_ITO = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#F0E442", "#000000")
_MARKERS = ("circle", "square", "diamond", "triangle-up", "triangle-down", "pentagon", "star", "cross")


def colour(index: int) -> str:
    """Return the colour of a class."""
    return OKABE_ITO[index % len(OKABE_ITO)]


def marker(index: int) -> str:
    """Return the marker of a class; classes beyond the eighth share a colour and not a marker."""
    return _MARKERS[(index + index // len(OKABE_ITO)) % len(_MARKERS)]


def faded(colour: str, opacity: float) -> str:
    """Return the colour with an opacity, as CSS."""
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity:.2f})"
