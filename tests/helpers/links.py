"""A link's log held against the record of the chip that failed on purpose."""

from __future__ import annotations

from collections import Counter


def match_faults(link, chip):
    """Check a `Link`'s log against what a `FaultyChip` has injected, request by request.

    A run that took longer than the time-out by itself is a fault as well, logged as timeout and, when its answer came,
    late; how many there were is returned.
    """
    logged: dict[int, Counter] = {}
    for fault in link.faults.records:
        logged.setdefault(fault.request, Counter())[fault.kind] += 1
    delayed = 0
    for request, kind in chip.injected:
        found = logged.pop(request)
        expected = {"timeout": {"timeout": 1}, "late": {"timeout": 1, "late": 1}}.get(kind, {kind: 1})
        if found != expected:
            check_delay(request, found)
            delayed += 1
    for request, found in logged.items():
        check_delay(request, found)
    return delayed + len(logged)


def check_delay(request, found):
    """What a genuine delay leaves in the log."""
    assert found["timeout"] == 1, (request, found)
    assert found["late"] <= 1, (request, found)
    assert set(found) <= {"timeout", "late"}, (request, found)
