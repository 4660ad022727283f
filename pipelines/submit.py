"""One pipeline run at a server, from what a person types to its results. Knows neither YAML nor HTTP."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from focus_core.config import CampaignFile, RunLayout, RunSettings
from focus_core.cubes.record import digest
from focus_core.errors import MissingInputError, SettingsError, TargetError
from pipelines.arguments import campaign_arguments, run_name, season_arguments, training_arguments
from pipelines.local import PipelineError
from pipelines.scan import content_of, files_of
from pipelines.server import Server


@dataclass(frozen=True, kw_only=True)
class Job:
    """A pipeline and what it is to work on."""

    pipeline: str
    campaign_file: str
    flights_file: str | None
    layout: RunLayout
    settings: RunSettings

    def arguments(self) -> dict[str, Any]:
        """Return what the pipeline is called with.

        Raises
        ------
        SettingsError
            If there is no such pipeline, or a season's list of flights is not named.
        CampaignError, MissingInputError
            If the campaign file is wrong or names what is not there.
        """
        file = CampaignFile(self.campaign_file)
        file.inputs()
        if (self.pipeline == "season") != (self.flights_file is not None):
            raise SettingsError("'season' and --flights go together; give both or neither")
        if self.pipeline == "training":
            return training_arguments(file, self.layout, self.settings)
        if self.pipeline == "campaign":
            return campaign_arguments(file, self.layout, self.settings)
        if self.pipeline == "season" and self.flights_file is not None:
            return season_arguments(file, str(Path(self.flights_file).absolute()), self.layout, self.settings)
        raise SettingsError(f"no pipeline '{self.pipeline}'; known: training, campaign, season")

    def name(self) -> str:
        """Return a name made of everything that the run depends on."""
        file = CampaignFile(self.campaign_file)
        content = content_of(files_of(file))
        if self.flights_file is not None:
            content += digest(self.flights_file)
        return run_name(self.pipeline, file.campaign.campaign, content, self.arguments())


def follow_run(server: Server, run_id: str, say: Callable[[str], None]) -> None:
    """Wait for a run and tell each change.

    Raises
    ------
    PipelineError
        If it ended badly, with what the server says of it.
    """
    ended = server.follow(run_id, say)
    if ended.failed:
        raise PipelineError(
            f"the run {run_id} ended as {ended.state.lower()}: {ended.reason or 'the server gives no reason'}; "
            "what the steps say of it is in the status folders beside their stores"
        )


def fetch_results(job: Job, target: Path) -> list[Path]:
    """Copy reports, status and the season's manifest from the shared volume; stores stay where they are.

    Raises
    ------
    MissingInputError
        If the volume is not mounted here.
    TargetError
        If the target cannot be written.
    """
    if not job.layout.out.is_dir():
        raise MissingInputError(
            f"'{job.layout.out}' is not mounted on this machine; mount the volume, or copy from a pod that does: "
            f"kubectl cp <pod>:{job.layout.out} {target}"
        )
    copied = []
    try:
        for pattern in ("*/report.html", "*/status/*.json", "status/*.json", "season.json"):
            for path in sorted(job.layout.out.glob(pattern)):
                to = target / path.relative_to(job.layout.out)
                to.parent.mkdir(parents=True, exist_ok=True)
                copied.append(Path(shutil.copyfile(path, to)))
    except OSError as error:
        raise TargetError(f"'{target}' cannot be written: {error}; choose another --fetch") from error
    return copied
