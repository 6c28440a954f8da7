"""One attempt of a step or gate: what is to be done once."""

from __future__ import annotations

from dataclasses import dataclass

from opsuite_deployer.application.ports import Owned
from opsuite_deployer.domain.deployment import PartKey
from opsuite_deployer.domain.pipeline import Step
from opsuite_runs.intents import operation_name


@dataclass(frozen=True, slots=True)
class Attempt:
    """What is to be done once."""

    owned: Owned
    key: PartKey
    number: int
    lines_before: int = 0
    """Lines of this attempt that are recorded already: an adopted container tells all of them again."""

    @property
    def stage(self) -> str:
        """Name of its stage."""
        return self.owned.pipeline.stages[self.key.stage].name

    @property
    def step(self) -> Step:
        """The step, as the pipeline has it."""
        return self.owned.pipeline.stages[self.key.stage].steps[self.key.position]

    @property
    def operation(self) -> str:
        """The name under which a platform knows it, the same on every try."""
        return operation_name(self.owned.deployment.id, f"{self.stage}/{self.step.name}", self.number)
