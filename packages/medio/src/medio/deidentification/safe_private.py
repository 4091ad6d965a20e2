"""Private attributes that are known to hold no identity, by creator: an allow-list of numbers, codes and short vendor terms.

Source: DICOM PS3.15 Table E.3.10-1 (edition 2026d). Left out of it, because something else can stand there: blocks of bytes (OB, OW), sequences, texts
without a limit (ST, LT) and attributes without a VR. Added: the diffusion directions of Philips (2005,xxB0 to xxB2) and GE (0019,xxBB to xxBD), plain
numbers according to the vendors' conformance statements.
"""

from types import MappingProxyType

# creator | group: elements
_LIST = """
Philips PET Private Group | 7053: 00 09
ELSCINT1 | 00E1: 21 50 | 01E1: 26 | 01F1: 01 07 26 27
GEMS_ACQU_01 | 0019: 23 24 27 9E BB BC BD
GEMS_PARM_01 | 0043: 27 39 6F
GEMS_HELIOS_01 | 0045: 01 02
GEMS_SERS_01 | 0025: 07
GEIIS PACS | 0903: 10-12
Philips Imaging DD 001 | 2001: 01-0C 0E-1F 21-51 53-59 60-64 67 6D 6E 71 72 74-77 7A-7C 7E-8C 90-94 9B 9D 9F A1-A5 C0-C3 CB D0-DF F1-F7
Philips Imaging DD 002 | 2001: 01-39 3E-40 50 52 53 5A 5C-5E 65-68 6B 71-75
Philips Imaging DD 097 | 2001: 02-04 07 0D 0F 17-1F 21-28 2A-2D 30-32 36-3B 3D 40 41 44-46 4B 4C A1-A6 A8 AA AB
Philips Imaging DD 129 | 2001: 03 05-09
Philips MR Imaging DD 001 | 2005: 0D 0E B0-B2
SIEMENS MR HEADER | 0019: 0C-0E 27
HOLOGIC, Inc. | 7E01: 01 02
NQHeader | 0099: 01 02 04 10 20 21
NQLeft | 0199: 01-16
NQRight | 0299: 01-16
SIEMENS Ultrasound SC2000 | 0119: 00 05-09 10 13 21 | 0129: 02 07 12 30 | 0139: 01 | 0149: 01-03 | 7FD1: 09
SIEMENS SYNGO ULTRA-SOUND TOYON DATA STREAMING | 7FD1: 09
"""


def _parse(text: str) -> frozenset[tuple[str, int, int]]:
    found = set()
    for line in text.strip().splitlines():
        creator, *groups = (part.strip() for part in line.split("|"))
        for group in groups:
            number, elements = group.split(":")
            for span in elements.split():
                first, _, last = span.partition("-")
                found |= {(creator.upper(), int(number, 16), e) for e in range(int(first, 16), int(last or first, 16) + 1)}
    return frozenset(found)


SAFE_PRIVATE = _parse(_LIST)
"""(creator in upper case, group, element within the creator's block)."""

SAFE_VRS = MappingProxyType(
    {
        "number": frozenset({"DS", "FD", "FL", "IS", "SL", "SS", "SV", "UL", "US", "UV", "AT"}),
        "word": frozenset({"CS", "SH", "LO"}),
        "uid": frozenset({"UI"}),
    }
)
"""What a kept private attribute may be; a value of any other VR goes, whatever its tag."""


def is_safe(creator: str, group: int, element: int, more: frozenset[tuple[str, int, int]]) -> bool:
    """Tell whether a private attribute is on the list, or on the policy's own.

    Args:
        creator: value of its private creator, padding and case do not matter.
        group: its group, odd.
        element: the lower byte of its element.
        more: further (creator, group, element).
    """
    name = creator.strip().upper()
    return (name, group, element) in SAFE_PRIVATE or any((name, group, element) == (c.strip().upper(), g, e) for c, g, e in more)
