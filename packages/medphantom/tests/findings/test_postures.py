"""A patient who stands up keeps the findings; what flows finds a new level."""

from dataclasses import replace

import pytest

from medphantom.findings.device import Pacemaker
from medphantom.findings.edema import Edema
from medphantom.findings.effusion import make_effusion
from medphantom.findings.pneumothorax import make_pneumothorax
from medphantom.findings.postures import in_posture


def test_standing_up_moves_fluid_down_and_air_up_and_changes_no_amount(anatomy, look):
    lying = (
        replace(make_effusion(anatomy, side="right", volume_ml=500.0), tracking_id="effusion-4"),
        make_pneumothorax(anatomy, side="left", share=0.25),
        Edema(severity=0.5),
        Pacemaker(),
    )
    standing = in_posture(lying, anatomy, "upright")
    assert [f.tracking_id for f in standing] == [f.tracking_id for f in lying]
    assert standing[3] == lying[3]
    assert standing[2] == replace(lying[2], posture="upright")
    before, after = ({t.kind: t for t in look(findings).truths} for findings in (lying, standing))
    for kind, sign in (("effusion", -1), ("pneumothorax", 1)):
        assert after[kind].volume_ml == pytest.approx(before[kind].volume_ml, rel=0.05)
        assert sign * (after[kind].center_mm[2] - before[kind].center_mm[2]) > 20  # along z, to the feet or the head
    assert in_posture(standing, anatomy, "supine") == lying
