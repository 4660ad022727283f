"""What the documents tell a reader to run exists."""

import re
from pathlib import Path

import pytest
from typer.main import get_command

from focus_core.cli.app import app

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "infra").rglob("*.md")])
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", flags=re.DOTALL | re.MULTILINE)
INLINE = re.compile(r"`([^`\n]+)`")


def commands(path):
    """Command lines of a document: those of its blocks, and inline code."""
    text = path.read_text(encoding="utf-8")
    blocks = [line for kind, block in FENCE.findall(text) if kind in ("", "sh") for line in block.splitlines()]
    return [*blocks, *INLINE.findall(FENCE.sub("", text))]


def targets():
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    return set(re.findall(r"^([a-z][a-z-]*):", text, flags=re.MULTILINE))


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_make_targets_and_verbs_exist(path):
    verbs = get_command(app).commands
    for line in commands(path):
        words = line.split()
        if words[:1] == ["make"]:
            wanted = [word for word in words[1:] if "=" not in word and "<" not in word and word[0].islower()]
            assert wanted[:1] == [] or wanted[0] in targets(), line
        if words[:1] == ["focus"] and len(words) > 1 and not words[1].startswith("-"):
            assert words[1] in verbs, line
            verb = verbs[words[1]]
            if hasattr(verb, "commands"):  # focus bench NAME
                assert words[2] in verb.commands, line
                verb = verb.commands[words[2]]
            options = {option for parameter in verb.params for option in (*parameter.opts, *parameter.secondary_opts)}
            assert {word for word in words if word.startswith("--")} <= options, line
        if words[:3] == ["python", "-m", "pipelines"]:
            from pipelines.__main__ import app as pipelines

            assert words[3] in get_command(pipelines).commands, line


def test_the_readme_says_what_a_reader_must_know():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    plain = " ".join(text.split())
    assert "The paper's equations are not public, so those used here are our own" in plain
    assert "arXiv 2507.14787" in plain
    assert {"make demo", "make test"} <= set(commands(ROOT / "README.md"))
    assert "TORCH_INDEX" in text
    assert "simulated" in text


def test_every_document_that_is_named_exists():
    for path in DOCUMENTS:
        text = path.read_text(encoding="utf-8")
        named = {name for name in INLINE.findall(text) if re.fullmatch(r"[\w./-]+\.(?:md|toml|Containerfile)", name)}
        missing = [name for name in named if not any((folder / name).exists() for folder in (ROOT, path.parent))]
        assert missing == [], path


def test_every_make_target_is_explained():
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    explained = set(re.findall(r'echo "make ([a-z-]+)', text))
    assert targets() - {"help"} == explained
    assert targets() == set(re.search(r"^\.PHONY: (.*)$", text, flags=re.MULTILINE).group(1).split())
