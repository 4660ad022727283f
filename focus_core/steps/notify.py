"""The step ``notify``: tells people what failed in a run and why, by webhook and by mail; its figures go to MLflow.

Reads what the steps left of their state; addresses with secrets in them come from the environment.
"""

from __future__ import annotations

import json
import logging
import os
import smtplib
import ssl
import urllib.error
import urllib.request
from email.message import EmailMessage
from pathlib import Path
from urllib.parse import unquote, urlsplit

from focus_core import log, tracking
from focus_core.config import NotifySettings
from focus_core.cubes.publish import Metrics
from focus_core.errors import FocusError, NotifyError, SettingsError
from focus_core.steps._status import Status, statuses

_WEBHOOK = "FOCUS_WEBHOOK"
_SMTP = "FOCUS_SMTP"
_TRACKING = "MLFLOW_TRACKING_URI"

logger = logging.getLogger(__name__)


def notify(subject: str, folders: list[str], *, settings: NotifySettings) -> Metrics:
    """Tell what the steps of a run came to; where nothing failed and no cube was left out, only if asked.

    What the finished steps returned, and the seconds of each, become a run of MLflow's experiment ``pipelines`` where
    the variable ``MLFLOW_TRACKING_URI`` names a place. An MLflow that is away costs those figures, no message.

    Parameters
    ----------
    subject
        What ran.
    folders
        Folders in which the run's targets lie, each with the status of the steps that wrote there.
    settings
        Whom to tell, and when. The webhook's address is the variable ``FOCUS_WEBHOOK``, the mail server's
        ``FOCUS_SMTP``: ``smtps://user:password@host`` or ``smtp://…`` with STARTTLS.

    Returns
    -------
    Metrics
        ``failed`` steps, and how many channels were ``told``.

    Raises
    ------
    SettingsError
        If an address is none.
    NotifyError
        If a channel does not take the message.
    """
    log.adopt()
    with log.about(step="notify"):
        return _told(" ".join(subject.split()), folders, settings)


def _told(subject: str, folders: list[str], settings: NotifySettings) -> Metrics:
    found = [(Path(folder).name, status) for folder in dict.fromkeys(folders) for status in statuses(folder)]
    bad = [(where, status) for where, status in found if status.state != "done"]
    lines = [_line(where, status) for where, status in bad]
    if not found:
        lines = ["no step left a status: the run ended before its first step began; see the run's page"]
    partial = [_partial(where, status) for where, status in found if status.metrics.get("cubes_left_out")]
    failed, told = len(lines), 0
    if failed or partial or settings.on_success:
        title = f"FOCUS: {subject}: " + ("failed" if failed else "done in part" if partial else "done")
        text = "\n".join([title, *(lines + partial or [f"{len(found)} steps finished"])])
        logger.warning("%s", text)
        told = _post(title, text, lines, settings) + _mail(title, text, settings)
    _log_figures(subject, found)
    return {"failed": float(failed), "told": float(told)}


def _log_figures(subject: str, found: list[tuple[str, Status]]) -> None:
    figures = {
        f"{where}.{status.verb}.{name}": value
        for where, status in found
        if status.state == "done"
        for name, value in {**status.metrics, "seconds": status.seconds}.items()
    }
    if not figures or not os.environ.get(_TRACKING):
        return
    tags = {"focus.subject": subject, "focus.run": os.environ.get(log.RUN, "")}
    try:
        with tracking.logged_run("pipelines", parameters={}, tags=tags, inputs={}) as run:
            run.log_metrics(figures)
    except FocusError as error:
        logger.warning("the figures of the steps are not in MLflow: %s", error)


def _line(where: str, status: Status) -> str:
    if status.state == "running":
        return f"{where}: {status.verb}: was killed or lost its machine; no reason was left, see its pod"
    return f"{where}: {status.verb}: {status.reason}"


def _partial(where: str, status: Status) -> str:
    count = status.metrics["cubes_left_out"]
    return f"{where}: {status.verb}: damaged cubes left out: {count:.0f}; the log and the reports name them"


def _post(title: str, text: str, lines: list[str], settings: NotifySettings) -> int:
    address = os.environ.get(_WEBHOOK)
    if not address:
        return 0
    place = urlsplit(address)
    if place.scheme not in ("http", "https") or not place.hostname:
        raise SettingsError(f"{_WEBHOOK} holds no http(s):// address; correct the secret")
    body = json.dumps({"text": text, "title": title, "failures": lines}).encode()
    request = urllib.request.Request(address, data=body, headers={"Content-Type": "application/json"}, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=settings.timeout_s):
            return 1
    except (urllib.error.URLError, OSError) as error:
        # The address is a secret in itself: only its host is named.
        raise NotifyError(
            f"the webhook at {place.hostname} did not take the message: {error}; see {_WEBHOOK}"
        ) from error


def _mail(title: str, text: str, settings: NotifySettings) -> int:
    address = os.environ.get(_SMTP)
    if not address or not settings.mail_to:
        return 0
    place = urlsplit(address)
    if place.scheme not in ("smtp", "smtps") or not place.hostname:
        raise SettingsError(f"{_SMTP} holds no smtp:// or smtps:// address; correct the secret")
    message = EmailMessage()
    message["Subject"], message["From"], message["To"] = title, settings.mail_from, ", ".join(settings.mail_to)
    message.set_content(text)
    try:
        if place.scheme == "smtps":
            server: smtplib.SMTP = smtplib.SMTP_SSL(
                place.hostname, place.port or 465, timeout=settings.timeout_s, context=ssl.create_default_context()
            )
        else:
            server = smtplib.SMTP(place.hostname, place.port or 587, timeout=settings.timeout_s)
        with server:
            if place.username:
                if place.scheme == "smtp":
                    server.starttls(context=ssl.create_default_context())
                server.login(unquote(place.username), unquote(place.password or ""))
            server.send_message(message)
    except (smtplib.SMTPException, OSError) as error:
        raise NotifyError(f"the mail server {place.hostname} did not take the message: {error}; see {_SMTP}") from error
    return 1
