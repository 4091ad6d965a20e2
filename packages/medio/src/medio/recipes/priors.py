"""Which sample of a patient comes before which."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import TypeVar

from medio.recipes.annotations import Prior
from medio.recipes.tables import Item

ItemT = TypeVar("ItemT", bound=Item)


def link_priors(items: Sequence[ItemT], *, days: Mapping[str, float] | None = None) -> tuple[ItemT, ...]:
    """Name for every item the sample before it: the latest of the same patient and modality on an earlier day.

    Of several on that day the one of the same description is taken, then the one whose id comes first. Two samples of one day are no priors of each other,
    and an item without a day has none.

    Args:
        items: `VolumeItem`, `FilmItem` or `SeriesItem`.
        days: day of each sample by its id, from any start; None takes the study dates.

    Returns:
        The items in their order, with `annotations.prior`.

    Raises:
        ValueError: for a study date that is none.
    """
    when = [days.get(item.ids["sample"]) if days is not None else _day(item.ids) for item in items]
    visits: dict[tuple[str, str], list[int]] = defaultdict(list)
    for index, item in enumerate(items):
        if when[index] is not None:
            visits[item.ids["patient"], item.ids.get("modality", "")].append(index)
    priors: dict[int, Prior] = {}
    for own in visits.values():
        for index in own:
            ids, now = items[index].ids, when[index]
            earlier = [(day, other) for other in own if (day := when[other]) is not None and now is not None and day < now]
            if earlier and now is not None:
                last = max(day for day, _ in earlier)
                names = [items[other].ids for day, other in earlier if day == last]
                chosen = min(names, key=lambda n: (n.get("description", "") != ids.get("description", ""), n["sample"]))
                priors[index] = Prior(sample_id=chosen["sample"], days=now - last)
    return tuple(item.annotated(replace(item.annotations, prior=priors.get(index))) for index, item in enumerate(items))


def _day(ids: Mapping[str, str]) -> float | None:
    text = ids.get("study_date", "")
    if not text:
        return None
    try:
        return float(date.fromisoformat(text).toordinal())
    except ValueError:
        raise ValueError(f"sample {ids['sample']}: study date {text!r} is none; it must be YYYYMMDD or empty") from None
