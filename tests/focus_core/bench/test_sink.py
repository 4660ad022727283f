import numpy as np
import pytest

from focus_core.bench import sink
from focus_core.config import SimulateSettings, TrainSettings


@pytest.mark.services
@pytest.mark.timeout(600)
def test_every_variant_is_measured_on_every_field() -> None:
    values = sink.run(
        [3],
        simulation=SimulateSettings(blocks=10, bands=60, plot_px=24),
        training=TrainSettings(epochs=2, augmented_copies=1, group_dropout=(0.3,)),
        in_sequence=False,
    )
    metrics = ("balanced_accuracy", "spatial_auc.drought", "sink_share", "prefix_share", "sheet_share", "reduction")
    wanted = {
        f"{field}.{variant}.{metric}"
        for field in ("plain", "sheets", "class_token")
        for variant in sink.VARIANTS
        for metric in metrics
    }
    assert wanted <= set(values)
    assert all(np.isfinite(found).all() for found in values.values())
    assert values["plain.focus.sheet_share"] == [0.0]
    assert values["sheets.focus.sheet_share_uniform"][0] > 0.01
    assert values["plain.focus.prefix_share"] == [0.0]
    base = "class_token.reads_prefix_no_sink"
    assert values[f"{base}.prefix_share"][0] > 2 * values[f"{base}.prefix_share_uniform"][0]
    assert values["class_token.focus.reduction"][0] > 0.4
