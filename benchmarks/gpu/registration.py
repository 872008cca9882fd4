"""Registration scores on the device: pairs per second beside the processor's.

The device runs `TorchRegistration`, a prototype that no command uses; the processor runs what
`find_leaks` does, without refining to a sub-pixel map, by all cores. Of each query a part of the
candidates is its source, edited, and the rest are other fields.
"""

import time
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from atlas.core.parallel import CORES, by_processes, by_threads
from atlas.synthetic.cells import draw_field
from atlas.synthetic.edits import EDITS, plant
from benchmarks.gpu.part import Work
from benchmarks.gpu.torch_registration import TorchRegistration
from index.copies.registration import band_passed, prepare, register_all
from index.settings import LeakSettings, RegistrationSettings

FloatArray = NDArray[np.float32]
# Nothing is refined; the correlation never reaches 2.
SETTINGS = replace(RegistrationSettings(), refined_from=2.0)
CANDIDATES = LeakSettings().neighbours + LeakSettings().hash_candidates
QUERIES, TINY_QUERIES = 512, 6
QUERIES_AT_ONCE = 64  # on the device
# Rounding decides which of two windows wins that fit nearly alike.
TOLERANCE, LEAST_SHARE_WITHIN = 0.01, 0.98


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """Band-passed queries and fields, and of each query the fields that it is compared with."""

    queries_QCHW: FloatArray
    fields_NCHW: FloatArray
    candidates_QK: NDArray[np.int64]


def run(work: Work) -> None:
    """Score the same pairs on the processor and on the device."""
    count = TINY_QUERIES if work.tiny else QUERIES
    with work.timed("drawing"):
        pairs = drawn_pairs(count)
    on_the_processor(pairs, CORES, processes=not work.tiny)  # starts the processes
    start = time.monotonic()
    expected = on_the_processor(pairs, count, processes=not work.tiny)
    rate = expected.size / (time.monotonic() - start)
    work.found("registration", pairs=expected.size, cores=CORES, processor_pairs_per_s=rate)
    registration = TorchRegistration(SETTINGS, work.device.kind)
    compare_scores(work, on_the_device(registration, pairs), expected)
    seconds = work.device.seconds_of(lambda: on_the_device(registration, pairs), rounds=3)
    work.found(
        "registration", device_pairs_per_s=expected.size / seconds,
        device_times_processor=expected.size / seconds / rate,
    )  # fmt: skip


def compare_scores(work: Work, found: FloatArray, expected: FloatArray) -> None:
    """Check that the device gives the processor's scores, and finds the sources."""
    differences = np.abs(found - expected)
    within = float(np.mean(differences <= TOLERANCE))
    detail = (
        f"{within:.1%} of {found.size:,} pairs differ by at most {TOLERANCE} (wanted "
        f"{LEAST_SHARE_WITHIN:.0%}), the median by {np.median(differences):.1e}, all by at most "
        f"{differences.max():.3f}"
    )
    work.check("registration scores", within >= LEAST_SHARE_WITHIN, detail)
    alike = float(np.mean(found.argmax(axis=1) == expected.argmax(axis=1)))
    detail = f"{alike:.1%} of {len(found)} queries have the same best candidate"
    work.check("best candidates", alike == 1, detail)


def drawn_pairs(count: int) -> Pairs:
    """Draw fields, and queries that are edited copies of some; each has its source among its
    candidates, as the first."""
    side = SETTINGS.size_px
    fields = by_threads(lambda n: draw_field(
        antibody_seed=n, field_seed=0, labels=(n % 28,), size_px=2 * side
    ), range(max(count, CANDIDATES)))  # fmt: skip
    names = list(EDITS)
    edited = [
        plant(fields[n], names[n % len(names)], np.random.default_rng(n)) for n in range(count)
    ]
    return Pairs(
        queries_QCHW=np.stack([band_passed(field, SETTINGS) for field in edited]),
        fields_NCHW=np.stack([band_passed(field, SETTINGS) for field in fields]),
        candidates_QK=(np.arange(count)[:, None] + np.arange(CANDIDATES)) % len(fields),
    )


def on_the_processor(pairs: Pairs, count: int, *, processes: bool) -> FloatArray:
    """Return the scores of the first queries, as `find_leaks` computes them."""
    tasks = [
        (query, pairs.fields_NCHW[candidates])
        for query, candidates in zip(
            pairs.queries_QCHW[:count], pairs.candidates_QK[:count], strict=True
        )
    ]
    return np.array(by_processes(_scores_of_one, tasks, processes=processes), np.float32)


def on_the_device(registration: TorchRegistration, pairs: Pairs) -> FloatArray:
    """Return the scores of all pairs; copying to the device and back is part of the work."""
    queries, fields, candidates = (
        torch.from_numpy(each).to(registration.device)
        for each in (pairs.queries_QCHW, pairs.fields_NCHW, pairs.candidates_QK)
    )
    with torch.inference_mode():
        blocks = [
            registration.scores(queries[rows], fields[candidates[rows]])
            for start in range(0, len(queries), QUERIES_AT_ONCE)
            for rows in [slice(start, start + QUERIES_AT_ONCE)]
        ]
    return np.asarray(torch.cat(blocks).cpu().numpy(), np.float32)


def _scores_of_one(query: FloatArray, references: FloatArray) -> list[float]:
    found = register_all(prepare(query, SETTINGS), list(references), SETTINGS)
    return [registration.registration_score for registration in found]
