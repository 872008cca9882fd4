import asyncio
import json
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from fastapi.testclient import TestClient

from atlas.core.errors import UserError
from atlas.service.limits import Limited
from atlas.service.lookup_app import lookup_app
from atlas.service.settings import ServeSettings, token_of
from atlas.workflows.embed.lookup import lookup
from atlas.workflows.serve.live_gallery import live_gallery
from index.added_images import read_added
from tests.atlas.workflows.serve.made_service import new_files, served_run_and_new_files

ADDRESS = "http://127.0.0.1:8000"
TOKEN = "a token of enough letters"
SMALL = ServeSettings(upload_mib=1, megapixels=1, most_neighbours=20)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return served_run_and_new_files(tmp_path_factory.mktemp("served"))


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made / "run", tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture
def client(run: Path) -> Iterator[TestClient]:
    with live_gallery(run) as live, lookup_app(live, run / "uploads", SMALL) as app:
        yield TestClient(app, base_url=ADDRESS)


def sent(client: TestClient, path: str, file: Path | bytes | None = None, **fields: str) -> Any:
    content = file.read_bytes() if isinstance(file, Path) else file
    # Fields that are sent as files without a name make a form without files multipart, too.
    form: dict[str, Any] = {name: (None, value) for name, value in fields.items()}
    if content is not None:
        form["image"] = ("x.png", content)
    return client.post(path, files=form)


def png(height: int, width: int) -> bytes:
    return cv2.imencode(".png", np.zeros((height, width), np.uint8))[1].tobytes()


def test_answers_are_those_of_the_command(client: TestClient, made: Path, run: Path) -> None:
    queries = ["copy0", "sibling3", "non_match", "field2_2", *map(str, new_files(made / "new", 2))]
    table = lookup(queries, run / "index", k=4, montage=run / "m.png").table
    known = ("match_id", "similarity", "registration_score", "labels", "identity")

    def asked(query: str) -> None:
        by_file = {"file": Path(query)} if "/" in query else {"id": query}
        answer = sent(client, "/lookup", k="4", **by_file).json()  # type: ignore[arg-type]
        expected = table[table["query"] == query]
        found = [
            (one["id"], one["similarity"], one["registration"]["score"],
             " ".join(map(str, one["labels"])), one["identity"])
            for one in answer["neighbours"]
        ]  # fmt: skip
        assert found == list(expected[list(known)].itertuples(index=False, name=None))
        assert answer["verdict"]["reason"] == f"The image {expected['verdict'].iloc[0]}."
        assert [one["rank"] for one in answer["neighbours"]] == [1, 2, 3, 4]

    with ThreadPoolExecutor(6) as clients:  # several at once, in any order
        list(clients.map(asked, queries * 3))


def test_a_copy_proposes_labels_with_a_confidence(client: TestClient) -> None:
    verdict = sent(client, "/lookup", id="copy0").json()["verdict"]
    assert (verdict["relation"], verdict["claimed"]) == ("same_image", True)
    assert verdict["matches"] == ["field0_1"]
    assert (verdict["labels"], verdict["label_names"]) == ([0], ["even"])
    assert verdict["confidence"] == 1.0
    unknown = sent(client, "/lookup", id="non_match").json()["verdict"]
    assert (unknown["relation"], unknown["labels"]) == ("", None)
    assert unknown["confidence"] is None


def test_without_registration_there_are_the_same_neighbours(client: TestClient) -> None:
    compared = sent(client, "/lookup", id="copy0", k="7").json()["neighbours"]
    answer = sent(client, "/lookup", id="copy0", k="7", registration="false").json()
    assert answer["verdict"] is None
    assert [one["id"] for one in answer["neighbours"]] == [one["id"] for one in compared]
    assert all(one["registration"] is None for one in answer["neighbours"])


def test_an_image_is_added_found_and_removed(client: TestClient, made: Path, run: Path) -> None:
    file = new_files(made / "new")[0]
    answer = sent(client, "/images", file, labels="1", identity="new")
    assert answer.status_code == 201
    image = answer.json()
    assert (image["labels"], image["label_names"]) == ([1], ["odd"])
    assert list(read_added(run / "added").by_id) == [image["id"]]  # before the answer was sent
    assert sent(client, "/images", file, labels="1").status_code == 200
    assert client.get(f"/images/{image['id']}").json()["added"]
    found = sent(client, "/lookup", file).json()
    assert found["verdict"]["matches"] == [image["id"]]
    assert client.get(f"/pictures/{image['id']}").headers["content-type"] == "image/webp"
    assert client.delete(f"/images/{image['id']}").status_code == 204
    assert client.get(f"/images/{image['id']}").status_code == 404
    assert sent(client, "/lookup", file).json()["verdict"]["matches"] == []
    assert client.delete("/images/field0_0").status_code == 409
    assert client.get("/images/field0_0").json()["labels"] == [0]
    assert not read_added(run / "added").by_id


