"""Settings of the steps: frozen, keyword-only, unknown keys refused, a unit with every field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from focus_core.config.source import told
from focus_core.errors import SettingsError

FOLDS = ("train", "validation", "gate", "test")
Fold = Literal["train", "validation", "gate", "test"]


class Settings(BaseModel):
    """Base of every settings object."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class IngestSettings(Settings):
    """Settings of ``ingest``."""

    chunk_px: int = Field(default=256, ge=16)
    """Side of a chunk of the cube, pixels."""
    chunk_bands: int = Field(default=20, ge=1)
    """Bands in a chunk of the cube."""
    leave_out_damaged: bool = False
    """Whether a cube of the campaign that is damaged is left out, named and counted; otherwise it ends the step. A
    file that is missing, and a campaign file that is wrong, end it all the same."""


class TrimSettings(Settings):
    """What is left out at the edge of every plot, because its neighbours disturb it."""

    buffer_m: float = 0.0
    """Distance by which a plot's edge moves outwards first, metres; negative leaves a strip out."""
    border_rows: int = Field(default=0, ge=0)
    """Crop rows left out on each long side of a plot."""
    row_m: float | None = Field(default=None, gt=0.0)
    """Distance between crop rows, metres; needed with ``border_rows``."""


class TileSettings(TrimSettings):
    """Settings of ``tile`` that are not the campaign's own; plots are trimmed before windows are laid on them."""

    min_valid_fraction: float = Field(default=0.25, gt=0.0, le=1.0)
    """Windows with a smaller share of valid pixels inside their plot are dropped, and counted."""
    tiles_per_shard: int = Field(default=64, ge=1)
    """Tiles stored in one file."""
    folds_seed: int | None = Field(default=None, ge=0)
    """Seed of the folds instead of the campaign file's: another rotation of the blocks."""


class BackboneSettings(Settings):
    """Shape of the project's own small ViT (a timm ``VisionTransformer``)."""

    patch_px: int = Field(default=4, ge=1)
    """Side of a patch, pixels of the model's input."""
    width: int = Field(default=96, ge=8)
    """Width of a token."""
    depth: int = Field(default=6, ge=1)
    """Number of blocks."""
    heads: int = Field(default=3, ge=1)
    """Attention heads in a block."""


class PretrainSettings(Settings):
    """Settings of ``pretrain``: self-supervised, on unlabelled tiles, unless ``method`` says otherwise."""

    backbone: BackboneSettings = BackboneSettings()
    method: Literal["masked", "supervised", "random", "published"] = "masked"
    """``masked``: masked-image modelling; ``supervised``: on the labels of training plots, which no other method
    opens; ``random``: no training, the baseline of every table; ``published``: the weights of a timm ViT as they
    are."""
    timm_name: str | None = None
    """Name of the published ViT, e.g. ``vit_small_patch16_dinov3.lvd1689m``; ``backbone`` is not read then."""
    weights: str | None = None
    """Its ``.safetensors`` file; without one it is downloaded by name."""
    epochs: int = Field(default=6, ge=0)
    """Passes over all group images."""
    max_tiles: int = Field(default=2000, ge=1)
    """Largest number of tiles used, drawn at random."""
    batch_images: int = Field(default=128, ge=1)
    """Group images in a step."""
    mask_share: float = Field(default=0.5, gt=0.0, lt=1.0)
    """Share of patches hidden."""
    learning_rate: float = Field(default=1e-3, gt=0.0)
    """Peak learning rate of AdamW."""
    seed: int = Field(default=1, ge=0)
    """Seed of weights, masks and order."""
    device: Literal["auto", "cpu"] = "auto"
    """``auto``: a GPU where there is one, with bfloat16 in forward passes; ``cpu``: the processor, bit for bit."""

    @model_validator(mode="after")
    def _consistent(self) -> PretrainSettings:
        if (self.method == "published") != (self.timm_name is not None):
            raise ValueError("method 'published' and a timm_name go together; give both or neither")
        if self.weights is not None and self.timm_name is None:
            raise ValueError("weights are of a published ViT; name it in timm_name")
        if self.method == "supervised" and not self.epochs:
            raise ValueError("method 'supervised' without epochs learns nothing; give at least one, or method 'random'")
        return self


