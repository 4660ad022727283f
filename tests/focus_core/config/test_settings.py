import pytest
from pydantic import ValidationError

from focus_core.config import (
    IngestSettings,
    PretrainSettings,
    PromoteSettings,
    RunSettings,
    Settings,
    TileSettings,
    TrainSettings,
    from_mapping,
)
from focus_core.errors import SettingsError


def test_numbers_from_an_orchestrator_become_whole_again() -> None:
    assert from_mapping(IngestSettings, {"chunk_px": 64.0}) == IngestSettings(chunk_px=64)
    with pytest.raises(SettingsError, match="chunk_px"):
        from_mapping(IngestSettings, {"chunk_px": 64.5})


def test_unknown_settings_are_refused_with_the_known_ones() -> None:
    with pytest.raises(
        SettingsError, match=r"min_valid: no such setting; .* Known settings: .*_fraction, row_m, tiles"
    ):
        from_mapping(TileSettings, {"min_valid": 0.5})
    with pytest.raises(
        SettingsError, match=r"RunSettings: train\.epoch: no such setting; .* Known settings: .*, epochs, "
    ):
        from_mapping(RunSettings, {"train": {"epoch": 3}})
    with pytest.raises(
        SettingsError, match=r"RunSettings: trian: no such .* Known settings: aggregate, .*, tile, train$"
    ):
        from_mapping(RunSettings, {"trian": {"epochs": 3}})


def test_values_out_of_range_are_refused() -> None:
    with pytest.raises(SettingsError, match="min_valid_fraction: Input should be greater than 0"):
        from_mapping(TileSettings, {"min_valid_fraction": 0})


def test_settings_do_not_change() -> None:
    settings = TrainSettings()
    with pytest.raises(ValidationError, match="frozen"):
        settings.epochs = 3  # type: ignore[misc]


def test_a_supervised_backbone_is_trained() -> None:
    with pytest.raises(SettingsError, match="'supervised' without epochs learns nothing"):
        from_mapping(PretrainSettings, {"method": "supervised", "epochs": 0})


def test_promotion_reads_gate_plots_only() -> None:
    with pytest.raises(SettingsError, match=r"'test\.balanced_accuracy': promotion reads gate plots only"):
        from_mapping(PromoteSettings, {"at_least": {"test.balanced_accuracy": 0.9}})


def every_settings() -> list[type[Settings]]:
    return sorted(Settings.__subclasses__(), key=lambda kind: kind.__name__)


@pytest.mark.parametrize("kind", every_settings(), ids=lambda kind: kind.__name__)
def test_unknown_keys_are_refused_everywhere(kind: type[Settings]) -> None:
    assert kind.model_config["extra"] == "forbid"
    assert kind.model_config["frozen"]
