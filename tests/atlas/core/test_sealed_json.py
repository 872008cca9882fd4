"""Sealed JSON files notice damage, and those that are kept are made again."""

from pathlib import Path

from atlas.core.sealed_json import kept_json


def test_kept_json_heals_itself(tmp_path: Path) -> None:
    path, made = tmp_path / "x.json", []

    def make() -> dict[str, object]:
        made.append(1)
        return {"passed": True, "cosine": 0.5}

    assert kept_json(path, make) == kept_json(path, make) == {"passed": True, "cosine": 0.5}
    for damage in (b"", b"{}", path.read_bytes().replace(b"true", b"false"), b"\xff", b"[1]"):
        path.write_bytes(damage)
        assert kept_json(path, make) == {"passed": True, "cosine": 0.5}
    assert len(made) == 6
