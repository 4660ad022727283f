"""What a user may set: the campaign file, the wavelength groups and the settings of each step."""

from focus_core.config.campaign import Campaign, CampaignFile, RasterPlots, VectorPlots
from focus_core.config.groups import (
    AGRONOMIC_NM,
    OUTSIDE,
    WavelengthGroup,
    WavelengthGroups,
    parse_groups,
)
from focus_core.config.raw import LinearWavelengths, RawCube, RawFile, ResampleTo
from focus_core.config.run import CampaignLayout, RunLayout, RunSettings, SeasonSettings, read_campaigns
from focus_core.config.settings import (
    FOLDS,
    AggregateSettings,
    BackboneSettings,
    EvaluateSettings,
    ExplainSettings,
    ExportSettings,
    Fold,
    IngestSettings,
    NotifySettings,
    PretrainSettings,
    PromoteSettings,
    ReportSettings,
    Settings,
    TileSettings,
    TrainSettings,
    from_mapping,
)
from focus_core.config.simulation import SimulateSettings

__all__ = [
    "AGRONOMIC_NM",
    "FOLDS",
    "OUTSIDE",
    "AggregateSettings",
    "BackboneSettings",
    "Campaign",
    "CampaignFile",
    "CampaignLayout",
    "EvaluateSettings",
    "ExplainSettings",
    "ExportSettings",
    "Fold",
    "IngestSettings",
    "LinearWavelengths",
    "NotifySettings",
    "PretrainSettings",
    "PromoteSettings",
    "RasterPlots",
    "RawCube",
    "RawFile",
    "ReportSettings",
    "ResampleTo",
    "RunLayout",
    "RunSettings",
    "SeasonSettings",
    "Settings",
    "SimulateSettings",
    "TileSettings",
    "TrainSettings",
    "VectorPlots",
    "WavelengthGroup",
    "WavelengthGroups",
    "from_mapping",
    "parse_groups",
    "read_campaigns",
]
