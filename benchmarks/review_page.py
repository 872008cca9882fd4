"""How fast the page of `atlas review` is with many claims and a large group of copies.

    python -m benchmarks.review_page --claims 5000

A run is made by hand in a temporary folder: textures of 128 px, of which each test image is the
copy of a labelled one. A process of its own serves it, as `atlas review` does, and headless
Chromium uses the page: the first grid, key presses in the view of one claim, and a group of 100
copies. Times depend on the machine, so run it on an idle one.
"""

import multiprocessing
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

import cv2
import httpx
import numpy as np
import pandas as pd
import tyro
from playwright.sync_api import Page, sync_playwright

from atlas.core.files import write_json
from atlas.dataset.artifacts import LEAK_COLUMNS, MATCH_COLUMNS, EmbeddingSet, save_table
from atlas.dataset.manifest import read_manifest
from atlas.workflows.leaks.calibration import save_calibration, save_certificate
from atlas.workflows.leaks.siblings import SIBLING_COLUMNS
from index.claims.duplicates import COPY_COLUMNS
from index.index_folder import save_index
from tests.atlas.workflows.leaks.calibrations import calibrated

SIDE_PX = 128
CHANNELS = ("red", "green")
COPIES = 100  # of one group
WAITS_S = 600.0
ALIGNED = (90, 100, 90.0, "no", 1.0, 1.0, "0.00 0.00 1.00 1.00", "no", "0 1")


def write_run(folder: Path, claims: int) -> tuple[Path, Path]:
    """Write an atlas and a run with so many claims, and return both folders."""
    data, run = folder / "data", folder / "run"
    references, tests = ([f"{kind}{n:05}" for n in range(claims)] for kind in "rt")
    for split in ("train", "test"):
        (data / split).mkdir(parents=True)
    (data / "atlas.toml").write_text(
        'name = "benchmark"\nchannels = ["red", "green"]\nfile_pattern = "{id}_{channel}.png"\n'
        'labels = ["zero", "one", "two"]\n'
    )
    targets = [str(n % 3) for n in range(claims)]
    table = pd.DataFrame({"Id": references, "Target": targets, "Identity": references})
    table.to_csv(data / "train.csv", index=False)
    pd.DataFrame({"Id": tests, "Predicted": "0"}).to_csv(
        data / "sample_submission.csv", index=False
    )
    rng = np.random.default_rng(0)
    for reference, test in zip(references, tests, strict=True):
        for channel in CHANNELS:
            blobs = cv2.GaussianBlur(rng.normal(size=(SIDE_PX, SIDE_PX)), (0, 0), 3)
            plane = np.clip(60 + blobs / blobs.std() * 35, 0, 255).astype(np.uint8)
            cv2.imwrite(str(data / "train" / f"{reference}_{channel}.png"), plane)
            cv2.imwrite(str(data / "test" / f"{test}_{channel}.png"), np.rot90(plane))
    _write_results(run, data, references, tests, rng)
    return data, run


