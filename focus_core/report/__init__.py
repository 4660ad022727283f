"""The field report: one page that says, in plain words and figures, what the model saw in which plot."""

from focus_core.report.page import Sources, render_page

__all__ = ["Sources", "render_page"]
