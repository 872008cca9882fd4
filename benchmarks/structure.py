"""Measure how the code of the product is divided into modules, in one commit or in several.

    python -m benchmarks.structure [COMMIT ...] [--out TABLE.md] [--trace FOLDER]

The product is every .py file outside tests, benchmarks, examples, docs and hidden folders. Lines
are counted in all of these files; modules are those not called __init__.py. An import counts
wherever it stands in a file, but an import by `importlib` is not seen.
"""

import ast
import io
import json
import os
import runpy
import shutil
import subprocess
import sys
import tempfile
import threading
import tokenize
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import FrameType

import tyro
from rich.console import Console
from rich.table import Table
from tyro.conf import Positional

# Only functions import from the project, because a process that traces another commit loads this
# file beside the modules of that commit.
OUTSIDE = ("tests", "benchmarks", "examples", "docs")
SHORT_LINES = 60
SHOWN_FOLDERS = 6
LAYOUT = (tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)
FIND_LEAKS = (
    "find_leaks", "--data", "runs/data", "--index", "runs/index", "--out", "runs/leaks",
    "--accept-unproven-copies", "--accept-unproven-siblings",
)  # fmt: skip
TRACED = "import runpy, sys; runpy.run_path(sys.argv[1])['trace_script'](*sys.argv[2:])"


@dataclass(frozen=True)
class Source:
    """A file of the product; `path` is relative to the root of the project."""

    path: Path
    text: str

    @property
    def is_package(self) -> bool:
        return self.path.name == "__init__.py"

    @property
    def name(self) -> str:
        return ".".join((self.path.parent if self.is_package else self.path.with_suffix("")).parts)

    @cached_property
    def nodes(self) -> list[ast.AST]:
        return list(ast.walk(ast.parse(self.text)))


def main(
    commits: Positional[tuple[str, ...]] = ("worktree",),
    out: Path | None = None,
    trace: Path | None = None,
) -> None:
    """Print a table with a column of figures for each commit.

    Args:
        commits: git commits; `worktree` stands for the files as they are now.
        out: a Markdown file to write the same table to.
        trace: where benchmarks.compare_commits keeps the runs of these commits. The first test
            image of the drawn atlas, a copy, is then followed through find_leaks.
    """
    from benchmarks.compare_commits import check_out, kept_folder

    columns: dict[str, dict[str, str]] = {}
    for commit in commits:
        with tempfile.TemporaryDirectory() as folder:
            checkout = Path(folder).resolve() / "checkout"
            check_out(commit, checkout)
            columns[commit] = figures(read_sources(checkout))
            if trace is not None:
                columns[commit] |= trace_figures(checkout, kept_folder(commit, trace) / "demo")
    names = dict.fromkeys(name for column in columns.values() for name in column)
    rows = [(name, *(column.get(name, "") for column in columns.values())) for name in names]
    table = Table("figure", *columns)
    for row in rows:
        table.add_row(*row)
    Console().print(table)
    if out is not None:
        lines = [("figure", *columns), ("---",) * (len(columns) + 1), *rows]
        out.write_text("".join(f"| {' | '.join(line)} |\n" for line in lines), encoding="utf-8")


def read_sources(root: Path) -> list[Source]:
    """Return the files of the product, ordered by path."""
    paths = sorted(path.relative_to(root) for path in root.rglob("*.py"))
    return [
        Source(path, (root / path).read_text(encoding="utf-8"))
        for path in paths
        if path.parts[0] not in OUTSIDE and not any(part[0] == "." for part in path.parts)
    ]


def figures(sources: Sequence[Source]) -> dict[str, str]:
    modules = [source for source in sources if not source.is_package]
    edges = import_edges(sources)
    importers = Counter(imported for _, imported in edges)
    folders = Counter(str(module.path.parent) for module in modules)
    lines = {source.name: len(source.text.splitlines()) for source in sources}
    length, where = longest_function(sources)
    return {
        "modules": f"{len(modules):,}",
        "lines": f"{sum(lines.values()):,}",
        "lines of code": f"{sum(map(code_lines, sources)):,}",
        "largest folders": ", ".join(f"{n} {c}" for n, c in folders.most_common(SHOWN_FOLDERS)),
        "import edges": f"{len(edges):,}",
        "modules with one importer": str(sum(importers[m.name] == 1 for m in modules)),
        f"modules under {SHORT_LINES} lines": str(
            sum(lines[m.name] < SHORT_LINES for m in modules)
        ),
        "longest function": f"{length} lines, {where}",
        "top-level packages": ", ".join(sorted({source.path.parts[0] for source in sources})),
    }


