"""What a FOCUS model is, apart from its weights: everything that `focus.json` holds.

Knows no torch; so a registry can read it without loading a network.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, ValidationError

from focus_core.config import Settings, WavelengthGroup, WavelengthGroups
from focus_core.errors import MissingInputError, ModelError

SPEC_FILE = "focus.json"
TOLERANCE_NM = 0.5
"""Largest difference between a band centre of the model and of a campaign, nm."""


class BackboneReference(Settings):
    """Which frozen ViT a model rests on; the model's own files hold none of its tensors."""

    uri: str
    """Folder, or ``models:/<name>/<version>``."""
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    """Digest of ``backbone.safetensors``."""
    kind: Literal["random", "self-supervised", "supervised", "pretrained"]
    """What the backbone learned from; results name it."""


class GroupRange(Settings):
    """One wavelength group."""

    name: str
    lo_nm: float
    """Lower edge, nm, inclusive."""
    hi_nm: float
    """Upper edge, nm, exclusive."""


class TrainingPlots(Settings):
    """What the training campaign looked like, so that later flights can be compared with it."""

    reflectance: tuple[tuple[float, ...], ...]
    """Mean of each plot (row) and wavelength group, in ``quantity``."""
    class_counts: tuple[int, ...]
    """Plots of each class."""
    sink_share: tuple[float, ...]
    """Share of attention on the sink of each validation plot; empty without a sink."""


class ModelSpec(Settings):
    """Shape, grid, classes and provenance of a FOCUS model."""

    wavelength_nm: tuple[float, ...]
    """Band centres that the model takes, nm; a campaign with others is refused."""
    good_band: tuple[bool, ...]
    """Bands that the model sees."""
    groups: tuple[GroupRange, ...]
    """Wavelength groups that hold at least one good band."""
    classes: tuple[str, ...]
    """Class names in the order of ``cls``."""
    reference_class: str | None
    """Class against which importance is measured; ``None``: the class-balanced mean."""
    quantity: Literal["reflectance", "radiance"]
    """What the numbers mean."""
    window_px: int
    """Side of the windows it was trained on, pixels of the cube."""
    input_px: int
    """Side of the backbone's input, pixels."""
    read_blocks: tuple[int, ...] = Field(min_length=1)
    """Blocks of the backbone whose tokens the rows read, in increasing order; 0 is the first."""
    rank: int = Field(ge=1)
    """Directions that the read-outs of all classes and groups share in each block."""
    prompt_seeds: int = Field(ge=1)
    """How many times the rows were trained, each with a seed of its own; the score is their mean."""
    group_dropout: float = Field(ge=0.0, lt=1.0)
    """Share of wavelength groups that training left out at random; chosen on validation plots, as the blocks are."""
    sink: bool
    """Whether prompts may put attention on a learned sink."""
    backbone: BackboneReference
    """The frozen ViT."""
    training_campaign: str
    """Campaign whose training plots it learned from."""
    simulated: bool
    """Whether that campaign was simulated."""
    training_plots: TrainingPlots | None = None
    """Its plots, to notice drift by."""
    run_id: str | None = None
    """Tracking run that trained it."""

    @property
    def wavelength_groups(self) -> WavelengthGroups:
        """The groups as the value type that assigns bands."""
        return WavelengthGroups(tuple(WavelengthGroup(name=g.name, lo_nm=g.lo_nm, hi_nm=g.hi_nm) for g in self.groups))

    def group_of_band(self) -> npt.NDArray[np.int64]:
        """Return the group of each band ``(band,)``; -1 outside all groups or bad."""
        return self.wavelength_groups.of_bands(
            np.asarray(self.wavelength_nm), np.asarray(self.good_band, dtype=np.bool_)
        )

    def check_input(self, wavelength_nm: npt.NDArray[np.float64], quantity: str, *, where: str) -> None:
        """Refuse a campaign whose bands or quantity are not the model's.

        Parameters
        ----------
        wavelength_nm
            Band centres ``(band,)`` of the campaign, nm.
        quantity
            Its quantity.
        where
            Name of its store, for the message.

        Raises
        ------
        ModelError
            Naming both ranges, or both quantities.
        """
        own = np.asarray(self.wavelength_nm)
        if len(own) != len(wavelength_nm) or np.abs(own - wavelength_nm).max() > TOLERANCE_NM:
            raise ModelError(
                f"{where}: {_describe(wavelength_nm)}, but the model was trained on {_describe(own)}; "
                "use a model of this sensor, or resample the cube to the model's bands"
            )
        if quantity != self.quantity:
            raise ModelError(
                f"{where} holds {quantity}, but the model was trained on {self.quantity}; "
                "calibrate the campaign to the model's quantity"
            )


def _describe(wavelength_nm: npt.NDArray[np.float64]) -> str:
    return f"{len(wavelength_nm)} bands over {wavelength_nm.min():.1f}-{wavelength_nm.max():.1f} nm"


def evenly_spaced(depth: int, count: int) -> tuple[int, ...]:
    """Return the indices of ``count`` of ``depth`` blocks at even distances, the last among them; at most all."""
    few = min(count, depth)
    return tuple(round((index + 1) * depth / few) - 1 for index in range(few))


def write_spec(spec: ModelSpec, folder: Path) -> None:
    """Write ``focus.json``."""
    text = json.dumps(spec.model_dump(mode="json"), indent=2)
    (folder / SPEC_FILE).write_text(text, encoding="utf-8")


def read_spec(folder: Path) -> ModelSpec:
    """Read ``focus.json``.

    Raises
    ------
    MissingInputError
        If the folder holds none.
    ModelError
        If it is not a model's description.
    """
    path = folder / SPEC_FILE
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
        return ModelSpec.model_validate(content)
    except FileNotFoundError as error:
        raise MissingInputError(f"'{folder}' holds no {SPEC_FILE}; give the folder that 'train' wrote") from error
    except (ValueError, ValidationError) as error:
        raise ModelError(f"'{path}' is not the description of a FOCUS model: {error}") from error
