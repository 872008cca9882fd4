import numpy as np
import pytest

from atlas.dataset.artifacts import ALIGNMENT_COLUMNS, Neighbours
from index.claims.leaks import SiblingOf, find_leaks, find_matches
from index.copies.calibration import SameImageCalibration
from index.copies.claim_probability import ClaimProbability
from index.copies.false_claims import FalseClaims
from index.copies.guarantee import Trials, measure_guarantee
from index.copies.verification import FIRST_CHANNEL, Registrations
from index.siblings.calibration import SiblingCalibration, no_siblings
from tests.index.siblings.made import SCORE

GUARANTEE = measure_guarantee(
    Trials(known_K=np.full(100, 0.9), unknown_U=np.full(100, 0.1)),
    wanted_threshold=0.8, precision=0.5, share=0.5, seed=0,
)  # fmt: skip
SAME = SameImageCalibration(
    threshold=5.0, false_claims=FalseClaims(candidates=20, start=2.0, rate=0.08, decay=0.5),
    planted=tuple(np.linspace(8, 40, 50)),
    natural_count=100, suspected=0, copy_share=0.026,
    probability=ClaimProbability(scores=(2.0, 5.0, 8.0), probabilities=(0.2, 0.9, 0.99)),
    guarantee=GUARANTEE, note="",
)  # fmt: skip
SIBLING = SiblingCalibration(
    score=SCORE, threshold=2.0,
    probability=ClaimProbability(scores=(1.0, 2.0, 3.0), probabilities=(0.3, 0.95, 0.98)),
    scores=(0.0, 2.0, 4.0), bounds=(0.0, 0.9, 0.9),
    recalls=(1.0, 0.5, 0.0), recall_at_threshold=0.5, known_count=1000, unknown_count=1000,
    best_possible=0.95, guarantee=GUARANTEE, identity_bound=0.9, note="",
)  # fmt: skip
LABELS = {"a": (1,), "b": (2, 0), "c": (1,), "d": (3,), "e": (3,)}
IDENTITIES = {"a": None, "b": "B", "c": "B", "d": "D", "e": "D"}
SPLITS = {**dict.fromkeys(LABELS, "train"), "q": "test", "r": "test"}


def claims(
    candidates: list[tuple[str, float, float]],
    *,
    sibling: SiblingCalibration = SIBLING,
    fits: tuple[str, float] | None = None,
    unproven: tuple[str, ...] = (),
    equal: tuple[str, ...] = (),
    least_confidence: float = 0.0,
):
    """One query q with (id, similarity, registration score) candidates, some equal; r has none.

    The identity that fits q best and its score are `fits`.
    """
    siblings = {"q": SiblingOf(identity=fits[0], score=fits[1], features="alike")} if fits else {}
    count = len(candidates)
    neighbours = Neighbours(
        query_ids=("q", "r"),
        reference_ids_NK=np.array([[c[0] for c in candidates], [""] * count], dtype=object),
        similarity_NK=np.array([[c[1] for c in candidates], [-np.inf] * count], np.float32),
    )
    numbers = np.zeros((2, count, FIRST_CHANNEL + 1), np.float32)
    numbers[..., 0] = [[c[2] for c in candidates], [-1.0] * count]
    numbers[..., 1:3] = 30, 40  # agreeing and comparable blocks
    numbers[..., 4:FIRST_CHANNEL] = [0, -1, 1, 1, 0, 0, 0, 0, 1]  # a quarter rotation
    matches = find_matches(
        neighbours, Registrations(numbers_NKF=numbers), SAME, sibling,
        equal_NK=np.isin(neighbours.reference_ids_NK.astype(str), equal),
        splits=SPLITS, identities=IDENTITIES, siblings=siblings,
    )  # fmt: skip
    leaks = find_leaks(
        matches, labels=LABELS, channels=("green",), siblings=siblings, unproven=unproven,
        least_confidence=least_confidence,
    )  # fmt: skip
    return matches, leaks.table


def test_a_copy_goes_before_a_more_similar_sibling():
    matches, leaks = claims([("b", 0.99, 0.2), ("a", 0.7, 9.26)], fits=("B", 4.0))
    assert len(matches.table) == 2  # every examined pair, none for the query without candidates
    row = leaks.iloc[0]
    assert (row["Id"], row["match_id"], row["relation"]) == ("q", "a", "same_image")
    assert (row["labels"], row["decision"]) == ("1", "transfer")
    assert row["reason"].startswith("The image is a copy of a: registration score 9.3, confidence")
    assert row["reason"].endswith("The labels of the match are 1.")
    assert len(leaks) == 1


def test_matches_say_how_the_query_was_made():
    matches, _ = claims([("a", 0.7, 9.3), ("b", 0.6, 0.0)])
    copy, other = (row for _, row in matches.table.iterrows())
    assert (copy["agreeing_blocks"], copy["comparable_blocks"]) == (30, 40)
    assert (copy["rotation_degrees"], copy["mirrored"], copy["scale"]) == (90.0, "no", 1.0)
    assert (copy["negative"], copy["channel_order"]) == ("no", "0")
    assert other[list(ALIGNMENT_COLUMNS[2:])].isna().all()