@pytest.mark.parametrize(
    ("path", "file", "fields", "status", "detail"),
    [
        ("/lookup", None, {"id": "../train/field0_0"}, 404, "no image with this id"),
        ("/lookup", None, {"id": "/etc/passwd"}, 404, "no image with this id"),
        ("/lookup", None, {"id": "nobody"}, 404, "no image with this id"),
        ("/lookup", None, {"k": "3"}, 422, "either the files of an image, or an id"),
        ("/lookup", png(9, 9), {"id": "copy0"}, 422, "either the files of an image, or an id"),
        ("/lookup", png(9, 9), {"k": "21"}, 422, "k must be a whole number from 1 to 20"),
        ("/lookup", png(9, 9), {"k": "ten"}, 422, "k must be a whole number from 1 to 20"),
        ("/lookup", png(9, 9), {"registration": "maybe"}, 422, "must be true or false"),
        ("/lookup", png(9, 9), {"labels": "0"}, 422, "the fields are id, k, registration"),
        ("/lookup", b"no picture", {}, 422, "is not a readable PNG"),
        ("/lookup", b"\x89PNG\r\n\x1a\nbroken", {}, 422, "is damaged"),
        ("/lookup", png(1001, 1000), {}, 413, "1,000 x 1,001 pixels, and at most 1 million"),
        ("/lookup", bytes(2 << 20), {}, 413, "at most 1 MiB"),
        ("/images", png(9, 9), {"labels": "7"}, 422, "label 7 is out of range"),
        ("/images", png(9, 9), {"labels": "0", "id": "a/b"}, 422, "cannot be part of a file name"),
        ("/images", png(9, 9), {"labels": "0", "id": "field0_0"}, 409, "already has an image"),
        ("/images", None, {"labels": "0"}, 422, "send the files of an image"),
    ],
)
def test_what_is_refused_leaves_nothing(
    client: TestClient, run: Path, path: str, file: bytes | None, fields: dict[str, str],
    status: int, detail: str,
) -> None:  # fmt: skip
    answer = sent(client, path, file, **fields)
    assert (answer.status_code, detail in answer.json()["detail"]) == (status, True), answer.text
    assert not read_added(run / "added").by_id
    (uploads,) = run.glob(".uploads.*")
    assert not list(uploads.iterdir())


def test_a_request_that_is_no_form_is_refused(client: TestClient) -> None:
    assert client.post("/lookup", json={"id": "copy0"}).status_code == 415


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 421),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Origin": ADDRESS, "Sec-Fetch-Site": "same-origin"}, 404),
        ({}, 404),
    ],
)
def test_only_programs_and_own_pages_change_something(
    client: TestClient, headers: dict[str, str], status: int
) -> None:
    answer = client.delete("/images/nobody", headers=headers)
    assert answer.status_code == status
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")


def test_a_token_is_needed_for_everything_but_health(run: Path) -> None:
    with live_gallery(run) as live, lookup_app(live, run / "uploads", SMALL, TOKEN) as app:
        client = TestClient(app, base_url="http://public.example")
        for path in ("/images/field0_0", "/metrics", "/claims", "/openapi.json"):
            for wrong in (
                "",
                "Bearer ",
                f"Bearer {TOKEN}x",
                TOKEN,
                f"Basic {TOKEN}",
                "Bearer \xff",
            ):
                refused = client.get(path, headers={"Authorization": wrong.encode("latin-1")})
                assert refused.status_code == 401
                assert "field0_0" not in refused.text
            right = client.get(path, headers={"Authorization": f"Bearer {TOKEN}"})
            assert right.status_code in (200, 404)  # there are no claims
        assert client.get("/healthz").json() == {"status": "ok"}