def code_lines(source: Source) -> int:
    """Return how many lines hold code; docstrings, comments and blank lines do not."""
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source.text).readline):
        if token.type not in (*LAYOUT, tokenize.COMMENT):
            lines.update(range(token.start[0], token.end[0] + 1))
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in source.nodes:
        if isinstance(node, documented) and ast.get_docstring(node, clean=False) is not None:
            lines.difference_update(range(node.body[0].lineno, _end(node.body[0]) + 1))
    return len(lines)


def import_edges(sources: Sequence[Source]) -> set[tuple[str, str]]:
    """Return the pairs of an importing and an imported module or package of the project."""
    names = {source.name for source in sources}
    pairs = ((source.name, name) for source in sources for name in _imported_names(source))
    # The last part of `from a import b` is a module or something that a module defines.
    edges = {(one, other if other in names else other.rpartition(".")[0]) for one, other in pairs}
    return {(one, other) for one, other in edges if other in names and one != other}


def _imported_names(source: Source) -> Iterator[str]:
    package = source.name if source.is_package else source.name.rpartition(".")[0]
    for node in source.nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: 1 - node.level or None] if node.level else []
            base = ".".join([*above, *filter(None, [node.module])])
            yield from (f"{base}.{alias.name}" for alias in node.names)


def longest_function(sources: Sequence[Source]) -> tuple[int, str]:
    """Return the lines of the longest function, from `def` to its end, and its name."""
    lengths = (
        (_end(node) - node.lineno + 1, f"{source.name}.{node.name}")
        for source in sources
        for node in source.nodes
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    return max(lengths, default=(0, ""))


def _end(node: ast.stmt) -> int:
    return node.end_lineno or node.lineno


def trace_figures(checkout: Path, run: Path) -> dict[str, str]:
    """Return what find_leaks of a checkout passes through, with the atlas and index of a run."""
    work = checkout / "runs"
    for name in ("data", "index"):  # without the row caches, so that no step is skipped
        shutil.copytree(run / name, work / name)
    table = work / "data" / "sample_submission.csv"
    table.write_text("".join(table.read_text().splitlines(keepends=True)[:2]))
    command = [sys.executable, "-c", TRACED, __file__, "runs/trace.json", *FIND_LEAKS]
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    subprocess.run(command, cwd=checkout, env=environment, check=True, stdout=subprocess.DEVNULL)
    steps = json.loads((work / "trace.json").read_text())
    modules = dict.fromkeys(called for _, called in steps)
    return {
        "find_leaks: modules entered": str(len(modules)),
        "find_leaks: steps": str(sum(caller != called for caller, called in steps)),
        "find_leaks: modules in order": " ".join(modules),
    }


def trace_script(result: str, name: str, *arguments: str) -> None:
    """Run scripts/NAME.py of the current folder in this process, and write the steps as JSON."""
    script = str(Path("scripts", f"{name}.py").resolve())
    trace = Trace(f"{Path.cwd().resolve()}{os.sep}", script)
    sys.argv = [script, *arguments]
    threading.setprofile(trace)
    sys.setprofile(trace)
    runpy.run_path(script, run_name="__main__")
    sys.setprofile(None)
    Path(result).write_text(json.dumps([*trace.steps]))


class Trace:
    """A profile function that records which module below `root` calls which, in this order.

    A call through a library counts as one from the module that called the library. A call within
    a module, or one that begins a thread, is recorded as from the module itself. What runs during
    an import is left out, and so are other processes.
    """

    def __init__(self, root: str, script: str) -> None:
        self.steps: dict[tuple[str, str], None] = {}  # of a calling and a called module
        self._root, self._script = root, script

    def __call__(self, frame: FrameType, event: str, argument: object) -> None:
        if event != "call" or not (called := self._module(frame)):
            return
        callers = (module for outer in _outer(frame) if (module := self._module(outer)))
        step = next(callers, called), called
        if step not in self.steps and not any(map(self._imports, (frame, *_outer(frame)))):
            self.steps[step] = None

    def _module(self, frame: FrameType) -> str:
        """Return the name of a module of the project; an empty text for others and templates."""
        path = frame.f_code.co_filename
        if not path.startswith(self._root) or not path.endswith(".py"):
            return ""
        return path[len(self._root) : -len(".py")].replace(os.sep, ".").removesuffix(".__init__")

    def _imports(self, frame: FrameType) -> bool:
        """Return whether the frame executes a module, other than the script itself."""
        code = frame.f_code
        return code.co_name == "<module>" and code.co_filename not in (self._script, "<string>")


def _outer(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None and (frame := frame.f_back) is not None:
        yield frame


if __name__ == "__main__":
    tyro.cli(main)
