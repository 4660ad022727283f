"""What each store holds: dims, dtype, unit and coordinates, written once and checked at each read and write.

Does not read or write; `store` does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import xarray as xr

from focus_core.errors import StoreError

WAVELENGTH_ATTRS = {"standard_name": "radiation_wavelength", "units": "nm"}
SCALE = 1e-4
"""One step of the stored int16; a round trip is off by at most half of it."""
FILL = -32768
"""Stored number of a missing value."""


@dataclass(frozen=True)
class Variable:
    """Dims, kinds of dtype (numpy's letters) and unit of one variable, as it is opened."""

    dims: tuple[str, ...]
    kinds: str = "f"
    units: str | None = None
    optional: bool = False


@dataclass(frozen=True)
class Schema:
    """Variables, coordinates and attributes of one store."""

    name: str
    variables: Mapping[str, Variable]
    coords: Mapping[str, Variable]
    attrs: tuple[str, ...] = ()
    increasing: tuple[str, ...] = field(default=())
    """Coordinates that must be strictly increasing."""
    in_blocks: bool = True
    """Whether its variables are opened as Dask arrays; else each read goes straight to the store, which costs less."""
    as_stored: tuple[str, ...] = ()
    """Variables that are opened as the steps of ``scale_factor`` that the store holds; their reader decodes them."""


_BAND = {
    "wavelength": Variable(("band",), units="nm"),
    "fwhm": Variable(("band",), units="nm"),
    "good_band": Variable(("band",), kinds="b"),
}
_GROUP = {
    "group": Variable(("group",), kinds="OUT"),
    "group_lo_nm": Variable(("group",), units="nm"),
    "group_hi_nm": Variable(("group",), units="nm"),
}
_CLS = {"cls": Variable(("cls",), kinds="OUT")}
_TILE = {
    "row": Variable(("tile",), kinds="i"),
    "col": Variable(("tile",), kinds="i"),
    "plot": Variable(("tile",), kinds="OUT"),
    "label": Variable(("tile",), kinds="i"),
    "fold": Variable(("tile",), kinds="OUT"),
    "valid_fraction": Variable(("tile",)),
    "coverage": Variable(("tile",)),
}

CUBE = Schema(
    name="cube.zarr",
    variables={
        "reflectance": Variable(("band", "y", "x")),
        "valid": Variable(("y", "x"), kinds="b"),
    },
    coords={
        **_BAND,
        "y": Variable(("y",)),
        "x": Variable(("x",)),
        "spatial_ref": Variable((), kinds="i"),
    },
    attrs=("quantity", "campaign"),
    increasing=("wavelength",),
)
TILES = Schema(
    name="tiles.zarr",
    variables={
        "reflectance": Variable(("tile", "band", "ty", "tx"), kinds="fi"),
        "band_mean": Variable(("band",)),
        "band_std": Variable(("band",)),
        "band_low": Variable(("band",)),
        "band_high": Variable(("band",)),
    },
    coords={**_BAND, **_TILE},
    attrs=("quantity", "campaign", "classes", "transform"),
    increasing=("wavelength",),
    in_blocks=False,
    as_stored=("reflectance",),
)
REFERENCE = Schema(
    name="reference.zarr",
    variables={
        "effect_size": Variable(("cls", "band"), optional=True),
        "reference": Variable(("cls", "band"), kinds="b"),
        "mask": Variable(("cls", "y", "x"), kinds="b", optional=True),
    },
    coords={
        **_CLS,
        "wavelength": _BAND["wavelength"],
        "null_band": Variable(("band",), kinds="b"),
        "has_reference": Variable(("cls",), kinds="b"),
        "has_mask": Variable(("cls",), kinds="b"),
    },
    attrs=("campaign", "source"),
    increasing=("wavelength",),
)
EXPLANATION = Schema(
    name="explanation.zarr",
    variables={
        "evidence": Variable(("tile", "cls", "group")),
        "importance": Variable(("tile", "cls", "group")),
        "seed_importance": Variable(("tile", "cls", "seed", "group")),
        "sink_share": Variable(("tile", "cls", "group")),
        "token_share": Variable(("tile", "cls", "group")),
        "prefix_attention": Variable(("tile", "cls", "group")),
        "background_attention": Variable(("tile", "cls", "group")),
        "outlier_share": Variable(("tile", "group")),
        "logit": Variable(("tile", "cls")),
        "probability": Variable(("tile", "cls")),
        "saliency": Variable(("tile", "cls", "group", "py", "px")),
        "bias": Variable(("cls",)),
    },
    coords={
        **_TILE,
        "failure": Variable(("tile",), kinds="OUT"),
        **_CLS,
        **_GROUP,
        **_BAND,
        "group_of_band": Variable(("band",), kinds="i"),
    },
    attrs=("campaign", "model", "model_digest", "quantity", "reference_class", "backbone"),
    increasing=("wavelength", "group_lo_nm"),
)
IMPORTANCE = Schema(
    name="importance.zarr",
    variables={
        **{
            name: Variable(("campaign", "plot", "cls", "band"))
            for name in ("importance", "importance_per_nm", "lo", "hi", "seed_lo", "seed_hi")
        },
        **{name: Variable(("campaign", "plot", "cls", "group")) for name in ("evidence", "sink_share")},
        **{
            name: Variable(("campaign", "treatment", "cls", "group"))
            for name in ("treatment_mean", "treatment_lo", "treatment_hi")
        },
        "treatment_plots": Variable(("campaign", "treatment"), kinds="i"),
        **{name: Variable(("campaign", "plot", "cls")) for name in ("logit", "probability", "bias")},
        "area_m2": Variable(("campaign", "plot"), units="m2"),
        "n_eff": Variable(("campaign", "plot")),
        "present": Variable(("campaign", "plot"), kinds="b"),
        "label": Variable(("campaign", "plot"), kinds="i"),
        "fold": Variable(("campaign", "plot"), kinds="OUT"),
        "block": Variable(("campaign", "plot"), kinds="OUT"),
        "spectrum": Variable(("campaign", "plot", "band"), optional=True),
        "spectrum_std": Variable(("campaign", "plot", "band"), optional=True),
        "spectrum_area_m2": Variable(("campaign", "plot", "band"), units="m2", optional=True),
        "vegetation_index": Variable(("campaign", "plot", "index"), optional=True),
        "index_bands": Variable(("campaign", "index"), kinds="OUT", optional=True),
    },
    coords={
        "campaign": Variable(("campaign",), kinds="OUT"),
        "plot": Variable(("plot",), kinds="OUT"),
        "treatment": Variable(("treatment",), kinds="OUT"),
        **_CLS,
        **_GROUP,
        "wavelength": _BAND["wavelength"],
        "group_of_band": Variable(("band",), kinds="i"),
        "date": Variable(("campaign",), kinds="OUTM"),
        "spatial_ref": Variable((), kinds="i"),
    },
    attrs=("classes", "reference_class"),
    increasing=("wavelength", "group_lo_nm"),
)


def check(dataset: xr.Dataset, schema: Schema, *, where: str) -> xr.Dataset:
    """Return ``dataset`` if it holds what ``schema`` says.

    Raises
    ------
    StoreError
        Naming the store, the variable, what was expected and what was found.
    """
    for name, wanted in {**schema.variables, **schema.coords}.items():
        if name not in dataset.variables:
            if wanted.optional:
                continue
            raise StoreError(
                f"{where}: {schema.name} needs '{name}' {wanted.dims}; it is missing: is this another store?"
            )
        found = dataset[name]
        if found.dims != wanted.dims:
            raise StoreError(f"{where}: '{name}' must have dims {wanted.dims}, found {found.dims}")
        if found.dtype.kind not in wanted.kinds:
            raise StoreError(f"{where}: '{name}' must be of kind '{wanted.kinds}', found dtype {found.dtype}")
        if wanted.units and found.attrs.get("units") != wanted.units:
            raise StoreError(f"{where}: '{name}' must be in {wanted.units}, found units {found.attrs.get('units')!r}")
    missing = [name for name in schema.attrs if name not in dataset.attrs]
    if missing:
        raise StoreError(f"{where}: {schema.name} needs the attributes {missing}; they are missing")
    for name in schema.increasing:
        steps = np.diff(dataset[name].to_numpy())
        if not (steps > 0).all():
            raise StoreError(f"{where}: '{name}' must increase strictly; sort it before writing")
    return dataset
