"""Templates of pages that need nothing else: no network, no other file.

Every text is escaped by the template; data blocks cannot end their element; the only scripts that a browser runs are
those that the page's content security policy names by digest.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from importlib import resources

import jinja2
from markupsafe import Markup


def template(name: str) -> jinja2.Template:
    """Return one of this package's templates; a value that is missing is an error."""
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(own_file(name))


def own_file(name: str) -> str:
    """Return the text of a file of this package."""
    return resources.files("focus_core.report").joinpath(name).read_text(encoding="utf-8")


def data_block(value: object) -> Markup:
    """Return JSON that holds no character with which an HTML element could end or begin."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def policy(scripts: Mapping[str, str]) -> str:
    """Return a content security policy under which nothing is fetched and only these scripts run."""
    digests = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in scripts.values())
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests) or "'none'"
    return f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:"
