"""The 28 labels of the Human Protein Atlas challenge of 2018; the position is the number."""

import re

HPA_LABELS = (
    "Nucleoplasm",
    "Nuclear membrane",
    "Nucleoli",
    "Nucleoli fibrillar center",
    "Nuclear speckles",
    "Nuclear bodies",
    "Endoplasmic reticulum",
    "Golgi apparatus",
    "Peroxisomes",
    "Endosomes",
    "Lysosomes",
    "Intermediate filaments",
    "Actin filaments",
    "Focal adhesion sites",
    "Microtubules",
    "Microtubule ends",
    "Cytokinetic bridge",
    "Mitotic spindle",
    "Microtubule organizing center",
    "Centrosome",
    "Lipid droplets",
    "Plasma membrane",
    "Cell junctions",
    "Mitochondria",
    "Aggresome",
    "Cytosol",
    "Cytoplasmic bodies",
    "Rods & rings",
)


def format_labels(labels: tuple[int, ...]) -> str:
    """Label numbers as the tables hold them: `(7, 1)` -> `"7 1"`."""
    return " ".join(str(label) for label in labels)


def parse_labels(text: str) -> tuple[int, ...]:
    """The inverse of `format_labels`. Raises ValueError where a word is not a whole number."""
    words = text.split()
    for word in words:
        if not re.fullmatch(r"-?[0-9]{1,9}", word):  # int() would also take "1_0" and "+1"
            raise ValueError(f"{word!r} is not a whole number")
    return tuple(int(word) for word in words)
