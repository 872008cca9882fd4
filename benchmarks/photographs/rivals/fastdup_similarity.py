"""The known pictures that fastdup finds for new ones, with its default settings.

PYTHON fastdup_similarity.py PICTURES OUT.csv, in an environment that has fastdup. It compares all
pictures below one folder with one another.
"""

import sys
import tempfile

import fastdup
import pandas as pd

if __name__ == "__main__":
    folder, out = sys.argv[1:]
    with tempfile.TemporaryDirectory() as work:
        finder = fastdup.create(work_dir=work, input_dir=folder)
        finder.run()
        table = finder.similarity()
    # Each picture has its nearest two, so a pair may be listed from one end only.
    swapped = table.rename(columns={"filename_from": "filename_to", "filename_to": "filename_from"})
    both = pd.concat([table, swapped], ignore_index=True)
    new = both["filename_from"].str.rsplit(f"{folder}/new/", n=1).str[-1]
    known = both["filename_to"].str.rsplit(f"{folder}/known/", n=1).str[-1]
    found = pd.DataFrame({"new": new, "known": known, "score": both["distance"]})
    crossing = (new != both["filename_from"]) & (known != both["filename_to"])
    found[crossing].to_csv(out, index=False)
