import pytest

from focus_core.bench import treatments
from focus_core.errors import SettingsError


def test_power_grows_with_plots_and_with_the_width_of_the_stress() -> None:
    found = {name: value[0] for name, value in treatments.run(shuffles=40, trials=20, plots=(6, 60)).items()}
    assert found["false_claims.lo"] <= treatments.LEVEL <= found["false_claims.hi"]
    for width in ("100_nm", "300_nm"):
        assert found[f"power.{width}.6_plots"] <= 0.2
        assert found[f"power.{width}.60_plots"] >= 0.8


@pytest.mark.services
@pytest.mark.timeout(900)
def test_the_comparison_keeps_its_promise_and_finds_one_pooled_standard_deviation() -> None:
    """Through the public comparison of a store, on 1,000 label shuffles; 42 plots of each treatment suffice."""
    values = treatments.run(shuffles=1000, trials=200, plots=(36, 42))
    assert values["false_claims.lo"][0] <= treatments.LEVEL <= values["false_claims.hi"][0]
    assert values["power.100_nm.42_plots"][0] >= 0.8
    assert values["power.300_nm.36_plots"][0] >= 0.8


@pytest.mark.parametrize("arguments", [{"shuffles": 0}, {"trials": 0}, {"plots": (2,)}])
def test_nothing_to_draw_is_refused(arguments: dict[str, object]) -> None:
    with pytest.raises(SettingsError, match="three plots of each treatment or more"):
        treatments.run(**{"shuffles": 1, "trials": 1, "plots": (3,), **arguments})
