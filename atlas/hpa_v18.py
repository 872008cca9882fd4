"""Ids of the Human Protein Atlas, version 18: what they say of a field."""

import re
from dataclasses import dataclass

# 1,406 of the 74,606 ids of the table end in "_cr..."; RNA interference plates are named "si26".
# The leak tables of 2018-19 also put the gene in front, or leave the antibody out.
_ID = re.compile(
    r"(?:ENSG[0-9]+_)?(?:(?P<antibody>[0-9]+)_)?(?P<plate>(?:si)?[0-9]+)_(?P<well>[A-P][0-9]{1,2})"
    r"_(?P<field>[0-9]+)(?:_cr[0-9a-f]+)?"
)


@dataclass(frozen=True, kw_only=True)
class HpaId:
    """antibody: None where the id leaves it out."""

    antibody: str | None
    plate: str
    well: str
    field: str

    @property
    def specimen(self) -> str:
        """The well: cells of one line, stained with one antibody. No two antibodies share one."""
        return f"{self.plate}_{self.well}"


def parse_hpa_id(image_id: str) -> HpaId | None:
    """Of `[gene_][antibody_]plate_well_field[_cr...]`; None for other ids, such as Kaggle's."""
    found = _ID.fullmatch(image_id)
    return None if found is None else HpaId(**found.groupdict())
