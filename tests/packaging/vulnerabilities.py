"""Look for known vulnerabilities of the installed packages, where the database answers.

`make audit` runs this with pip-audit, whose database is that of PyPI. A machine without a network
gets one line that says so. Vulnerabilities without a fixed version are shown and do not fail.
"""

import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

DATABASE = "https://pypi.org/pypi/pip/json"  # any answer will do
WAIT_S = 5


def main() -> None:
    """Exit with status 1 where an installed package has a vulnerability that an update fixes."""
    if reason := _unreachable():
        print(f"pip-audit is skipped: {reason}")
        return
    words = ["--skip-editable", "--progress-spinner", "off", "--format", "json"]
    done = subprocess.run(
        [sys.executable, "-m", "pip_audit", *words], capture_output=True, text=True, check=False
    )
    if not done.stdout.strip():
        print(f"pip-audit is skipped: {(done.stderr.strip() or 'no answer').splitlines()[-1]}")
        return
    found = list(vulnerabilities(json.loads(done.stdout)))
    for line, _ in found:
        print(line)
    print(f"pip-audit: {len(found)} known vulnerabilities")
    sys.exit(any(fixed for _, fixed in found))


def vulnerabilities(report: Any) -> Iterator[tuple[str, bool]]:
    """Yield a line for each vulnerability in pip-audit's JSON, and whether an update fixes it."""
    for package in report["dependencies"]:
        for each in package.get("vulns", ()):
            fixed = each["fix_versions"]
            way_out = f"install {' or '.join(fixed)}" if fixed else "no version fixes it yet"
            yield f"{package['name']} {package['version']}: {each['id']}; {way_out}", bool(fixed)


def _unreachable() -> str:
    try:
        with urllib.request.urlopen(DATABASE, timeout=WAIT_S):
            return ""
    except (urllib.error.URLError, OSError) as error:
        return f"pypi.org does not answer ({error})"


if __name__ == "__main__":
    main()
