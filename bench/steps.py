"""What one step costs besides its program: the policy's judgement, and the trace."""

from __future__ import annotations

import timeit

from bench import validation
from bench.deployers import a_bench_deployer, deploy_and_wait, register_ten
from bench.table import Row, ms, p50


async def main(rounds: int) -> list[Row]:
    rows = []
    for name, run in validation.variants().items():
        best = min(timeit.repeat(run, number=validation.CALLS, repeat=10 * rounds)) / validation.CALLS * 1e6
        goal = {"shape": validation.SHAPE_GOAL_US}.get(name, validation.STEP_GOAL_US)
        if name != "parse the request":
            rows.append(Row(f"validation, {name}", f"{best:.1f} us", "", best, goal, unit="us"))
    return rows + await tracing(rounds)


async def tracing(rounds: int) -> list[Row]:
    """Ten steps with every trace kept, beside none."""
    with a_bench_deployer() as traced, a_bench_deployer(DEPLOYER_TRACE_RATIO="0") as bare:
        async with traced.client() as one, bare.client() as other:
            taken: dict[str, list[float]] = {"traced": [], "bare": []}
            for client in (one, other):
                await register_ten(client, "ten")
                for _ in range(10):
                    await deploy_and_wait(client, "ten")
            for _ in range(rounds):
                for name, client in (("traced", one), ("bare", other)):
                    taken[name] += [await deploy_and_wait(client, "ten") for _ in range(10)]
    with_, without = p50(taken["traced"]), p50(taken["bare"])
    return [Row("ten steps with every trace kept", ms(with_), f"none {ms(without)}", with_ / without, 1.1)]
