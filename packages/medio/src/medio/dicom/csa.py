"""Siemens' CSA header: named values inside private element (0029,xx10) of classic MR files.

Two layouts exist: the older begins with the number of tags, the newer with `SV10`. Each tag has a name, a VR and items of text.
"""

import struct

_NEW = b"SV10"


def csa_values(data: bytes, names: frozenset[str]) -> dict[str, list[str]]:
    """Read chosen tags.

    Args:
        data: value of the element.
        names: the tags wanted, e.g. `NumberOfImagesInMosaic`.

    Returns:
        the non-empty items of each tag that is there, as text.

    Raises:
        ValueError: where the header is cut short or not one.
    """
    new = data.startswith(_NEW)
    place = 8 if new else 0
    values: dict[str, list[str]] = {}
    try:
        count, check = struct.unpack_from("<2I", data, place)
        if check not in (77, 205) or not 0 < count <= 1000:
            raise ValueError(f"not a CSA header ({count} tags, mark {check})")
        place += 8
        base = 0
        for number in range(count):
            raw, _, _, _, items, _ = struct.unpack_from("<64si4siii", data, place)
            place += 84
            if number <= 1:
                base = items
            name = raw.split(b"\0", 1)[0].decode("latin-1")
            texts = []
            for _ in range(items):
                lengths = struct.unpack_from("<4i", data, place)
                place += 16
                # The older layout counts the items of the second tag into every length; its first tag has none.
                length = lengths[1] if new else lengths[0] - base
                if length < 0 or place + length > len(data):
                    if new:
                        raise ValueError(f"CSA header with an item of {name} of {length} bytes at {place} of {len(data)}")
                    break
                text = data[place : place + length].split(b"\0", 1)[0].decode("latin-1").strip()
                place += (length + 3) // 4 * 4
                if text:
                    texts.append(text)
            if name in names:
                values[name] = texts
    except struct.error as error:
        raise ValueError(f"CSA header ends early ({error})") from error
    return values
