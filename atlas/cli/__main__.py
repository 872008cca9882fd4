"""`python -m atlas.cli build-index` does what `python scripts/build_index.py` does."""

from atlas.cli.commands import main

if __name__ == "__main__":
    main()