def test_a_claim_whose_precision_is_not_proven_abstains_and_says_so():
    candidates = [("a", 0.7, 9.3)]
    row = claims(candidates, unproven=("same_image",))[1].iloc[0]
    assert (row["relation"], row["labels"], row["decision"]) == ("same_image", "1", "abstain")
    assert "not guaranteed" in row["reason"]
    assert claims(candidates, unproven=("sibling",))[1].iloc[0]["decision"] == "transfer"


def test_a_claim_with_too_little_confidence_abstains_and_says_so():
    candidates, fits = [("b", 0.7, 0.2)], ("B", 2.5)  # a sibling with a confidence of 0.95
    sure = claims(candidates, fits=fits)[1].iloc[0]
    at_least = claims(candidates, fits=fits, least_confidence=sure["confidence"])[1].iloc[0]
    assert (sure["decision"], at_least["decision"]) == ("transfer", "transfer")
    row = claims(candidates, fits=fits, least_confidence=0.99)[1].iloc[0]
    assert (row["labels"], row["decision"]) == (sure["labels"], "abstain")
    assert row["reason"].endswith("They are not transferred: the confidence is below 0.99.")
    equal = claims([("a", 0.9, 2.6)], equal=("a",), least_confidence=1.0)[1].iloc[0]
    assert equal["decision"] == "transfer"


def test_equal_pixels_are_a_certain_copy_and_always_transfer():
    # The score lies below the threshold, and the precision of copies is not guaranteed.
    _, leaks = claims([("a", 0.9, 2.6)], unproven=("same_image",), equal=("a",))
    row = leaks.iloc[0]
    assert (row["relation"], row["decision"], row["confidence"]) == ("same_image", "transfer", 1.0)
    assert "is a copy of a: the pixels are equal." in row["reason"]


def test_only_equal_images_vote_against_an_equal_image():
    candidates = [("d", 0.99, 9.5), ("e", 0.98, 9.5), ("a", 0.9, 9.0), ("b", 0.9, 9.0)]
    _, leaks = claims(candidates, equal=("a",))
    assert leaks.iloc[0][["match_id", "labels", "decision"]].tolist() == ["a", "1", "transfer"]
    _, leaks = claims(candidates, equal=("a", "b"))
    assert leaks.iloc[0]["decision"] == "abstain"


def test_equal_images_that_show_nothing_are_no_copies():
    _, leaks = claims([("a", 1.0, -1.0)], equal=("a",))
    assert leaks.empty


def test_a_sibling_has_the_identity_that_fits_best_and_says_why():
    candidates = [("a", 0.95, 0.1), ("b", 0.9, 0.1), ("d", 0.7, 0.3), ("e", 0.65, 0.1)]
    matches, leaks = claims(candidates, fits=("D", 2.7))
    assert matches.table["relation"].tolist() == ["", "", "sibling", "sibling"]
    row = leaks.iloc[0]
    assert (row["match_id"], row["relation"]) == ("d", "sibling")
    assert (row["registration_score"], row["sibling_score"]) == (pytest.approx(0.3), 2.7)
    assert row["confidence"] == pytest.approx(0.95)
    assert "(best of 2 matches), identity D: sibling score 2.7, confidence 0.950" in row["reason"]
    assert "(alike)" in row["reason"]


def test_an_identity_with_a_score_below_the_threshold_is_no_sibling():
    assert claims([("d", 0.99, 0.1)], fits=("D", 1.9))[1].empty
    assert len(claims([("d", 0.5, 0.1)], fits=("D", 2.0))[1]) == 1


def test_contradicting_copies_abstain_and_say_so():
    _, leaks = claims([("a", 0.9, 9.5), ("b", 0.9, 9.4)])
    row = leaks.iloc[0]
    assert row["decision"] == "abstain"
    assert "disagree" in row["reason"]
    assert "0 2" in row["reason"]


def test_a_majority_of_agreeing_matches_transfers():
    _, leaks = claims([("a", 0.9, 9.5), ("b", 0.9, 9.4), ("c", 0.8, 9.3)])
    assert leaks.iloc[0]["decision"] == "transfer"
    assert leaks.iloc[0]["labels"] == "1"


def test_equal_claims_are_ordered_by_id():
    _, leaks = claims([("c", 0.9, 9.5), ("a", 0.9, 9.5)])
    assert leaks.iloc[0]["match_id"] == "a"


def test_nothing_is_claimed_below_the_thresholds_or_of_a_blank_query():
    _, leaks = claims([("a", 0.99, 4.9), ("b", 0.59, 0.1)], fits=("B", 1.0))
    assert leaks.empty
    _, leaks = claims([("d", 0.99, -1.0)], fits=("D", 4.0))
    assert leaks.empty


def test_without_repeated_identities_no_sibling_is_claimed():
    _, leaks = claims([("d", 0.99, 0.1)], sibling=no_siblings("none"), fits=("D", 9.0))
    assert leaks.empty
