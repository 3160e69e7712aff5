"""What the documents promise is there: files behind links, commands and their options."""

import re
from pathlib import Path

import pytest
import typer

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "reports" / "guide").glob("*.md"))]
LINK = re.compile(r"(?:\]\(|src=\")([^)\s\"]+)")
COMMAND = re.compile(r"^    sciimg (.+)$", re.MULTILINE)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    targets = [t.split("#")[0] for t in LINK.findall(document.read_text()) if "://" not in t]
    assert [t for t in targets if t and not (document.parent / t).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_commands_exist_with_their_options(document: Path) -> None:
    unknown = [line for line in COMMAND.findall(document.read_text()) if not _known(line)]
    assert unknown == []


def _known(line: str) -> bool:
    """Whether a written command names a command that there is, and none but its options."""
    from sciimg.cli import app

    words = re.sub(r'"[^"]*"', "X", line.split("  #")[0].split(" > ")[0]).split()
    command = typer.main.get_command(app)
    while below := getattr(command, "commands", None):
        below = below.get(words[0]) if words else None
        if below is None:
            return False
        command, words = below, words[1:]
    options = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)} | {"--help"}
    return all(word.split("=")[0] in options for word in words if word.startswith("-") and not word.startswith("-0"))