def _write_results(
    run: Path, data: Path, references: list[str], tests: list[str], rng: np.random.Generator
) -> None:
    calibration = calibrated()
    vectors = rng.normal(size=(len(references), 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    known = EmbeddingSet(
        ids=tuple(references), vectors_ND=vectors, provenance={"embedder": "planted"}
    )
    labelled = read_manifest(data).labelled
    save_index(run / "index", known, labelled, tuple(references), data=data, image_size_px=SIDE_PX)
    leaks = run / "leaks"
    save_calibration(leaks, calibration)
    certificate = calibration.certificate(np.full(len(tests), 40.0), claims=len(tests))
    save_certificate(leaks, certificate)
    matches = [
        (test, "test", reference, "train", 0.9, 40.0, "same_image", confidence, *ALIGNED)
        for test, reference, confidence in zip(
            tests, references, rng.uniform(0.6, 0.999, len(tests)), strict=True
        )
    ]
    save_table(leaks / "matches.csv", pd.DataFrame(matches, columns=list(MATCH_COLUMNS)))
    save_table(leaks / "leaks.csv", pd.DataFrame([], columns=list(LEAK_COLUMNS)))
    save_table(leaks / "siblings.csv", pd.DataFrame([], columns=list(SIBLING_COLUMNS)))
    write_json(leaks / "made_from.json", {"labelled_tables": "", "verdicts": ""})
    kept = references[0]
    copies = [
        (one, kept, kept, "first of the images", "", SIDE_PX, SIDE_PX)
        for one in references[:COPIES]
    ]
    columns = [*COPY_COLUMNS, "width_px", "height_px"]
    save_table(run / "duplicates" / "copies.csv", pd.DataFrame(copies, columns=columns))


def _serve(run: Path, data: Path, ready: Connection) -> None:
    from atlas.service.review_app import review_app
    from atlas.service.serving import address_of, listening, served
    from atlas.workflows.review.pictures import ReviewPictures
    from atlas.workflows.review.queue import read_queue
    from atlas.workflows.review.verdicts import Review

    queue = read_queue(run, data)
    app = review_app(Review(queue), ReviewPictures(queue), reviewer="Ann")
    with listening(0) as listener, served(app, listener) as thread:
        ready.send(address_of(listener))
        thread.join()


@contextmanager
def serving(run: Path, data: Path) -> Iterator[str]:
    """Yield the address of a server in a new process, which imports everything anew."""
    spawn = multiprocessing.get_context("spawn")
    ready, sender = spawn.Pipe(duplex=False)
    process = spawn.Process(target=_serve, args=(run, data, sender), daemon=True)
    process.start()
    try:
        assert ready.poll(WAITS_S), "the server did not start"
        yield ready.recv()
    finally:
        process.terminate()
        process.join()


def in_browser(page: Page, address: str, presses: int) -> dict[str, float]:
    """Use the page, and return times in seconds and the memory of its script in MiB."""
    page.add_init_script("localStorage.setItem('atlas-review-name', 'Ann')")
    found: dict[str, float] = {}
    start = time.perf_counter()
    page.goto(address)
    page.locator("body[data-ready]").wait_for(timeout=1000 * WAITS_S)
    found["page to first grid, s"] = time.perf_counter() - start
    _pictures_loaded(page, "#cards img")
    found["page to pictures of first grid, s"] = time.perf_counter() - start
    page.locator(".open").first.click()
    page.locator("#one-title").wait_for()
    start = time.perf_counter()
    for _ in range(presses):
        page.keyboard.press("a")
    found[f"{presses} key presses, s"] = time.perf_counter() - start
    # Playwright waits by eval, which the policy of the page forbids.
    while page.locator("#sending").inner_text() != "All verdicts saved":
        page.wait_for_timeout(5)
    found[f"{presses} key presses until saved, s"] = time.perf_counter() - start
    page.keyboard.press("g")
    page.locator("#kinds button", has_text="Groups").click()
    start = time.perf_counter()
    page.locator(".open").first.click()
    page.locator("#copies li").last.wait_for()
    found[f"group of {COPIES} copies, s"] = time.perf_counter() - start
    session = page.context.new_cdp_session(page)
    session.send("HeapProfiler.collectGarbage")
    used = session.send("Runtime.getHeapUsage")["usedSize"]
    return found | {"memory of the script, MiB": used / 2**20}


def _pictures_loaded(page: Page, selector: str) -> None:
    """Wait until the pictures that are in view are there; the others are loaded later."""
    script = """(q) => [...document.querySelectorAll(q)].every((one) => one.complete
        || one.getBoundingClientRect().top > innerHeight)"""
    while not page.evaluate(script, selector):
        page.wait_for_timeout(20)


def main(claims: int = 5000, presses: int = 100) -> None:
    """Write a run, serve it, use the page, and print what it took."""
    with tempfile.TemporaryDirectory() as folder:
        data, run = write_run(Path(folder), claims)
        for start_name in ("first start to first byte, s", "second start to first byte, s"):
            start = time.perf_counter()
            with serving(run, data) as address:
                httpx.get(address).raise_for_status()
                found = {start_name: time.perf_counter() - start}
                start = time.perf_counter()
                queue = httpx.get(f"{address}api/queue", timeout=WAITS_S).content
                found["queue, s"] = time.perf_counter() - start
                found["queue, MiB"] = len(queue) / 2**20
                if start_name.startswith("second"):
                    with sync_playwright() as playwright:
                        browser = playwright.chromium.launch(
                            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
                        )
                        page = browser.new_page(viewport={"width": 1280, "height": 900})
                        found |= in_browser(page, address, presses)
                        browser.close()
            for name, value in found.items():
                print(f"{name:<40} {value:10.3f}")


if __name__ == "__main__":
    tyro.cli(main)
