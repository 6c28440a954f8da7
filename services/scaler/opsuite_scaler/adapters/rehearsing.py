"""Backtests and forecasts as a whole: built here, served beside the rest of the scaler."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from opsuite.scaler.v1 import forecast_service_pb2_grpc, simulation_service_pb2_grpc
from opsuite_kernel.clock import Clock
from opsuite_rpc.server import Service
from opsuite_scaler.adapters.forecast_api import ForecastServicer
from opsuite_scaler.adapters.forecasting import fit_holt_winters
from opsuite_scaler.adapters.simulation_api import SimulationServicer
from opsuite_scaler.adapters.simulation_rows import SqlBacktests
from opsuite_scaler.adapters.simulator import ProcessSimulator
from opsuite_scaler.application.forecasts import Forecasts
from opsuite_scaler.application.rehearsal import Ranges, Simulator
from opsuite_scaler.application.simulations import Simulations
from opsuite_scaler.application.store import Store
from opsuite_scaler.application.trace_sources import TraceSources
from opsuite_storage.store import Store as Database


@dataclass(frozen=True, slots=True)
class Rehearsing:
    """What a server of the scaler adds."""

    forecasts: Forecasts
    """Foresees for the live loop too."""
    simulations: Simulations
    services: Sequence[Service]

    async def close(self) -> None:
        """End what is played and looked up."""
        await self.simulations.close()
        await self.forecasts.close()


def rehearsing(
    database: Database,
    store: Store,
    clock: Clock,
    *,
    ranges: Ranges | None = None,
    simulator: Simulator | None = None,
) -> Rehearsing:
    """Backtests and forecasts over a database; without `ranges` Prometheus cannot be asked for traces."""
    rows = SqlBacktests(database, clock)
    forecasts = Forecasts(histories=rows, fit=fit_holt_winters, clock=clock)
    simulations = Simulations(backtests=rows, simulator=simulator or ProcessSimulator(), clock=clock)
    traces = TraceSources(backtests=rows, store=store, histories=rows, ranges=ranges)
    return Rehearsing(
        forecasts,
        simulations,
        [
            Service(
                SimulationServicer(simulations, traces),
                simulation_service_pb2_grpc.add_SimulationServiceServicer_to_server,
                "opsuite.scaler.v1.SimulationService",
            ),
            Service(
                ForecastServicer(forecasts, traces),
                forecast_service_pb2_grpc.add_ForecastServiceServicer_to_server,
                "opsuite.scaler.v1.ForecastService",
            ),
        ],
    )
