"""``python -m asc_search`` is ``asc-search``."""

from asc_search.cli import main

main()
