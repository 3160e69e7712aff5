"""Made-up readings of a reader study with one criterion and one artefact: nobody has read anything."""

from sciimg.protocol.validation import Criterion, ReviewPlan
from sciimg.review.match import Reading, Seen

PLAN = ReviewPlan(readers=3, criteria=(Criterion(name="sharpness", question="How sharp?"),), artefacts=("blur",), minimum_seconds=3)


def reading(reader, number, right, role="main", **more):
    truth = ("real", "synthetic")[number % 2]
    answer = truth if right else ("synthetic", "real")[number % 2]
    name = f"s{number}"
    seen = (Seen(name, truth, {"sharpness": 2 + number % 2}, frozenset({"blur"} if number == 1 else ())),)
    return Reading(reader, name, truth, answer, role, answer, seen=seen, **more)


def readings(readers=("ada", "ben", "chi"), items=12):
    main = [
        reading(r, i, right=(i + len(r) + n) % 3 > 0, seconds=5.0, confidence=1 + i % 5)
        for n, r in enumerate(readers)
        for i in range(items)
    ]
    again = [reading(r, i, right=True, role="repeat", seconds=1.0) for r in readers for i in (0, 1, 2)]
    return [*main, *again, *(reading(r, 99, right=r != "ben", role="catch") for r in readers)]
