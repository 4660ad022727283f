"""The benches of ingest and of tiles, run tiny: their figures mean nothing here, their sums do."""

from pathlib import Path

import pytest

from focus_core.bench import ingest, tiles
from focus_core.bench.page_cache import drop
from focus_core.bench.scratch import scratch_folder
from focus_core.errors import TargetError


@pytest.mark.timeout(300)
def test_ingest_over_a_plain_read_and_write(tmp_path: Path) -> None:
    values = ingest.run(scratch=str(tmp_path / "not" / "there"), gigabytes=0.001, samples=64, bands=12)
    (seconds,), (reading,), (writing,) = (
        values[name] for name in ("seconds", "plain_read_seconds", "plain_write_seconds")
    )
    assert values["over_plain"] == [pytest.approx(seconds / (reading + writing))]
    assert values["cpu_seconds"][0] > 0.0
    assert 50.0 < values["peak_mb"][0] < 1000.0
    assert 0.5 < values["peak_of_twice"][0] < 2.0
    # Noise of 0.3 % leaves something to pack, but not much.
    assert 0.3 < values["stored_megabytes"][0] < 1.1
    assert set(ingest.TARGETS) <= set(values)
    assert list((tmp_path / "not" / "there").iterdir()) == []


@pytest.mark.timeout(300)
def test_tiles_over_a_raw_map(tmp_path: Path) -> None:
    values = tiles.run(scratch=str(tmp_path), side_px=256, bands=6, repeats=1)
    assert [values[f"area_{area}.tiles"] for area in (1, 4, 16)] == [[9 * 16.0], [49 * 16.0], [225 * 16.0]]
    assert values["read_growth"] == [
        pytest.approx(values["area_16.read_ms"][0] / values["area_1.read_ms"][0]),
    ]
    assert all(values[f"{state}.rate_over_memmap"][0] > 0.0 for state in ("cold", "warm"))
    assert 0.3 < values["stored_share"][0] < 1.1
    assert set(tiles.TARGETS) <= set(values)
    assert list(tmp_path.iterdir()) == []


def test_what_is_dropped_is_read_again_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(bytes(range(256)) * 400)
    assert 0.0 <= drop([path]) <= 1.0
    assert path.read_bytes() == bytes(range(256)) * 400


@pytest.mark.parametrize("bench", [ingest, tiles])
def test_a_scratch_folder_that_cannot_be_made_is_said(bench, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(TargetError, match=r"--scratch '.*file/below' cannot be written: .*; choose another folder"):
        bench.run(scratch=str(tmp_path / "file" / "below"))
    with scratch_folder(None) as folder:
        assert folder.is_dir()
    assert not folder.exists()
