"""Which patient trains and which one tests: by patient, seeded, independent of the order of the files."""

from collections.abc import Iterable, Mapping

from medio.keyed import key_digest


def split_patients(patients: Iterable[str], shares: Mapping[str, float], seed: int) -> dict[str, str]:
    """Give every patient one split.

    The patients are ordered by a hash of (seed, patient) and cut in the proportions asked for, so the sizes are exact, all images of a patient stay together,
    and neither the order of the files nor a second film of a patient changes anything.

    Args:
        patients: patient ids; repeats count once.
        shares: share of each split by name, summing to 1; the first one takes what rounding leaves.
        seed: another seed, another split.

    Returns:
        split by patient id.

    Raises:
        ValueError: where the shares do not sum to 1, or fewer patients than splits are given.
    """
    names = list(shares)
    if abs(sum(shares.values()) - 1) > 1e-6 or any(share <= 0 for share in shares.values()):
        raise ValueError(f"shares must be positive and sum to 1, got {dict(shares)}")
    ordered = sorted(set(patients), key=lambda patient: (key_digest((seed, 0, patient, 0), "split"), patient))
    if len(ordered) < len(names):
        raise ValueError(f"{len(ordered)} patients cannot be split into {len(names)} parts ({', '.join(names)}); add patients")
    sizes = {name: max(1, round(shares[name] * len(ordered))) for name in names[1:]}
    sizes = {names[0]: len(ordered) - sum(sizes.values()), **sizes}
    if sizes[names[0]] < 1:
        raise ValueError(f"{len(ordered)} patients leave none for {names[0]!r} after {sizes}; add patients or lower the other shares")
    given: dict[str, str] = {}
    rest = iter(ordered)
    for name, size in sizes.items():
        given.update((next(rest), name) for _ in range(size))
    return given