@pytest.mark.parametrize(
    ("host", "token", "mode", "problem"),
    [
        ("0.0.0.0", None, 0, "can be reached by others"),
        ("127.0.0.1", "short", 0o600, "at least 16"),
        ("0.0.0.0", "", 0o600, "is empty"),
        ("127.0.0.1", TOKEN, 0o644, "can be read by others"),
    ],
)
def test_what_is_not_safe_does_not_start(
    tmp_path: Path, host: str, token: str | None, mode: int, problem: str
) -> None:
    file = None
    if token is not None:
        file = tmp_path / "token"
        file.write_text(f"{token}\n")
        file.chmod(mode)
    with pytest.raises(UserError, match=problem):
        token_of(ServeSettings(host=host, token_file=file))


def test_a_token_comes_from_a_file_or_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert token_of(ServeSettings()) == ""
    monkeypatch.setenv("ATLAS_TOKEN", TOKEN)
    assert token_of(ServeSettings(host="0.0.0.0")) == TOKEN
    (tmp_path / "token").write_text("another token of a file\n")
    (tmp_path / "token").chmod(0o600)
    assert token_of(ServeSettings(token_file=tmp_path / "token")) == "another token of a file"


async def _answers_of(settings: ServeSettings, requests: int, body: list[bytes | None]) -> list:
    """Send equal requests at once to an application that reads the body; None never comes."""
    begun = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        begun.set()
        more = True
        while more:
            more = (await receive()).get("more_body", False)
        await asyncio.sleep(0)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    limited = Limited(app, settings=settings, unlimited=("/healthz",), measure=lambda count: None)
    answers: list[Any] = []

    async def request() -> None:
        parts = list(body)

        async def receive() -> dict[str, Any]:
            part = parts.pop(0) if parts else b""
            if part is None:
                await asyncio.sleep(60)
            return {"type": "http.request", "body": part, "more_body": bool(parts)}

        async def send(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                answers.append((message["status"], dict(message["headers"])))

        scope = {"type": "http", "path": "/lookup", "headers": []}
        try:
            await limited(scope, receive, send)
        except Exception as error:  # the application turns it into an answer
            answers.append((error.status_code, {}))  # type: ignore[attr-defined]

    await asyncio.gather(*(request() for _ in range(requests)))
    return answers


def answers_of(
    settings: ServeSettings, requests: int, body: list[bytes | None]
) -> list[tuple[int, dict[bytes, bytes]]]:
    """Run `_answers_of` in a thread of its own, because tests of pages leave a loop in this one."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(lambda: asyncio.run(_answers_of(settings, requests, body))).result()


def test_a_full_queue_asks_to_try_again() -> None:
    answers = answers_of(ServeSettings(queue=2), 5, [b"x", b"x"])
    assert sorted(status for status, _ in answers) == [200, 200, 503, 503, 503]
    assert all(headers[b"retry-after"] == b"1" for status, headers in answers if status == 503)
    assert not [s for s, _ in answers_of(ServeSettings(), 5, [b"x"]) if s != 200]


def test_a_body_that_does_not_come_is_not_waited_for() -> None:
    settings = ServeSettings(upload_s=0.1)
    assert answers_of(settings, 1, [b"x", None])[0][0] == 408


def test_a_body_without_a_length_has_a_limit() -> None:
    settings = ServeSettings(upload_mib=1)
    assert answers_of(settings, 1, [bytes(600_000)] * 2)[0][0] == 413


def test_answers_are_counted(client: TestClient) -> None:
    sent(client, "/lookup", id="copy0")
    client.get("/made/up/by/somebody")
    text = client.get("/metrics").text
    assert 'atlas_requests_total{route="/lookup",status="200"} 1.0' in text
    assert 'atlas_requests_total{route="other",status="404"} 1.0' in text
    assert 'atlas_images{source="index"} 40.0' in text
    assert "atlas_batch_images_count 1.0" in text
    assert "process_resident_memory_bytes" in text


def test_the_document_describes_what_is_sent(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    assert set(document["paths"]) == {
        "/lookup", "/images", "/images/{image_id}", "/pictures/{image_id}", "/claims", "/healthz",
        "/metrics",
    }  # fmt: skip
    body = document["paths"]["/lookup"]["post"]["requestBody"]["content"]
    fields = body["multipart/form-data"]["schema"]["properties"]
    assert set(fields) == {"image", "gray", "id", "k", "registration"}
    assert "http://" not in json.dumps(document)
