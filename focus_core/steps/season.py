"""The step ``season``: every flight of a list explained by the champion; a bad flight costs that flight alone."""

from __future__ import annotations

import json
import logging
import os
import time
from pathlib import Path
from typing import Any

from focus_core.config import CampaignFile, RunLayout, SeasonSettings
from focus_core.cubes.publish import Metrics
from focus_core.cubes.record import local_path
from focus_core.errors import CampaignError, FlightsError, FocusError, MissingInputError
from focus_core.steps._status import recorded
from focus_core.steps.run import run

logger = logging.getLogger(__name__)


@recorded("manifest_uri")
def season(flights_file: str, manifest_uri: str, *, settings: SeasonSettings) -> Metrics:
    """Explain each flight of a list, one after the other, and keep a status of each.

    One after the other, because all are merged into one ``importance.zarr``. Finished steps are not run again, so a
    season that was cut off goes on where it stood.

    Parameters
    ----------
    flights_file
        Text file with the path of a campaign file on each line; ``#`` begins a comment.
    manifest_uri
        Where to write the status of each flight, ``season.json``; the stores lie beside it as `focus run` lays them
        out.
    settings
        Settings of the steps, and how many flights may fail.

    Returns
    -------
    Metrics
        ``flights`` of the list, and how many of them ``failed``.

    Raises
    ------
    MissingInputError
        If the list does not exist.
    CampaignError
        If the list names no flight.
    FlightsError
        After the last flight, if more failed than may; names each with its reason.
    """
    paths, target = _listed(Path(flights_file)), local_path(manifest_uri)
    layout = RunLayout.below(target.parent)
    layout.make()
    manifest: list[dict[str, Any]] = []
    names: dict[str, str] = {}
    for path in paths:
        manifest.append(_explained(path, names, layout, settings))
        _write(target, manifest)  # after each flight: a killed season leaves what it knows
    failed = [item for item in manifest if item["state"] == "failed"]
    if len(failed) > settings.may_fail:
        told = "\n".join(f"{item['campaign'] or item['file']}: {item['reason']}" for item in failed)
        raise FlightsError(
            f"{len(failed)} of {len(manifest)} flights failed, the others are explained ({target}); mend these and run "
            f"again:\n{told}"
        )
    return {"flights": float(len(manifest)), "failed": float(len(failed))}


def _listed(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError as error:
        raise MissingInputError(f"{path}: no such list of flights; check the path") from error
    except (OSError, UnicodeDecodeError) as error:
        raise CampaignError(f"{path}: cannot be read as UTF-8 text ({error})") from error
    found = [line.partition("#")[0].strip() for line in lines]
    if not any(found):
        raise CampaignError(f"{path}: names no flight; write the path of a campaign file on each line")
    return list(dict.fromkeys(str((path.parent / line).absolute()) for line in found if line))


def _explained(path: str, names: dict[str, str], layout: RunLayout, settings: SeasonSettings) -> dict[str, Any]:
    """Return the status of one flight after it was explained, or could not be."""
    found: dict[str, Any] = {"file": path, "campaign": "", "state": "done", "reason": "", "report": ""}
    started = time.time()
    try:
        file = CampaignFile(path)
        found["campaign"] = file.campaign.campaign
        _refuse_second(file, names)
        file.inputs()
        run([file], layout, settings, fit=False)
        found["report"] = layout.campaign(file).report
    except FocusError as error:
        found |= {"state": "failed", "reason": str(error)}
    except Exception as error:
        # A defect that one flight brings out must not cost the others; its traceback is kept.
        logger.exception("%s", path)
        found |= {"state": "failed", "reason": f"{type(error).__name__}: {error}"}
    return {**found, "seconds": round(time.time() - started, 3)}


def _refuse_second(file: CampaignFile, names: dict[str, str]) -> None:
    name = file.campaign.campaign
    other = names.setdefault(name, str(file.path))
    if other != str(file.path):
        raise file.error(("campaign",), f"'{name}' is the id of {other} too; give each its own")


def _write(target: Path, manifest: list[dict[str, Any]]) -> None:
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    partial.write_text(json.dumps(manifest, indent=2), encoding="utf-8")
    partial.replace(target)
