"""Where a stop may arrive: in a library that logs what it finds while it clears up, in a finaliser that drops it."""

from __future__ import annotations

import subprocess
import sys

import pytest
from support import ENVIRONMENT

COMMAND = """
import logging, signal, time
import asc_search.cli as cli

def in_a_library():
    try:
        signal.raise_signal(signal.SIGTERM)
    except KeyboardInterrupt:
        logging.getLogger("sqlalchemy.pool").error("Exception closing cursor", exc_info=True)
        raise

class Finalised:
    def __del__(self):
        signal.raise_signal(signal.SIGTERM)

def in_a_finaliser():
    del [Finalised()][0]
    time.sleep(30)
    print("went on to its end")

cli.app = {where}
cli.main()
"""


@pytest.mark.parametrize("where", ["in_a_library", "in_a_finaliser"])
def test_a_stop_is_one_message_wherever_it_arrives(where: str) -> None:
    script = COMMAND.replace("{where}", where)
    done = subprocess.run(
        [sys.executable, "-c", script], env=ENVIRONMENT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 130
    assert done.stderr == "stopped; the same command continues where this one ended\n" and not done.stdout
