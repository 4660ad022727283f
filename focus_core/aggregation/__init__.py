"""From windows and pixels to plots: weighted means, their spread, and one store over all flights."""

from focus_core.aggregation.bands import spread_over_bands
from focus_core.aggregation.change import change_between_flights
from focus_core.aggregation.comparison import compare_treatments
from focus_core.aggregation.importance import campaign_importance
from focus_core.aggregation.reflectance import campaign_reflectance
from focus_core.aggregation.season import write_season
from focus_core.aggregation.spectra import plot_spectra
from focus_core.aggregation.statistics import plot_statistics

__all__ = [
    "campaign_importance",
    "campaign_reflectance",
    "change_between_flights",
    "compare_treatments",
    "plot_spectra",
    "plot_statistics",
    "spread_over_bands",
    "write_season",
]
