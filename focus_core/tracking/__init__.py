"""MLflow, behind functions that speak of models, champions and records; the only package that imports it.

Importing this package loads neither MLflow nor torch: both take seconds, and ``focus --help`` must not.
"""

from focus_core.tracking.comparison import Compared, compare, log_champion, unseen_champion
from focus_core.tracking.environment import environment
from focus_core.tracking.gate import Verdict, judge
from focus_core.tracking.models import fetch_backbone, fetch_model, log_model, register_backbone
from focus_core.tracking.registry import GateError, delete_version, promote, rollback
from focus_core.tracking.runs import Run, has_page, log_metrics, log_page, logged_run
from focus_core.tracking.server import configure
from focus_core.tracking.trail import AuditRecord, audit, champions
from focus_core.tracking.versions import Version, champion, find_version, resolve, version

__all__ = [
    "AuditRecord",
    "Compared",
    "GateError",
    "Run",
    "Verdict",
    "Version",
    "audit",
    "champion",
    "champions",
    "compare",
    "configure",
    "delete_version",
    "environment",
    "fetch_backbone",
    "fetch_model",
    "find_version",
    "has_page",
    "judge",
    "log_champion",
    "log_metrics",
    "log_model",
    "log_page",
    "logged_run",
    "promote",
    "register_backbone",
    "resolve",
    "rollback",
    "unseen_champion",
    "version",
]
