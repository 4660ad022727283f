"""The coordinate reference system (CRS) that a campaign names, and whether two of them are one."""

from __future__ import annotations

from typing import Any

from rasterio.crs import CRS
from rasterio.errors import CRSError

from focus_core.config import CampaignFile


def campaign_crs(file: CampaignFile) -> Any:
    """Return the campaign's ``rasterio.crs.CRS``, or none where positions are pixels.

    Raises
    ------
    CampaignError
        If the text names no CRS.
    """
    text = file.campaign.crs
    try:
        return None if text is None else CRS.from_user_input(text)
    except (CRSError, ValueError) as error:
        raise file.error(("crs",), f"'{text}' is no CRS ({error}); write one such as EPSG:32633") from error


def same_crs(one: Any, other: Any) -> bool:
    """Return whether two CRS mean the same, however their names are written; none, for pixels, is itself only."""
    if one is None or other is None:
        return one is other
    if one == other:
        return True
    codes = [crs.to_epsg(confidence_threshold=25) for crs in (one, other)]
    if None not in codes:
        return bool(codes[0] == codes[1])
    return bool(one.to_dict(projjson=False) == other.to_dict(projjson=False))
