"""What the programs here have in common: where they are, what holds and what does not, and how that ends."""
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
DEPLOY = ROOT / "deploy"
REFERENCE = ROOT / "docs" / "reference" / "metrics.md"


class Checks:
    """Counts them, and tells of those that failed as they do."""

    def __init__(self, about):
        self.about, self.done, self.failures = about, 0, []

    def check(self, holds, what):
        self.done += 1
        if not holds:
            self.failures.append(what)
            print(f"FAILED: {what}")

    def unverified(self, what):
        print(f"{self.about}: not verified ({what})")

    def end(self, also=""):
        """Prints the count, and ends the program with 1 where anything failed."""
        print(f"{self.about}: {also}{self.done} checks, {len(self.failures)} failed")
        sys.exit(1 if self.failures else 0)


def run(*command, timeout=180, **more):
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=timeout, **more)