class TrainSettings(Settings):
    """Settings of ``train``: prompts, sink and read-out on a frozen backbone."""

    read_blocks: tuple[int, ...] = Field(default=(3,), min_length=1)
    """Numbers of evenly spaced blocks to read."""
    read_depth: tuple[Annotated[float, Field(gt=0.0, le=1.0)], ...] = Field(default=(1.0, 0.5), min_length=1)
    """Shares of the backbone's blocks, from its first, over which those are spaced; what lies behind is not run. Each
    is tried with each number, and validation plots choose."""
    rank: int = Field(default=8, ge=1)
    """Directions that the read-outs of all classes and groups share in each block."""
    split_groups: int = Field(default=0, ge=0)
    """Strongest groups of each class that a second training cuts into parts; 0: one training."""
    split_nm: float = Field(default=50.0, gt=0.0)
    """Width of the parts, nm."""
    prompt_seeds: int = Field(default=5, ge=1)
    """Times that prompts are trained, each with a seed of its own; the model's score is their mean."""
    sink: bool = True
    """Whether the prompts may put attention on a learned sink."""
    attraction_weight: float = Field(default=0.1, ge=0.0)
    """Weight of the attraction loss beside the cross-entropy."""
    patch_weight: float = Field(default=0.1, ge=0.0)
    """Weight of single patches in the loss, beside that of the sides of windows: maps are sharper with it."""
    smoothness: float = Field(default=0.01, ge=0.0)
    """Weight of the difference between what neighbouring wavelength groups are read for; 0 trains each by itself."""
    ridge: float = Field(default=0.03, ge=0.0)
    """Weight of the squared loadings of all groups: what says nothing, or cancels what another says, is not read."""
    group_dropout: tuple[float, ...] = Field(default=(0.0, 0.15), min_length=1)
    """Shares of wavelength groups dropped at random in a training step; each is tried, and validation plots choose."""
    augmented_copies: int = Field(default=2, ge=0)
    """Copies of each training tile in the cache: flipped, brighter or darker, noisier, and mixed from two classes."""
    cache_budget_mb: float = Field(default=4096.0, gt=0.0)
    """Largest cache of keys and values, MB, on the device; tiles beyond it run through the backbone in each epoch."""
    epochs: int = Field(default=10, ge=1)
    """Largest number of passes over the training tiles."""
    patience: int = Field(default=5, ge=1)
    """Epochs without a better validation loss before training stops."""
    batch_tiles: int = Field(default=32, ge=1)
    """Tiles in a step."""
    learning_rate: float = Field(default=1e-2, gt=0.0)
    """Peak learning rate of Adam."""
    max_parameter_share: float = Field(default=0.25, gt=0.0)
    """Largest share of trained parameters in the backbone's; 0.01 is the paper's for ViT-B."""
    seed: int = Field(default=1, ge=0)
    """Seed of augmentation, and of the first prompts' weights and order; the others count on from it."""
    device: Literal["auto", "cpu"] = "auto"
    """``auto``: a GPU where there is one, with bfloat16 in frozen passes; ``cpu``: the processor, bit for bit."""
    model_name: str = Field(default="focus", pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")
    """Name of the registered model."""


class EvaluateSettings(Settings):
    """Settings of ``evaluate``."""

    folds: tuple[Fold, ...] = ("gate", "test")
    """Folds that are reported, each under its own prefix."""
    swap_draws: int = Field(default=8, ge=1)
    """Pairs of tiles in the swap check."""
    seed: int = Field(default=1, ge=0)
    """Seed of swap and chance levels."""


class PromoteSettings(Settings):
    """Settings of ``promote``: thresholds on metrics of the gate plots, by the names ``evaluate`` logs."""

    model_name: str = Field(default="focus", pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")
    """Name of the registered model."""
    at_least: dict[str, float] = {"gate.balanced_accuracy": 0.6}
    """Metric names and the smallest value that passes."""
    at_most: dict[str, float] = {"gate.null_share": 0.05, "gate.ece": 0.35}
    """Metric names and the largest value that passes; a metric that was not logged is not judged."""
    not_below_champion_by: dict[str, float] = {"gate.balanced_accuracy": 0.05}
    """How far a metric may fall behind the present champion's."""
    override_reason: str | None = Field(default=None, min_length=10)
    """Promotes in spite of a failed gate, and is kept in the audit record."""

    @model_validator(mode="after")
    def _gate_only(self) -> Self:
        for name in (*self.at_least, *self.at_most, *self.not_below_champion_by):
            if not name.startswith("gate."):
                raise ValueError(f"threshold on '{name}': promotion reads gate plots only ('gate.…')")
        return self


class ExplainSettings(Settings):
    """Settings of ``explain``."""

    batch_tiles: int = Field(default=4, ge=1)
    """Tiles in a forward pass; each is an image per wavelength group."""
    tiles_per_shard: int = Field(default=32, ge=1)
    """Tiles in one task, stored in one file of each variable."""
    device: Literal["auto", "cpu"] = "auto"
    """``auto``: a GPU where there is one, with bfloat16 in frozen passes; ``cpu``: the processor, bit for bit."""
    dask_scheduler: str | None = None
    """Address of a Dask scheduler, of a Kubernetes cluster's too; none runs on this machine's threads."""


class AggregateSettings(TrimSettings):
    """Settings of ``aggregate``; plots are trimmed for their spectra, windows are as ``tile`` cut them."""

    tiles_per_chunk: int = Field(default=64, ge=1)
    """Tiles in one task of the Dask graph."""
    confidence: float = Field(default=0.95, gt=0.0, lt=1.0)
    """Level of the intervals."""
    dask_scheduler: str | None = None
    """Address of a Dask scheduler; none runs on this machine's threads."""
    indices: tuple[str, ...] = ("NDVI", "NDRE", "CIre", "MCARI2", "PRI", "NDWI", "NDII")
    """Vegetation indices of the plots' spectra."""
    index_tolerance_nm: float = Field(default=10.0, gt=0.0)
    """Largest distance of a band from the wavelength that an index asks for, nm."""


class ReportSettings(Settings):
    """Settings of ``report``."""

    title: str = Field(default="FOCUS field report", max_length=120)
    """Heading of the page."""
    bootstrap_draws: int = Field(default=2000, ge=100)
    """Draws of the bootstrap over plots behind the curves' intervals."""


class ExportSettings(Settings):
    """Settings of ``export``."""

    top_bands: int = Field(default=10, ge=1)
    """Bands of each class in ``top_bands.json``."""


class NotifySettings(Settings):
    """Settings of ``notify``."""

    on_success: bool = False
    """Whether a run that went well is told of too."""
    mail_to: tuple[str, ...] = ()
    """Addresses that get a mail."""
    mail_from: str = "focus@localhost"
    """Sender of the mail."""
    timeout_s: float = Field(default=20.0, gt=0.0)
    """How long a channel may take, seconds."""


AnySettings = TypeVar("AnySettings", bound=Settings)


def from_mapping(kind: type[AnySettings], mapping: Mapping[str, Any]) -> AnySettings:
    """Build settings from the loosely typed mapping that an orchestrator or a command line hands over.

    Whole numbers that arrive as floats (Kubeflow carries dictionaries as JSON doubles) become integers again.

    Raises
    ------
    SettingsError
        If a key is unknown or a value out of range; the message lists the known keys.
    """
    try:
        return kind.model_validate(dict(mapping))
    except ValidationError as failure:
        found = "; ".join(
            f"{'.'.join(str(part) for part in item['loc']) or kind.__name__}: {told(item)}" for item in failure.errors()
        )
        known = ", ".join(sorted(_inner(kind, failure.errors()[0]["loc"]).model_fields))
        raise SettingsError(f"{kind.__name__}: {found}. Known settings: {known}") from failure


def _inner(kind: type[Settings], location: Sequence[int | str]) -> type[Settings]:
    """Return the settings in which a setting stands, e.g. those of a step of a run."""
    for step in location:
        field = kind.model_fields.get(str(step))
        inner = field.annotation if field else None
        if not (isinstance(inner, type) and issubclass(inner, Settings)):
            break
        kind = inner
    return kind
