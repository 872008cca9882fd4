"""What `make audit` makes of pip-audit's report."""

from tests.packaging.vulnerabilities import vulnerabilities


def test_only_what_an_update_fixes_counts() -> None:
    report = {
        "dependencies": [
            {"name": "good", "version": "1", "vulns": []},
            {"name": "skipped", "skip_reason": "editable"},
            {"name": "old", "version": "1.0", "vulns": [{"id": "X-1", "fix_versions": ["1.1"]}]},
            {"name": "open", "version": "2.0", "vulns": [{"id": "X-2", "fix_versions": []}]},
        ]
    }
    assert list(vulnerabilities(report)) == [
        ("old 1.0: X-1; install 1.1", True),
        ("open 2.0: X-2; no version fixes it yet", False),
    ]
