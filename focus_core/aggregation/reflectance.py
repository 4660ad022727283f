"""One flight's plots as the cube shows them: mean spectra and indices, beside what the model makes of them.

Knows one campaign; does not know the model.
"""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import numpy as np
import xarray as xr

from focus_core.aggregation.indices import INDICES, vegetation_indices
from focus_core.aggregation.spectra import plot_spectra
from focus_core.config import AggregateSettings, Campaign
from focus_core.cubes.trim import trimmed


def campaign_reflectance(
    cube_uri: str | Path, campaign: Campaign, plots: gpd.GeoDataFrame, *, settings: AggregateSettings
) -> xr.Dataset:
    """Return the part of ``importance.zarr`` that comes from the cube, computed.

    Parameters
    ----------
    cube_uri
        The flight's cube.
    campaign
        The flight.
    plots
        As of `read_plots`.
    settings
        Trimming of the plots, and the indices.

    Returns
    -------
    xarray.Dataset
        ``spectrum, spectrum_std, spectrum_area_m2 (campaign, plot, band)`` and ``vegetation_index (campaign, plot,
        index)``, float64; ``index_bands (campaign, index)``.

    Raises
    ------
    SettingsError
        If nothing is left of a plot, or an index is unknown.
    StoreError
        If cube and plots do not lie in one CRS, or no plot reaches into the image.
    """
    kept = trimmed(plots, settings)
    spectra = plot_spectra(cube_uri, kept).compute()
    indices = vegetation_indices(spectra, names=settings.indices, tolerance_nm=settings.index_tolerance_nm)
    found = indices.assign(
        spectrum=spectra["mean"], spectrum_std=spectra["std"], spectrum_area_m2=spectra["area_m2"]
    ).drop_vars(["fwhm", "good_band"])
    found["spectrum"].attrs = {"long_name": f"mean {campaign.quantity} of the plot's pixels, by exact coverage"}
    found["spectrum_std"].attrs = {"long_name": f"standard deviation of {campaign.quantity} over the plot's pixels"}
    sources = {name: INDICES[name].source for name in settings.indices}
    found["vegetation_index"].attrs = {"long_name": "index of the plot's mean spectrum", "sources": sources}
    found["index_bands"].attrs = {"long_name": "bands that stand for the index's wavelengths, or why there are none"}
    return found.expand_dims(campaign=np.array([campaign.campaign], dtype=np.dtypes.StringDType()))
