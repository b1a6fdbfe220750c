"""Every agent, world and outer loop on a GPU, where there is one: what was learned there is there, and a checkpoint goes on."""

import numpy as np
import pytest
import torch

from metarl.agents import Agent
from tests.small import LEARNING, small

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
DEVICE = "cuda"


@pytest.mark.parametrize("name", LEARNING)
def test_an_agent_learns_is_evaluated_and_saved_on_the_gpu(name, tmp_path):
    agent = small(name, device=DEVICE).learn(2)
    assert {value.device.type for value in agent.meta.values()} == {DEVICE}
    assert all(value.isfinite().all() for value in agent.meta.values())
    assert np.isfinite(agent.evaluate(2).mean).all()
    agent.save(tmp_path / "agent.pt")
    loaded = type(agent).load(tmp_path / "agent.pt", device="cpu")
    assert isinstance(loaded, Agent)
    for key, value in agent.meta.items():
        torch.testing.assert_close(loaded.meta[key], value.cpu(), rtol=0, atol=0)
