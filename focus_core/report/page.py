"""Put figures, table and words on one page that needs nothing else: no network, no other file.

Figures and outlines are data blocks; the only scripts that a browser runs are the page's own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pyproj
import xarray as xr
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from focus_core import __version__
from focus_core.config import Campaign, ReportSettings
from focus_core.metrics import DRIFT_LEVEL
from focus_core.report.change import Change, change_since
from focus_core.report.curve_figures import curve_figure
from focus_core.report.curves import class_curves
from focus_core.report.drift import drift_rows
from focus_core.report.field_map import CONFIDENCE_STEPS, field_map, outline
from focus_core.report.flight import Flight, read_flight
from focus_core.report.heat_map import importance_map, sink_map
from focus_core.report.quality import bad_ranges, quick_looks, valid_share
from focus_core.report.style import colour
from focus_core.report.table import plot_rows
from focus_core.report.template import data_block, own_file, policy, template
from focus_core.report.words import attention_of, metric_rows, strongest_groups

_PER_NM = "importance per nm (logit units)"


@dataclass(frozen=True, kw_only=True)
class Sources:
    """What the page is made from."""

    campaign: Campaign
    cube: xr.Dataset
    reference: xr.Dataset
    importance: xr.Dataset
    metrics: Mapping[str, float]
    """Of the evaluation, by the names that ``evaluate`` gives them."""
    digests: Mapping[str, tuple[str, str]]
    """URI and sha256 of each input."""


def render_page(sources: Sources, *, settings: ReportSettings) -> str:
    """Return the page as HTML.

    Raises
    ------
    StoreError
        If ``importance.zarr`` does not hold the campaign, or none of its plots is explained.
    """
    where = sources.digests["importance"][0]
    flight = read_flight(sources.importance, sources.campaign.campaign, where)
    rows = plot_rows(flight)
    curves = class_curves(flight, sources.reference, draws=settings.bootstrap_draws)
    change = _change(sources, flight, where)
    figures = {
        "map": field_map(rows, flight.classes, _crs(sources.importance), rows_downwards=_downwards(sources.cube)),
        "curves": curve_figure(curves, flight, value=_PER_NM),
        "plots": importance_map(flight),
        "sink": sink_map(flight),
    }
    if change and change.curves:
        value = f"change in {_PER_NM}"
        figures["change"] = curve_figure(change.curves, flight, value=value, beside=change.control)
    scripts = {"plotly": get_plotlyjs(), "page": own_file("page.js")}
    return template("page.html.j2").render(
        title=settings.title,
        version=__version__,
        campaign=sources.campaign,
        flight=flight,
        rows=rows,
        curves=curves,
        reference_source=sources.reference.attrs["source"],
        strongest=strongest_groups(curves, flight),
        colours={name: colour(index) for index, name in enumerate(flight.classes)},
        counts={name: sum(row.predicted == name for row in rows) for name in flight.classes},
        median_confidence=float(np.median([row.confidence for row in rows])),
        confidence_steps=CONFIDENCE_STEPS,
        change=change,
        same_model=not change or _model(sources, change.earlier.campaign) == _model(sources, flight.campaign),
        attention=attention_of(sources.metrics),
        metrics=metric_rows(sources.metrics),
        drift=drift_rows(sources.importance.attrs.get("sources", {}).get(flight.campaign, {}).get("drift", {})),
        drift_level=DRIFT_LEVEL,
        bad_ranges=bad_ranges(sources.cube),
        bands=sources.cube.sizes["band"],
        left_out=sources.cube.attrs.get("left_out", []),
        valid_share=valid_share(sources.cube),
        quick_looks=quick_looks(sources.cube),
        source=sources.importance.attrs.get("sources", {}).get(flight.campaign, {}),
        digests=sources.digests,
        square_metres=_crs(sources.importance) is not None,
        policy=policy(scripts),
        style=Markup(own_file("page.css")),
        scripts={name: Markup(text) for name, text in scripts.items()},
        figures={name: data_block(_spec(figure)) for name, figure in figures.items()},
        outlines=data_block([outline(row) for row in rows]),
    )


def _change(sources: Sources, flight: Flight, where: str) -> Change | None:
    """Compare with the flight before this one that explains any plot."""
    names = [str(name) for name in sources.importance["campaign"].to_numpy()]
    before = names[: names.index(flight.campaign)]
    explained = [name for name in before if bool(sources.importance["present"].sel(campaign=name).any())]
    if not explained:
        return None
    earlier = read_flight(sources.importance, explained[-1], where)
    return change_since(flight, earlier, reference_class=sources.campaign.reference_class)


def _downwards(cube: xr.Dataset) -> bool:
    """Return whether y grows from the top to the bottom of the field."""
    return bool(cube["y"][0] < cube["y"][-1])


def _model(sources: Sources, campaign: str) -> str:
    return str(sources.importance.attrs.get("sources", {}).get(campaign, {}).get("model_digest", ""))


def _crs(importance: xr.Dataset) -> pyproj.CRS | None:
    text = importance["spatial_ref"].attrs.get("crs_wkt")
    return pyproj.CRS.from_wkt(text) if text else None


def _spec(figure: go.Figure) -> dict[str, Any]:
    figure.update_layout(template="none", font={"family": "system-ui, sans-serif", "size": 14, "color": "#1b1b1b"})
    spec: dict[str, Any] = json.loads(figure.to_json())
    return spec
