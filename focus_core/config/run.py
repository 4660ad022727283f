"""A whole run: the settings of its steps, and where its stores lie below one folder.

Shared by ``focus run`` and the pipelines, so that both write the same stores; runs nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from focus_core.config.campaign import CampaignFile
from focus_core.config.settings import (
    AggregateSettings,
    EvaluateSettings,
    ExplainSettings,
    IngestSettings,
    PretrainSettings,
    PromoteSettings,
    ReportSettings,
    Settings,
    TileSettings,
    TrainSettings,
)
from focus_core.errors import TargetError

_TAKEN = (
    "models",
    "importance.zarr",
    "mlflow.db",
    "mlflow-artifacts",
    "kubeflow",
    "incoming",
    "summary.json",
    "season",
    "season.json",
    "status",
)


class RunSettings(Settings):
    """Settings of every step of a run, under the names of the verbs."""

    ingest: IngestSettings = IngestSettings()
    tile: TileSettings = TileSettings()
    pretrain: PretrainSettings = PretrainSettings()
    train: TrainSettings = TrainSettings()
    evaluate: EvaluateSettings = EvaluateSettings()
    promote: PromoteSettings = PromoteSettings()
    explain: ExplainSettings = ExplainSettings()
    aggregate: AggregateSettings = AggregateSettings()
    report: ReportSettings = ReportSettings()

    @model_validator(mode="after")
    def _one_model(self) -> Self:
        if self.train.model_name != self.promote.model_name:
            raise ValueError(
                f"train.model_name is '{self.train.model_name}', promote.model_name is "
                f"'{self.promote.model_name}'; a run promotes the model that it trains, give one name"
            )
        return self

    @property
    def champion(self) -> str:
        """URI of the model that explains the campaigns."""
        return f"models:/{self.train.model_name}@champion"


class SeasonSettings(RunSettings):
    """Settings of ``season``: those of the steps, how it is cut, and what it may cost."""

    may_fail: int = Field(default=0, ge=0)
    """Flights that may fail without failing the season."""
    retries: int = Field(default=1, ge=0)
    """How often a flight is tried again whose steps failed; not where its campaign file is wrong."""
    retry_after_s: float = Field(default=30.0, ge=0.0)
    """Wait before a flight is tried again, s."""
    flights_per_chunk: int = Field(default=20, ge=1)
    """Flights that one task explains, one after the other."""


@dataclass(frozen=True)
class CampaignLayout:
    """Where the stores of one campaign lie."""

    folder: Path

    @property
    def cube(self) -> str:
        """The calibrated cube."""
        return str(self.folder / "cube.zarr")

    @property
    def reference(self) -> str:
        """Expert ranges and masks."""
        return str(self.folder / "reference.zarr")

    @property
    def tiles(self) -> str:
        """The windows of the plots."""
        return str(self.folder / "tiles.zarr")

    @property
    def explanation(self) -> str:
        """What the champion says of every window."""
        return str(self.folder / "explanation.zarr")

    @property
    def evaluation(self) -> str:
        """Figures on held-out plots."""
        return str(self.folder / "evaluation")

    @property
    def report(self) -> str:
        """The page for the agronomist."""
        return str(self.folder / "report.html")


@dataclass(frozen=True)
class RunLayout:
    """Where everything lies that a run writes."""

    out: Path

    @classmethod
    def below(cls, folder: str | Path) -> Self:
        """Return the layout below a folder, made absolute: workers need not share a working directory.

        Raises
        ------
        TargetError
            If it is no local folder; single steps write to S3, whole runs do not yet.
        """
        if "://" in str(folder):
            raise TargetError(f"'{folder}': a run needs a local folder; steps by themselves take s3://… for each store")
        return cls(Path(folder).absolute())

    def make(self) -> None:
        """Make the folder, which an embedded database needs before the first step.

        Raises
        ------
        TargetError
            If it cannot be made.
        """
        try:
            self.out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise TargetError(f"'{self.out}' cannot be made: {error}; choose another --out") from error

    @property
    def backbone(self) -> str:
        """The frozen backbone."""
        return str(self.out / "models" / "backbone")

    @property
    def model(self) -> str:
        """The trained prompts, sink and read-out."""
        return str(self.out / "models" / "focus")

    @property
    def importance(self) -> str:
        """Spectral-importance curves of every campaign and plot."""
        return str(self.out / "importance.zarr")

    @property
    def summary(self) -> str:
        """Metrics and seconds of every step."""
        return str(self.out / "summary.json")

    @property
    def season(self) -> str:
        """Status of each flight of a season."""
        return str(self.out / "season.json")

    @property
    def tracking(self) -> str:
        """The embedded MLflow database."""
        return f"sqlite:///{self.out / 'mlflow.db'}"

    @property
    def kubeflow(self) -> Path:
        """What local pipeline runs leave: small artifacts and logs."""
        return self.out / "kubeflow"

    @property
    def incoming(self) -> Path:
        """Copies of the flights that a watcher found in a bucket."""
        return self.out / "incoming"

    def campaign(self, file: CampaignFile) -> CampaignLayout:
        """Return where the stores of a campaign lie.

        Raises
        ------
        CampaignError
            If the campaign's id is the name of something else in the run's folder.
        """
        name = file.campaign.campaign
        if name in _TAKEN:
            raise file.error(("campaign",), f"'{name}' is a name that a run needs in its own folder; choose another id")
        return CampaignLayout(self.out / name)


def read_campaigns(paths: Sequence[str]) -> list[CampaignFile]:
    """Read campaign files and check every file they name, before a step runs.

    Raises
    ------
    MissingInputError
        If a campaign file or a file that it names does not exist.
    CampaignError
        If one is wrong, or two have one id.
    """
    files = [CampaignFile(path) for path in paths]
    seen: dict[str, CampaignFile] = {}
    for file in files:
        file.inputs()
        name = file.campaign.campaign
        if name in seen:
            raise file.error(("campaign",), f"'{name}' is the id of {seen[name].path} too; give each its own")
        seen[name] = file
    return files
