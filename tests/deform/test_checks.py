"""What the loop refuses before anything is recorded."""

import pytest

from robopref.policies.finetune import FINETUNE
from robopref.policies.finetune.dpo import DPOConfig
from robopref.policies.finetune.given import ONLY_RANKINGS
from robopref.policies.finetune.group_sources import GroupsConfig
from tests.deform.conftest import make_loop


@pytest.mark.parametrize("name", FINETUNE.names())
def test_a_method_that_does_not_learn_from_rankings_is_refused_at_once(name, tmp_path):
    out = tmp_path / "out"
    if name.startswith("deformpam"):
        assert make_loop(out, method=name).run.stages == {}
        return
    with pytest.raises(ValueError) as error:
        make_loop(out, method=name)
    assert str(error.value) == ONLY_RANKINGS
    assert not out.exists()


def test_a_method_of_groups_can_be_told_to_learn_from_rankings(tmp_path):
    loop = make_loop(tmp_path, method=DPOConfig(groups=GroupsConfig("rankings")))
    assert loop.run.stages == {}
