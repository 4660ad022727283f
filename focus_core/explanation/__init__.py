"""Explain tiles with a model: some of them in memory, or a whole campaign shard by shard into a store."""

from focus_core.explanation.campaign import explain_campaign
from focus_core.explanation.tiles import check_tiles, explain_tiles, load_focus, repaired_tiles, warn_of_failures

__all__ = ["check_tiles", "explain_campaign", "explain_tiles", "load_focus", "repaired_tiles", "warn_of_failures"]
