"""The counts of a small planted project, and the trace of a script of it, are known by hand."""

import json
import subprocess
import sys
from pathlib import Path

from benchmarks import structure

FILES = {
    "shop/__init__.py": '"""A package."""\n',
    "shop/stock.py": '''"""What is there.

Two paragraphs.
"""

# A comment.
SOLD = """a
b"""


def count(
    items: list[str],
) -> int:
    """Return how many."""
    return len(items)  # no library
''',
    "shop/till/__init__.py": "from .money import pay\n",
    "shop/till/money.py": (
        "from ..stock import count\n\n\ndef pay() -> int:\n    return count([])\n"
    ),
    "scripts/sell.py": (
        "from shop import stock, till\n\nassert till.pay() == 0\nassert stock.count(['a']) == 1\n"
    ),
    "tests/test_shop.py": "import shop.stock\n",
    ".hidden/copy.py": "import shop.stock\n",
}


def write_project(root: Path) -> Path:
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_figures_of_a_small_project(tmp_path: Path) -> None:
    sources = structure.read_sources(write_project(tmp_path))
    assert {source.name: structure.code_lines(source) for source in sources} == {
        "shop": 0, "shop.stock": 6, "shop.till": 1, "shop.till.money": 3, "scripts.sell": 3,
    }  # fmt: skip
    assert structure.import_edges(sources) == {
        ("scripts.sell", "shop.stock"),
        ("scripts.sell", "shop.till"),
        ("shop.till", "shop.till.money"),
        ("shop.till.money", "shop.stock"),
    }
    assert structure.figures(sources) == {
        "modules": "3",
        "lines": "26",
        "lines of code": "13",
        "largest folders": "scripts 1, shop 1, shop/till 1",
        "import edges": "4",
        "modules with one importer": "1",
        "modules under 60 lines": "3",
        "longest function": "5 lines, shop.stock.count",
        "top-level packages": "scripts, shop",
    }


def test_a_trace_lists_calls_between_modules_in_order(tmp_path: Path) -> None:
    write_project(tmp_path)
    command = [sys.executable, "-c", structure.TRACED, structure.__file__, "trace.json", "sell"]
    subprocess.run(command, cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)}, check=True)
    assert json.loads((tmp_path / "trace.json").read_text()) == [
        ["scripts.sell", "scripts.sell"],
        ["scripts.sell", "shop.till.money"],
        ["shop.till.money", "shop.stock"],
        ["scripts.sell", "shop.stock"],
    ]
