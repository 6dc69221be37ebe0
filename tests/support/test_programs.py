"""A program that hangs ends, with its children, and the test says what it printed."""

import pytest

from tests.support import programs

HANGS_WITH_A_CHILD = """
import os, sys, threading
print("begun", flush=True)
os.fork()
threading.Event().wait()
"""


def test_a_program_that_hangs_fails_its_test_though_its_child_holds_the_output() -> None:
    with pytest.raises(AssertionError, match="it hangs: begun"):
        programs.ended(programs.start(HANGS_WITH_A_CHILD, forks=True), patience=0.5)


def test_a_program_that_complains_fails_its_test() -> None:
    with pytest.raises(AssertionError, match="UserWarning"):
        programs.output(programs.start("import warnings; warnings.warn('beware')"))
