#!/usr/bin/env python3
"""The tests of Python code, by unittest: a line each, then 'N passed, N failed'."""

import sys
import time
import traceback
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "scripts")]


class Lines(unittest.TestResult):
    """Says each test's verdict as the other runners do."""

    passed = failed = 0

    def startTest(self, test):
        super().startTest(test)
        self.start, self.trouble = time.monotonic(), ""

    def _note(self, test, error):
        self.trouble += "".join(traceback.format_exception(*error))

    addFailure = addError = _note

    def addSubTest(self, test, subtest, error):
        if error:
            self.trouble += f"{subtest}\n"
            self._note(test, error)

    def stopTest(self, test):
        name = test.id().removeprefix("test_").replace(".test_", ".")
        print(f"{'FAIL' if self.trouble else 'pass'}  python {name}  {time.monotonic() - self.start:.1f} s", flush=True)
        for line in self.trouble.splitlines():
            print(f"      {line}", flush=True)
        self.failed += bool(self.trouble)
        self.passed += not self.trouble


def main() -> int:
    result = Lines()
    unittest.defaultTestLoader.discover(str(HERE)).run(result)
    # A module that cannot be imported is a test that fails; no test at all is one as well.
    failed = result.failed + (not result.testsRun)
    print(f"{result.passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
