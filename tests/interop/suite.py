"""Runs the cases of one file, in order, and says which passed."""

import sys
import time
import traceback

CASES = []


def case(function):
    CASES.append(function)
    return function


def main():
    chosen = [function for function in CASES if not sys.argv[1:] or function.__name__ in sys.argv[1:]]
    failed = 0
    for function in chosen:
        started = time.monotonic()
        try:
            function()
            print("ok   %s (%.1f s)" % (function.__name__, time.monotonic() - started), flush=True)
        except Exception:
            failed += 1
            traceback.print_exc()
            print("FAIL %s" % function.__name__, flush=True)
    sys.exit(1 if failed or not chosen else 0)
