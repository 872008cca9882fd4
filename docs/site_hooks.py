"""What `mkdocs build` adds to the pages of this folder.

The command reference is written from the commands themselves, the home page shows the first part of
README.md, and CHANGELOG.md, CONTRIBUTING.md and SECURITY.md become pages, so nothing is written
twice. A link to another file of the repository becomes the name of that file.
"""

import inspect
import re
import sys
import warnings
from argparse import SUPPRESS
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
# Files of the repository's root that are pages of the site too.
ROOT_PAGES = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
}
README_HERE = "<!-- README.md: first part -->"  # index.md shows it in place of this line
README_ENDS = "## Install"
LINK = re.compile(r"(?<!!)\[(?P<text>[^\]]+)\]\((?P<target>[^)\s]+)\)")


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that are not files of docs/."""
    from mkdocs.structure.files import File

    pages = {name: (ROOT / source).read_text("utf-8") for source, name in ROOT_PAGES.items()}
    for name, text in {**pages, "cli.md": cli_reference()}.items():
        files.append(File.generated(config, name, content=of_root(text)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Put the README's first part on the home page, and resolve links that leave docs/."""
    if README_HERE in markdown:
        first = (ROOT / "README.md").read_text("utf-8").partition(README_ENDS)[0]
        first = first.partition("\n")[2]  # the home page has its own title
        markdown = markdown.replace(README_HERE, of_root(first))
        page.meta.setdefault("hide", ["navigation"])  # its own tables lead on
    depth = page.file.src_uri.count("/")
    return LINK.sub(partial(_inside, depth=depth), markdown)


def of_root(text: str) -> str:
    """Return a text of the repository's root with links as a page of docs/ has them."""
    text = re.sub(r"\]\((?:\./)?docs/", "](", text)
    for source, name in ROOT_PAGES.items():
        text = re.sub(rf"\]\({source}(?=[)#])", f"]({name}", text)
    return re.sub(r"\]\((?![a-z]+:|#)(?=[^)]*/)([^)]*)\)", _of_root_folder, text)


def _of_root_folder(link: re.Match[str]) -> str:
    return link[0] if (ROOT / "docs" / link[1].partition("#")[0]).exists() else f"](../{link[1]})"


def _inside(link: re.Match[str], *, depth: int) -> str:
    """Return a link as it is, or the name of a file that lies outside docs/."""
    outside = "../" * (depth + 1)
    if not link["target"].startswith(outside):
        return link[0]
    name = link["target"].removeprefix(outside).partition("#")[0]
    if name in ROOT_PAGES:
        return f"[{link['text']}]({'../' * depth}{ROOT_PAGES[name]})"
    if not (ROOT / name).exists():
        return link[0]  # mkdocs reports it
    return f"`{name}`" if link["text"].strip("`") == name else f"{link['text']} (`{name}`)"


def cli_reference() -> str:
    """Return the page of all commands and options, from the parsers that read them."""
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))
    from atlas.cli.commands import GROUPS, TITLES

    lines = [
        "# All options",
        "",
        "This page is written from the commands themselves, so it lists what `--help` shows. "
        "[Commands explained](commands.md) says what the commands are for.",
    ]
    for group, names in GROUPS.items():
        lines += ["", f"## {TITLES[group]}"]
        for name in names:
            lines += _command(name)
    return "\n".join(lines) + "\n"


def parser_of(name: str) -> Any:
    """Return the parser of a command, with the defaults of its usual recipe."""
    import tyro

    from atlas.cli.commands import function_of
    from atlas.cli.options import RECIPES_OF, REGISTRY, default_settings, with_options

    start: Any = with_options(function_of(name))
    if name in RECIPES_OF:
        usual = inspect.signature(start).parameters["recipe"].default
        start = partial(start, settings=default_settings(name, [], usual=usual))
    with warnings.catch_warnings():
        # tyro intends to drop this function, but has no other that returns options as data.
        warnings.simplefilter("ignore", DeprecationWarning)
        return tyro.extras.get_parser(start, prog=f"atlas {_typed(name)}", registry=REGISTRY)


def _command(name: str) -> Iterator[str]:
    parser = parser_of(name)
    yield from ("", f"### atlas {_typed(name)}", "", _text(parser.description or ""))
    for group in parser._action_groups:
        options = [each for each in group._group_actions if each.help != SUPPRESS]
        options = [each for each in options if "--help" not in each.option_strings]
        if not options:
            continue
        if group.description:
            yield from ("", f"*{_text(group.description)}*")
        for option in options:
            yield from ("", *_option(option))


def _option(option: Any) -> Iterator[str]:
    shown = re.fullmatch(
        r"(?P<said>.*?)\s*(\((?:default: (?P<default>.*)|(?P<required>required))\))?",
        str(option.help).replace("%%", "%"),
        flags=re.DOTALL,
    )
    assert shown is not None
    names = ", ".join(f"`{_named(option, each)}`" for each in option.option_strings[:2])
    note = ", required" if shown["required"] else _default(option, shown["default"] or "")
    yield f"{names or f'`{str(option.dest).upper()}`'}{note}"
    yield f":   {_text(shown['said'])}"


def _default(option: Any, value: str) -> str:
    if option.nargs == 0:  # a flag
        return ", on by default" if value == "True" else ""
    return f", default `{value}`" if value else ""


def _named(option: Any, name: str) -> str:
    # A flag takes no value; --no-NAME is the second of its names.
    return name if option.nargs == 0 or len(name) == 2 else f"{name} {option.metavar}"


def _text(text: str) -> str:
    """Return a text in one paragraph of Markdown."""
    paragraphs = [" ".join(each.split()) for each in text.split("\n\n")]
    return "\n\n".join(re.sub(r"([<>*_\[\]])(?![^`]*`)", r"\\\1", each) for each in paragraphs)


def _typed(name: str) -> str:
    return name.replace("_", "-")
