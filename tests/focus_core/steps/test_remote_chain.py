"""The chain on stores in a bucket gives what it gives on local ones, bit by bit."""

import os
from pathlib import Path

import pytest
import xarray as xr

from focus_core.config import CampaignFile, RunSettings
from focus_core.cubes.record import digest, record, verify
from focus_core.cubes.schema import EXPLANATION, IMPORTANCE, Schema
from focus_core.cubes.store import open_store
from focus_core.steps.run import load_step
from tests.object_store import keys

pytestmark = pytest.mark.services


def chain(base: str, campaign: Path, settings: RunSettings) -> None:
    """All verbs on stores below ``base``; the second call registers the same weights as another version."""
    path = str(campaign)
    cube, reference, tiles, explanation = (
        f"{base}/flight/{name}.zarr" for name in ("cube", "reference", "tiles", "explanation")
    )
    backbone, model, importance = f"{base}/models/backbone", f"{base}/models/focus", f"{base}/importance.zarr"
    for verb, uris in (
        ("ingest", (path, cube, reference)),
        ("tile", (path, cube, tiles)),
        ("pretrain", (tiles, backbone)),
        ("train", (tiles, backbone, model)),
        ("evaluate", (tiles, model, reference, f"{base}/flight/evaluation")),
        ("promote", (model,)),
        ("explain", (tiles, model, explanation)),
        ("aggregate", (path, cube, explanation, importance)),
    ):
        load_step(verb)(*uris, settings=getattr(settings, verb))


def content(uri: str, schema: Schema) -> xr.Dataset:
    return open_store(uri, schema).load().drop_attrs()


def test_the_chain_on_a_bucket_equals_the_chain_on_folders(
    bucket: str, registry: Path, tiny_field: Path, tiny_settings: RunSettings, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    campaign = tiny_field / "flight-1" / "campaign.yaml"
    local, remote = str(tmp_path / "local"), f"{bucket}/season"
    for base in (local, remote):
        chain(base, campaign, tiny_settings)
    for name in ("flight/cube.zarr", "flight/reference.zarr", "flight/tiles.zarr", "models/backbone"):
        assert digest(f"{remote}/{name}") == digest(f"{local}/{name}")
        verify(f"{remote}/{name}")
    for name, schema in (("flight/explanation.zarr", EXPLANATION), ("importance.zarr", IMPORTANCE)):
        xr.testing.assert_identical(content(f"{remote}/{name}", schema), content(f"{local}/{name}", schema))
    campaign_id = CampaignFile(campaign).campaign.campaign
    source = open_store(f"{remote}/importance.zarr", IMPORTANCE).attrs["sources"][campaign_id]
    assert source["explanation"] == f"{remote}/flight/explanation.zarr"
    before = keys(bucket)
    chain(remote, campaign, tiny_settings)
    assert keys(bucket) == before
    secret = os.environ["AWS_SECRET_ACCESS_KEY"]
    assert secret not in str([record(f"{remote}/{name}") for name in ("flight/tiles.zarr", "importance.zarr")])
