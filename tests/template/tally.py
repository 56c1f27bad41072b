"""What counts as a check, what it claims, and how claims are counted."""

import inspect

import api_checks
import role_checks
import source_checks
import stack_checks


def checks_of(*modules):
    """Every function that the modules define, in their order."""
    return [
        check
        for module in modules
        for check in vars(module).values()
        if inspect.isfunction(check) and check.__module__ == module.__name__
    ]


SOURCE_CHECKS = checks_of(source_checks)
STACK_CHECKS = checks_of(stack_checks, role_checks, api_checks)


def claim(check):
    return check.__name__.replace("_", " ")


class Tally:
    """Prints each claim as it is settled, and the sum at the end."""

    def __init__(self):
        self.passed = self.failed = 0

    def add(self, what, faults):
        faults = list(faults)
        if faults:
            self.failed += 1
            print("\n        ".join([f"FAILED  {what}", *faults]))
        else:
            self.passed += 1
            print(f"ok      {what}")

    def close(self):
        print(f"{self.passed} passed, {self.failed} failed")
        return 1 if self.failed else 0
