"""Small models and planted tiles that several tests share."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import numpy as np
import pytest
import torch
from timm.models.vision_transformer import VisionTransformer

from focus_core import tracking
from focus_core.config import RunSettings, SimulateSettings, from_mapping
from focus_core.model import BackboneReference, BandScale, Focus, GroupRange, ModelSpec
from focus_core.simulation import simulate
from tests.object_store import bucket, object_store_server

__all__ = ["bucket", "object_store_server"]

# Machines are noisy: a slow example is no failure, and the suite has a time limit of its own. Continuous integration
# draws the same examples each time, so that a commit passes or fails by itself; elsewhere every run looks further.
hypothesis.settings.register_profile("focus", deadline=None, derandomize="CI" in os.environ)
hypothesis.settings.load_profile("focus")

VIT = {"img_size": 12, "patch_size": 4, "embed_dim": 24, "depth": 3, "num_heads": 3, "num_classes": 0}


@pytest.fixture
def small_vit() -> Callable[..., VisionTransformer]:
    def build(seed: int = 0, **arguments: object) -> VisionTransformer:
        torch.manual_seed(seed)
        return VisionTransformer(**{**VIT, **arguments})

    return build


@pytest.fixture
def small_spec() -> Callable[..., ModelSpec]:
    """12 bands of 50 nm from 425 nm; four groups of three bands, but the last group's last band is bad."""

    def build(**changes: object) -> ModelSpec:
        spec = ModelSpec(
            wavelength_nm=tuple(np.arange(425.0, 1025.0, 50.0).tolist()),
            good_band=(True,) * 11 + (False,),
            groups=tuple(
                GroupRange(name=f"g{index}", lo_nm=400.0 + 150 * index, hi_nm=550.0 + 150 * index) for index in range(4)
            ),
            classes=("control", "drought", "disease"),
            reference_class="control",
            quantity="reflectance",
            window_px=12,
            input_px=12,
            read_blocks=(1, 2),
            rank=3,
            prompt_seeds=2,
            group_dropout=0.3,
            sink=True,
            backbone=BackboneReference(uri="backbone", sha256="0" * 64, kind="random"),
            training_campaign="planted",
            simulated=True,
        )
        return spec.model_copy(update=changes)

    return build


@pytest.fixture
def small_model(
    small_vit: Callable[..., VisionTransformer], small_spec: Callable[..., ModelSpec]
) -> Callable[..., Focus]:
    """A model whose prompts, sink, read-out and reference means are random, so that nothing is zero by chance."""

    def build(**changes: object) -> Focus:
        spec = small_spec(**changes)
        bands = len(spec.wavelength_nm)
        model = Focus(spec, small_vit(), BandScale(torch.full((bands,), 0.3), torch.full((bands,), 0.1)))
        torch.manual_seed(1)
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.5)
        torch.nn.init.normal_(model.reference_mean)
        return model.eval()

    return build


@pytest.fixture
def windows() -> torch.Tensor:
    """Five windows of 12 bands; the left column lies outside the plot."""
    generator = torch.Generator().manual_seed(3)
    reflectance = 0.3 + 0.1 * torch.randn(5, 12, 12, 12, generator=generator)
    reflectance[..., :4] = torch.nan
    return reflectance


@pytest.fixture(scope="session")
def tiny_field(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two simulated flights over 32 plots of 12 px, 42 bands: a whole run takes seconds, its figures mean nothing."""
    folder = tmp_path_factory.mktemp("trial") / "field"
    settings = SimulateSettings(blocks=8, plot_px=12, bands=42, window_px=8, stride_px=4, groups="uniform:300")
    simulate(str(folder), settings=settings)
    return folder


@pytest.fixture(scope="session")
def tiny_settings() -> RunSettings:
    """Settings that train for moments; the gate is overridden, because such a model passes none."""
    return from_mapping(
        RunSettings,
        {
            "pretrain": {"epochs": 1, "backbone": {"width": 24, "depth": 2, "heads": 2}},
            "train": {
                "epochs": 3,
                "read_blocks": [1],
                "read_depth": [1.0],
                "augmented_copies": 0,
                "prompt_seeds": 2,
                "max_parameter_share": 100.0,
            },
            "promote": {"override_reason": "a run of the tests, not a model"},
            "evaluate": {"swap_draws": 2},
            "report": {"bootstrap_draws": 100},
        },
    )


@pytest.fixture(scope="session")
def migrated_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty MLflow database; its tables take seconds to make, so they are made once."""
    from mlflow import MlflowClient

    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", "")
        tracking.configure(f"sqlite:///{path}")
        MlflowClient().search_experiments()
    return path


@pytest.fixture
def registry(migrated_database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh MLflow of this test's own, in an embedded database."""
    path = tmp_path / "registry" / "mlflow.db"
    path.parent.mkdir()
    shutil.copy(migrated_database, path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{path}")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)
    tracking.configure()
    return path


@pytest.fixture
def real_data(monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of real files, which campaign files name by the variable ``FOCUS_DATA``."""
    folder = Path(os.environ.get("FOCUS_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data in {folder}; set FOCUS_DATA")
    monkeypatch.setenv("FOCUS_DATA", str(folder))
    return folder


class Postgres:
    """A PostgreSQL on a free port, which can be stopped and started again."""

    def __init__(self, folder: Path, owner: dict[str, int]) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self._folder, self._owner = folder, owner
        self.url = f"postgresql+psycopg://focus@127.0.0.1:{self._port}"
        """Without a database."""
        initialise = ["initdb", "-D", folder / "data", "-U", "focus", "-A", "trust"]
        subprocess.run(initialise, check=True, capture_output=True, **owner)

    def start(self) -> None:
        """Return when it takes connections."""
        folder, port = self._folder, str(self._port)
        command = ["postgres", "-D", folder / "data", "-p", port, "-k", folder, "-c", "listen_addresses=127.0.0.1"]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self._process = subprocess.Popen(command, **quiet, **self._owner)
        ready = ["pg_isready", "-q", "-h", "127.0.0.1", "-p", port]
        for _ in range(100):
            if subprocess.run(ready, check=False).returncode == 0:
                break
            time.sleep(0.1)

    def stop(self) -> None:
        """Break every connection and end."""
        self._process.send_signal(signal.SIGINT)
        self._process.wait(30)


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """A PostgreSQL of this session's own."""
    if shutil.which("initdb") is None or shutil.which("postgres") is None:
        pytest.skip("no PostgreSQL on the path: apt-get install postgresql")
    owner = {}
    folder = tmp_path_factory.mktemp("postgres")
    if os.geteuid() == 0:  # PostgreSQL does not run as root
        try:
            account = pwd.getpwnam("postgres")
        except KeyError:
            pytest.skip("PostgreSQL does not run as root, and there is no user postgres")
        owner = {"user": account.pw_uid, "group": account.pw_gid}
        folder = Path(tempfile.mkdtemp(prefix="focus-postgres-"))  # pytest's own folders are closed to others
        os.chown(folder, account.pw_uid, account.pw_gid)
    server = Postgres(folder, owner)
    server.start()
    yield server
    server.stop()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def postgres(postgres_server: Postgres) -> Iterator[str]:
    """URL of an empty PostgreSQL database."""
    import psycopg

    name = f"focus_{uuid.uuid4().hex}"
    admin = f"{postgres_server.url.replace('+psycopg', '')}/postgres"
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    yield f"{postgres_server.url}/{name}"
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
