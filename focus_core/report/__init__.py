"""Pages: what the model saw in which plot of a flight, and why a model became champion or did not."""

from focus_core.report.page import Sources, render_page
from focus_core.report.promotion import Decision, render_decision

__all__ = ["Decision", "Sources", "render_decision", "render_page"]
