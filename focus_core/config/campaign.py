"""The campaign file: one flight over one field, as a drone team delivers it.

Knows the file's shape and confines every path that it names; opens none of the files.
"""

from __future__ import annotations

import copy
import datetime as dt
import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from focus_core.config.groups import WavelengthGroups, parse_groups
from focus_core.config.raw import RawCube, RawFile, ResampleTo
from focus_core.config.settings import FOLDS, Fold, Settings
from focus_core.config.source import YamlSource
from focus_core.errors import CampaignError, FocusError, MissingInputError

Quantity = Literal["reflectance", "radiance"]

_VARIABLE = re.compile(r"^\$\{([A-Z][A-Z0-9_]*)\}/")

_SHORTEST_NM = 200.0


def _range(value: tuple[float, float]) -> tuple[float, float]:
    if not 0.0 < value[0] < value[1]:
        raise ValueError(f"expected [low, high] in nm with 0 < low < high, found {list(value)}")
    if value[1] < _SHORTEST_NM:
        raise ValueError(f"expected nm, found {list(value)}, where no sensor sees; 1 µm is 1000 nm")
    return value


RangeNm = Annotated[tuple[float, float], AfterValidator(_range)]
Identifier = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
ClassName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,39}$")]


class VectorPlots(Settings):
    """Plot polygons from a GeoJSON or GeoPackage file."""

    file: str
    """Path of the vector file."""
    id: str = "plot"
    """Property that names a plot; stable over flights."""
    label: str | None = "label"
    """Property that holds the class; ``null`` where the plots are unlabelled."""
    block: str | None = "block"
    """Property that holds the trial block; without it each plot is its own."""


class RasterPlots(Settings):
    """Plots from rasters of class numbers: fields of one class, cut into spatial blocks."""

    raster: Annotated[
        list[str], BeforeValidator(lambda value: [value] if isinstance(value, str) else value), Field(min_length=1)
    ]
    """Path of the label raster (``.mat`` or GeoTIFF), or of several GeoTIFFs that are tiles of one map."""
    variable: str | None = None
    """Name of the array inside a MATLAB file."""
    values: dict[int, ClassName]
    """Class of each number; numbers not named here are unlabelled ground."""
    block_px: int = Field(ge=4)
    """Side of a spatial block, pixels, counted from the upper left corner; a plot is one class within one block."""


def _form_of_plots(plots: Any) -> str:
    raster = isinstance(plots, RasterPlots) or (isinstance(plots, dict) and "raster" in plots)
    return "RasterPlots" if raster else "VectorPlots"  # names that are no keys: findings hold them too


class Window(Settings):
    """The unit of analysis: a square of pixels that belongs to one plot."""

    size_px: int = Field(default=24, ge=4)
    """Side of a window, pixels of the cube."""
    stride_px: int = Field(default=6, ge=1)
    """Step between windows of a plot, pixels; smaller than the size means overlap."""
    input_px: int = Field(default=24, ge=4)
    """Side of the model's input, pixels; windows are resampled to it."""
    edge: Literal["shift", "drop"] = "shift"
    """``shift``: the last window of a plot is moved back inside the plot's extent; ``drop``: it is left out."""
    guard_px: int = Field(default=0, ge=0)
    """Least gap between windows of different folds, pixels; windows that reach into it are dropped, and counted."""


class Folds(Settings):
    """Shares of trial blocks in each fold; a block lies in one fold whole."""

    train: float = Field(default=0.4, gt=0.0)
    validation: float = Field(default=0.15, ge=0.0)
    gate: float = Field(default=0.15, ge=0.0)
    test: float = Field(default=0.3, ge=0.0)
    seed: int = Field(default=0, ge=0)
    """Seed of the order of blocks; another seed is another rotation."""

    @model_validator(mode="after")
    def _sum(self) -> Self:
        total = sum(self.shares.values())
        if abs(total - 1.0) > 1e-6:
            raise ValueError(f"the four shares add up to {total:g}; they must add up to 1")
        return self

    @property
    def shares(self) -> dict[Fold, float]:
        """Share of each fold, in the order of ``FOLDS``."""
        return {fold: getattr(self, fold) for fold in FOLDS}  # type: ignore[misc]


