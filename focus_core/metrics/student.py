"""The interval of a mean over independent rows, such as plots. Does not know what the columns mean."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy import stats


def student_interval(
    values: Float[np.ndarray, "row *column"], *, level: float = 0.95
) -> tuple[Float[np.ndarray, "*column"], Float[np.ndarray, "*column"]]:
    """Return Student's interval of the mean of rows (Student 1908), each column for itself.

    Parameters
    ----------
    values
        ``(row, *column)`` float64, rows independent of each other.
    level
        Coverage of the interval, in (0, 1).

    Returns
    -------
    tuple
        Lower and upper end ``(*column)``; NaN for fewer than two rows.
    """
    count = len(values)
    if count < 2:
        nothing = np.full(values.shape[1:], np.nan)
        return nothing, nothing.copy()
    mean = values.mean(axis=0)
    half = stats.t.ppf(0.5 + level / 2, count - 1) * values.std(axis=0, ddof=1) / np.sqrt(count)
    return np.asarray(mean - half), np.asarray(mean + half)
