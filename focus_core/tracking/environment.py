"""What a run ran on: versions of the packages that decide its numbers, and the commit of the code."""

from __future__ import annotations

import platform
import subprocess
from importlib import metadata
from pathlib import Path

import focus_core

PACKAGES = (
    "focus-core",
    "dask",
    "exactextract",
    "mlflow",
    "numpy",
    "pydantic",
    "rasterio",
    "safetensors",
    "scipy",
    "timm",
    "torch",
    "xarray",
    "zarr",
)


def environment() -> dict[str, str]:
    """Return the versions of Python and of `PACKAGES`, the machine, and ``commit`` where the code is tracked."""
    found = {"python": platform.python_version(), "machine": platform.platform()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    commit = commit_of(Path(focus_core.__file__).parent)
    return {**found, "commit": commit} if commit else found


def commit_of(package: Path) -> str | None:
    """Return the commit of a package's folder; ``None`` where no checkout tracks it."""
    # The first question keeps a package that is installed inside some other project's checkout apart from it.
    if _git(package, "ls-files", "--error-unmatch", "__init__.py") is None:
        return None
    return _git(package, "rev-parse", "HEAD")


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        answer = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()
