"""MLflow, behind functions that speak of models, champions and records; the only package that imports it.

Importing this package loads neither MLflow nor torch: both take seconds, and ``focus --help`` must not.
"""

from focus_core.tracking.environment import environment
from focus_core.tracking.gate import failed_thresholds
from focus_core.tracking.models import fetch_backbone, fetch_model, log_model, register_backbone
from focus_core.tracking.registry import delete_version, promote, rollback
from focus_core.tracking.runs import Run, log_metrics, logged_run
from focus_core.tracking.server import configure
from focus_core.tracking.trail import AuditRecord, audit, champions
from focus_core.tracking.versions import Version, champion, find_version, resolve

__all__ = [
    "AuditRecord",
    "Run",
    "Version",
    "audit",
    "champion",
    "champions",
    "configure",
    "delete_version",
    "environment",
    "failed_thresholds",
    "fetch_backbone",
    "fetch_model",
    "find_version",
    "log_metrics",
    "log_model",
    "logged_run",
    "promote",
    "register_backbone",
    "resolve",
    "rollback",
]
