"""What the texts of a version are like: retired words, lines of documentation, reading grade.

    python -m benchmarks.texts            # the working tree
    python -m benchmarks.texts PATH       # a checkout of another version

A reading grade is the Flesch-Kincaid grade of the sentences of a page, without code, tables and
headings: about the years of school that a reader needs.
"""

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
PACKAGES = ("atlas", "retrieval", "index", "classify")
GRADED = ("README.md", "docs/quickstart.md", "docs/guides/*.md", "docs/commands.md", "docs/faq.md",
          "docs/concepts.md", "docs/method.md", "docs/classifiers.md", "docs/metric_learning.md",
          "docs/decisions.md", "docs/formats.md", "docs/performance.md",
          "docs/results*.md")  # fmt: skip
# The words that the project no longer uses, as regular expressions, and what it says instead.
RETIRED = {
    r"cuts?(?! off)": "threshold",
    r"evidence": "registration score",
    r"promis(?:e|es|ed|ing)": "guarantee",
    r"trunks?": "backbone",
    # "in turn", "turns an image into a vector" and "turns it off" are plain English.
    r"(?<!in )turn(?:s|ed)?(?! (?:off|on|out)\b|[^.]{0,50} into\b)": "rotation",
    r"strangers?|distinct pairs?": "non-match",
    r"by lot": "at random",
    r"tells?|told": "reports, prints, says",
    r"mend(?:s|ed|ing)?": "fix",
    r"look-alikes?": "near duplicate",
    r"both worlds|twins?": "with and without transferred labels",
    r"likeliest": "most likely",
    r"(?<!time )(?:go(?:es)?|gone|went) on": "is resumed, continues",
    r"worth(?! \w+ing\b| its time\b)": "expected gain",
    r"trials": "calibration set",  # a single trial is plain English
    r"asked images?": "query",
    r"holds? the rest": "bottleneck",
    r"flatters?|flattered|flattering": "is optimistic",
    r"heard as": "counts as",
}
PATTERN = re.compile(rf"\b(?:{'|'.join(RETIRED)})\b", re.IGNORECASE)
BARE_DECIMAL = re.compile(r"(?<![\w.\d/*\[{)])\.\d+\b|\d %")
CALLS = ("print", "say", "debug", "info", "warning", "error", "exit", "Answer")


@dataclass(frozen=True)
class Text:
    """A text that a user reads, and where it stands."""

    where: str
    text: str


def pages(root: Path) -> Iterator[Text]:
    """Yield README.md and the pages of docs/."""
    for path in [root / "README.md", *sorted((root / "docs").rglob("*.md"))]:
        yield Text(str(path.relative_to(root)), path.read_text("utf-8"))


def help_texts(root: Path) -> Iterator[Text]:
    """Yield what `--help` is made of: docstrings of the command line and of all settings."""
    files = [*(root / "atlas/cli").glob("*.py"), *_modules(root, "*settings.py")]
    for path in sorted(set(files)):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                where = f"{path.relative_to(root)}:{node.lineno}"
                yield Text(where, ast.get_docstring(node) or "")


def messages(root: Path) -> Iterator[Text]:
    """Yield the texts that are raised, logged, printed or collected as problems."""
    for path in _modules(root, "*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if _speaks(node):
                for said in _strings(node):
                    yield Text(f"{path.relative_to(root)}:{said.lineno}", str(said.value))


def retired_words(text: Text) -> list[str]:
    """Return each retired word of a text, and each decimal without its leading zero."""
    plain = re.sub(r"https?://\S+", "", text.text)
    found = [*PATTERN.finditer(plain), *BARE_DECIMAL.finditer(plain)]
    return [each.group() for each in sorted(found, key=re.Match.start)]


def sentences(page: str) -> str:
    """Return the prose of a page in Markdown: no code, tables, headings, pictures or comments."""
    page = re.sub(r"^```.*?^```", "", page, flags=re.DOTALL | re.MULTILINE)
    page = re.sub(r"<!--.*?-->|!\[[^\]]*\]\([^)]*\)", "", page, flags=re.DOTALL)
    page = re.sub(r"^(?:#|\||:::).*$", "", page, flags=re.MULTILINE)
    page = re.sub(r"\[([^\]]+)\]\([^)]*\)", r"\1", page)
    page = re.sub(r"`[^`]*`", "it", page)
    return re.sub(r"[*_]", "", page)


def reading_grade(page: str) -> float:
    """Return the Flesch-Kincaid grade of the prose of a page (Kincaid et al. 1975).

    Syllables are those of pyphen's hyphenation, which misses a few at the ends of words.
    """
    from pyphen import Pyphen

    hyphens = Pyphen(lang="en_US")
    prose = sentences(page)
    words = re.findall(r"[A-Za-z][A-Za-z'-]*", prose)
    count = len(re.findall(r"[.!?](?=\s|$)|\w\s*\n(?=\s*\n|- )", prose))  # list items are sentences
    syllables = sum(len(hyphens.positions(word)) + 1 for word in words)
    return 0.39 * len(words) / count + 11.8 * syllables / len(words) - 15.59


def main(root: Path) -> None:
    """Print the tables of a version."""
    kinds = {"pages": pages(root), "help": help_texts(root), "messages": messages(root)}
    for kind, texts in kinds.items():
        found = [word for text in texts for word in retired_words(text)]
        print(f"retired words in {kind}: {len(found)}")
    for pattern in GRADED:
        for path in sorted(root.glob(pattern)):
            page = path.read_text("utf-8")
            lines = len(page.splitlines())
            print(f"{path.relative_to(root)}: {lines} lines, grade {reading_grade(page):.1f}")
    print("lines of README and docs:", sum(len(each.text.splitlines()) for each in pages(root)))


def _modules(root: Path, pattern: str) -> list[Path]:
    return sorted(path for package in PACKAGES for path in (root / package).rglob(pattern))


def _strings(node: ast.AST) -> Iterator[ast.Constant]:
    """Yield the texts in a node, without what says how a number is written, such as `.2f`."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node
    for name, child in ast.iter_fields(node):
        children = child if isinstance(child, list) else [child]
        if name != "format_spec":
            for each in children:
                if isinstance(each, ast.AST):
                    yield from _strings(each)


def _speaks(node: ast.AST) -> bool:
    if isinstance(node, ast.Raise | ast.Yield):
        return True
    if not isinstance(node, ast.Call):
        return False
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    return name in CALLS or (name == "append" and "problems" in ast.unparse(node.func))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else PROJECT)
