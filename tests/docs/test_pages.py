"""The pages say what the program does: commands, options, functions, messages and links exist."""

import ast
import re
import shlex
from functools import cache
from pathlib import Path

import pytest

import atlas
from atlas.cli.commands import COMMANDS, understood
from docs.site_hooks import cli_reference, parser_of
from tests.conftest import PROJECT

PAGES = [PROJECT / "README.md", *sorted((PROJECT / "docs").rglob("*.md"))]
# Pages for users of the commands; the others also name options of benchmarks and of pip.
FOR_USERS = [
    page
    for page in PAGES
    if page.parent.name == "guides"
    or page.name in ("README.md", "commands.md", "faq.md", "quickstart.md")
]
FENCED = re.compile(r"^```\w*\n(.*?)^```", re.DOTALL | re.MULTILINE)
OPTIONS_OF_OTHERS = {"--help", "--index-url", "--version", "--option", "--no-option"}


def names(pages: list[Path]) -> list[str]:
    return [str(page.relative_to(PROJECT)) for page in pages]


def commands_in(page: Path) -> list[str]:
    """The lines of a page's blocks of code that call the command line."""
    blocks = "\n".join(FENCED.findall(page.read_text("utf-8"))).replace("\\\n", " ")
    lines = [line.partition(" #")[0].strip() for line in blocks.splitlines()]
    return [line for line in lines if re.match(r"atlas [a-z]", line)]


@cache
def options() -> set[str]:
    """Every option of every command."""
    return {
        option
        for name in COMMANDS
        for action in parser_of(name)._actions
        for option in action.option_strings
    }


@pytest.mark.parametrize("page", PAGES, ids=names(PAGES))
def test_every_command_of_a_page_is_understood(page: Path) -> None:
    for line in commands_in(page):
        filled = re.sub(r" [A-Z](?= |$)", " 0.5", line)  # a single letter stands for a value
        name, *words = shlex.split(filled)[1:]
        if {"--help", "-h"} & set(words) or "$" in line or " ..." in line:  # shortened
            continue
        try:
            understood(name.replace("-", "_"), words)
        except (SystemExit, KeyError) as error:
            pytest.fail(f"{line}: {error!r}")


@pytest.mark.parametrize("page", PAGES, ids=names(PAGES))
def test_every_command_that_is_named_in_a_sentence_exists(page: Path) -> None:
    named = set(re.findall(r"`atlas ([a-z][a-z-]*)", page.read_text("utf-8")))
    assert {name.replace("-", "_") for name in named} <= set(COMMANDS)


@pytest.mark.parametrize("page", FOR_USERS, ids=names(FOR_USERS))
def test_every_option_that_is_named_in_a_sentence_exists(page: Path) -> None:
    text = FENCED.sub("", page.read_text("utf-8"))
    code = "\n".join(each for each in re.findall(r"`([^`\n]+)`", text) if "pip " not in each)
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", code))
    assert named - OPTIONS_OF_OTHERS <= options()


@pytest.mark.parametrize("page", PAGES, ids=names(PAGES))
def test_links_lead_to_files_of_the_repository(page: Path) -> None:
    """mkdocs checks links within docs/; these are the ones that are followed in the repository."""
    written = {"cli.md", "changelog.md", "contributing.md", "security.md"}  # by the site
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", FENCED.sub("", page.read_text("utf-8"))):
        if "://" not in target and Path(target).name not in written:
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=names(PAGES))
def test_source_files_that_are_named_with_their_folder_exist(page: Path) -> None:
    folders = "atlas|retrieval|index|classify|scripts|tests|benchmarks"
    for named in re.findall(rf"`((?:{folders})/[\w/]+\.py)`", page.read_text("utf-8")):
        assert (PROJECT / named).is_file(), named


def test_the_reference_has_every_command_with_its_options() -> None:
    sections = dict(re.findall(r"### atlas (\S+)\n(.*?)(?=\n##|\Z)", cli_reference(), re.DOTALL))
    assert set(sections) == {name.replace("_", "-") for name in COMMANDS}
    assert "`--copy-share FLOAT`, default `0.026`" in sections["find-leaks"]
    assert "2.6%" in sections["find-leaks"]
    assert "`--out PATH`, required" in sections["draw-atlas"]


def test_the_api_page_documents_the_public_names() -> None:
    text = (PROJECT / "docs/api.md").read_text("utf-8")
    assert sorted(re.findall(r"^::: atlas\.(\w+)$", text, re.MULTILINE)) == sorted(atlas.__all__)


def texts_of_the_code() -> list[str]:
    """Every string of the packages, with `…` for the values that are put into it."""
    found = []
    for package in ("atlas", "retrieval", "index", "classify"):
        for path in (PROJECT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.JoinedStr):
                    parts = [p.value if isinstance(p, ast.Constant) else "…" for p in node.values]
                    found.append("".join(map(str, parts)))
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found.append(node.value)
    return [" ".join(text.split()) for text in found]


def test_the_messages_of_the_faq_are_those_of_the_code() -> None:
    code = "\n".join(texts_of_the_code())
    text = (PROJECT / "docs/faq.md").read_text("utf-8")
    headings = re.findall(r"^### (`.*`)$", text, re.MULTILINE)
    rows = re.findall(r"^\| (`.*?`) \|", text, re.MULTILINE)
    messages = [message for each in headings + rows for message in re.findall(r"`([^`]+)`", each)]
    assert len(messages) > 20
    parts = [
        part.strip(" :;,().")
        for message in messages
        for part in re.split(r"…|^(?:warning: |train\.csv, line \d+: )", message)
    ]
    assert [part for part in parts if len(part) > 3 and part not in code] == []