class Campaign(Settings):
    """A validated campaign file."""

    campaign: Identifier
    """Stable id of the flight; a coordinate of ``importance.zarr``."""
    date: dt.date
    """Day of the flight."""
    sensor: str = Field(min_length=1, max_length=80)
    """Name of the sensor."""
    quantity: Quantity
    """What the numbers of the cube mean after calibration; a model is used on its own quantity only."""
    simulated: bool = False
    """Whether the files come from a simulator; said wherever the campaign appears."""
    crs: str | None = None
    """CRS such as ``EPSG:32633``; ``null`` where positions are pixels."""
    cubes: list[RawCube] = Field(min_length=1)
    """Raw files of the flight, mosaicked on one grid."""
    classes: list[ClassName] = Field(min_length=2)
    """Class names; their order is the order of ``cls`` in every store."""
    plots: Annotated[
        Annotated[VectorPlots, Tag("VectorPlots")] | Annotated[RasterPlots, Tag("RasterPlots")],
        Discriminator(_form_of_plots),
    ]
    """Where the plots lie."""
    reference_class: ClassName | None = None
    """Class against which importance is measured, e.g. the control; ``null``: the class-balanced mean."""
    masks: dict[ClassName, str] = Field(default_factory=dict)
    """Expert masks: a raster per class on the cube's grid, non-zero where the class shows."""
    ranges_nm: dict[ClassName, list[RangeNm]] = Field(default_factory=dict)
    """Expert ranges per class: the wavelengths at which physiology says the class shows, nm."""
    groups: str | dict[ClassName, RangeNm] = "agronomic"
    """Wavelength groups: ``agronomic``, ``uniform:<nm>``, or names with ``[low, high]`` in nm."""
    resample_to: ResampleTo | None = None
    """Bands on which the cube is wanted instead of the sensor's own, e.g. those that a model was trained on."""
    bad_ranges_nm: list[RangeNm] = Field(default_factory=list)
    """Ranges declared bad beside what the file and the quality checks find, nm."""
    null_ranges_nm: list[RangeNm] = Field(default_factory=list)
    """Ranges known to hold noise only (planted by the simulator); read by ``evaluate`` alone, nm."""
    window: Window = Window()
    """Unit of analysis."""
    folds: Folds = Folds()
    """How trial blocks are split."""

    @field_validator("groups")
    @classmethod
    def _groups_parse(cls, value: str | dict[str, tuple[float, float]]) -> str | dict[str, tuple[float, float]]:
        parse_groups(value)
        return value

    @field_validator("classes")
    @classmethod
    def _classes_differ(cls, value: list[str]) -> list[str]:
        if len(set(value)) != len(value):
            raise ValueError(f"repeats a name: {value}; name each class once")
        return value

    @field_validator("plots", "reference_class", "masks", "ranges_nm")
    @classmethod
    def _names_are_classes(cls, value: Any, info: ValidationInfo) -> Any:
        named = value.values.values() if isinstance(value, RasterPlots) else value
        names = {named} if isinstance(named, str) else set() if isinstance(named, VectorPlots) else set(named or ())
        known = info.data.get("classes")
        if known is not None and names - set(known):
            raise ValueError(f"names {sorted(names - set(known))}, not among the classes {known}; check the spelling")
        return value

    @property
    def wavelength_groups(self) -> WavelengthGroups:
        """The wavelength groups, parsed."""
        return parse_groups(self.groups)


class CampaignFile:
    """A campaign and the file it came from: resolves paths and reports errors by line.

    Parameters
    ----------
    path
        Path of the YAML file.

    Raises
    ------
    MissingInputError
        If the file does not exist.
    CampaignError
        If it breaks the schema; the message gives file, line and key of every finding.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).absolute()
        self._source = YamlSource(self.path)
        try:
            self.campaign = Campaign.model_validate(self._source.data)
        except ValidationError as failure:
            raise self._source.errors(failure) from failure
        except FocusError as failure:
            raise self.error(("groups",), str(failure)) from failure

    def rotated(self, folds_seed: int | None) -> Self:
        """Return the same campaign with its blocks in other folds; with the file's own where the seed is ``None``."""
        if folds_seed is None:
            return self
        other = copy.copy(self)
        folds = self.campaign.folds.model_copy(update={"seed": folds_seed})
        other.campaign = self.campaign.model_copy(update={"folds": folds})
        return other

    def error(self, location: tuple[int | str, ...], message: str) -> CampaignError:
        """Build an error that names file, line and key."""
        return self._source.error(location, message)

    def resolve(self, location: tuple[int | str, ...], text: str) -> Path:
        """Return the existing file, or folder of a Zarr store, that a key names.

        A relative path lies below the campaign file's folder; ``${NAME}/…`` lies below the folder that the
        environment variable names. Nothing else is opened: neither ``..`` nor a link leads out.

        Raises
        ------
        CampaignError
            If the path leads outside, or the variable is not set.
        MissingInputError
            If the file does not exist.
        """
        root, relative = self.path.parent, text
        if match := _VARIABLE.match(text):
            folder = os.environ.get(match.group(1))
            if not folder:
                raise self.error(
                    location,
                    f"needs the environment variable {match.group(1)}; set it to the data's folder",
                )
            root, relative = Path(folder), text[match.end() :]
        try:
            path = (root / relative).resolve()
            exists = path.is_file() or (path / "zarr.json").is_file() or (path / ".zgroup").is_file()
        except (OSError, ValueError, RuntimeError) as error:  # too long, a NUL in it, links in a circle
            raise self.error(location, f"'{text[:60]}' is no path: {str(error)[:200]}; correct it") from error
        if not path.is_relative_to(root.resolve()):
            raise self.error(location, f"'{text}' leads outside {root}; keep the data below it")
        if not exists:
            line = self._source.line_of(location)
            key = ".".join(str(step) for step in location)
            raise MissingInputError(f"{self.path}:{line}: {key}: no file '{path}'; check the path")
        return path

    @property
    def plots_paths(self) -> list[Path]:
        """The existing files of the plots: one, or several label rasters; errors as of `resolve`."""
        form = self.campaign.plots
        if isinstance(form, VectorPlots):
            return [self.resolve(("plots", "file"), form.file)]
        return [self.resolve(("plots", "raster"), text) for text in form.raster]

    def raw_files(self, index: int) -> list[Path]:
        """Return the existing files that a cube of the campaign names, of all its cameras; errors as of `resolve`."""
        cube = self.campaign.cubes[index]
        cameras: list[tuple[tuple[int | str, ...], RawFile]] = [(("cubes", index), cube)]
        cameras += [(("cubes", index, "other_cameras", n), other) for n, other in enumerate(cube.other_cameras)]
        named = [((*where, key), getattr(raw, key)) for where, raw in cameras for key in ("image", "white", "dark")]
        return [self.resolve(where, text) for where, text in named if text]

    def inputs(self) -> list[Path]:
        """Return the campaign file and every file it names, each checked to exist and to be inside."""
        masks = [self.resolve(("masks", cls), text) for cls, text in self.campaign.masks.items()]
        cubes = [path for index in range(len(self.campaign.cubes)) for path in self.raw_files(index)]
        return [self.path, *cubes, *self.plots_paths, *masks]
