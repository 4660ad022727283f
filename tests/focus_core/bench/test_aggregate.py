import numpy as np
import pytest

from focus_core.bench import aggregate


@pytest.fixture(scope="module")
def values(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[float]]:
    folder = tmp_path_factory.mktemp("bench")
    return aggregate.run(folder=str(folder), plots=12, bands=5, side_px=120, threads=1)


@pytest.mark.timeout(300)
def test_ours_is_exactextracts_and_whole_pixels_are_not(values: dict[str, list[float]]) -> None:
    assert values["focus.mean_error"][0] < 1e-6
    assert values["focus.std_error"][0] < 1e-6
    for rival in ("flox", "xvec_rasterize"):
        assert 1e-6 < values[f"{rival}.mean_error"][0] < 0.1


def test_every_method_has_its_time_and_memory(values: dict[str, list[float]]) -> None:
    assert values["read.over_reading"] == [1.0]
    for method in ("read", "focus", "flox", "xvec_rasterize", "exactextract"):
        assert values[f"{method}.seconds"][0] > 0.0
        assert 50.0 < values[f"{method}.peak_mb"][0] < 2000.0
        ratio = values[f"{method}.seconds"][0] / values["read.seconds"][0]
        assert values[f"{method}.over_reading"][0] == pytest.approx(ratio)
        assert values[f"{method}.cpu_over_reading"][0] > 0.0


def test_the_field_holds_its_plots_apart_and_inside() -> None:
    plots = aggregate.field(1000, 2000)
    corners = plots.geometry.bounds
    assert (corners[["minx", "maxy"]].abs().to_numpy() >= 0).all()
    assert corners["minx"].min() > 0.0
    assert corners["miny"].min() > -200.0
    assert float(plots.area.sum()) == pytest.approx(0.42 * 200.0**2, rel=1e-6)
    left, right = np.array(plots.sindex.query(plots.geometry, predicate="intersects"))
    assert (left == right).all()
