"""ForecastService: messages in, one use case, messages out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp

from opsuite.scaler.v1 import forecast_service_pb2 as pb
from opsuite.scaler.v1 import forecast_service_pb2_grpc as stubs
from opsuite.scaler.v1.policy_pb2 import ForecastSettings as ForecastSettingsMessage
from opsuite.scaler.v1.policy_pb2 import ScalingPolicy as PolicyMessage
from opsuite_kernel.errors import InvalidInput
from opsuite_scaler.adapters.calls import Context, policy_id
from opsuite_scaler.adapters.decision_messages import foreseen_message
from opsuite_scaler.adapters.formulas import CelFormulas
from opsuite_scaler.adapters.policy_messages import policy_of
from opsuite_scaler.application.forecasts import Forecasts, Shown
from opsuite_scaler.application.trace_sources import TraceSources
from opsuite_scaler.domain.demand import per_replica
from opsuite_scaler.domain.forecast.errors import Errors
from opsuite_scaler.domain.forecast.forecaster import RIVALS, Point
from opsuite_scaler.domain.policy import ForecastMode, ForecastSettings, MetricSpec, ScalingPolicy
from opsuite_scaler.domain.rules import violations


class ForecastServicer(stubs.ForecastServiceServicer):
    """Serves the contract of forecasts."""

    def __init__(self, forecasts: Forecasts, traces: TraceSources) -> None:
        self._forecasts = forecasts
        self._policies = traces

    async def GetForecast(
        self, request: pb.GetForecastRequest, context: Context[pb.GetForecastRequest, pb.GetForecastResponse]
    ) -> pb.GetForecastResponse:
        """Return the present forecast."""
        return pb.GetForecastResponse(forecast=await self._shown(request.name, anew=False))

    async def RefreshForecast(
        self,
        request: pb.RefreshForecastRequest,
        context: Context[pb.RefreshForecastRequest, pb.RefreshForecastResponse],
    ) -> pb.RefreshForecastResponse:
        """Make it anew."""
        return pb.RefreshForecastResponse(forecast=await self._shown(request.name, anew=True))

    async def EvaluateForecast(
        self,
        request: pb.EvaluateForecastRequest,
        context: Context[pb.EvaluateForecastRequest, pb.EvaluateForecastResponse],
    ) -> pb.EvaluateForecastResponse:
        """Say how wrong it would have been."""
        name = policy_id(request.name)
        policy = await self._policies.policy(name)
        settings = _settings(request.settings, policy) if request.HasField("settings") else None
        judged = await self._forecasts.judge(name, policy, settings)
        return pb.EvaluateForecastResponse(
            error=_error(judged.errors, judged.model, judged.metric, is_off=judged.is_off),
            foreseen=_points(judged.foreseen, judged.metric),
            actual=_points(judged.actual, judged.metric),
        )

    async def _shown(self, name: str, *, anew: bool) -> pb.Forecast:
        policy = policy_id(name)
        shown = await self._forecasts.show(policy, await self._policies.policy(policy), anew=anew)
        return _forecast(name, shown)


def _settings(message: ForecastSettingsMessage, policy: ScalingPolicy) -> ForecastSettings:
    """Settings to try on a policy, whatever they are to be used for. Raises InvalidInput."""
    settings = policy_of(PolicyMessage(forecast=message)).forecast
    tried = replace(policy, forecast=replace(settings, mode=ForecastMode.FORECAST_ONLY))
    told = [one for one in violations(tried, CelFormulas().names) if one.field.startswith("forecast.")]
    if told:
        raise InvalidInput([replace(one, field=one.field.removeprefix("forecast.")).below("settings") for one in told])
    return settings


def _forecast(name: str, shown: Shown) -> pb.Forecast:
    message = pb.Forecast(
        policy=name,
        metric=shown.metric.name,
        model=shown.model,
        create_time=_timestamp(shown.made_at),
        points=_points(shown.points, shown.metric),
        foreseen=foreseen_message(shown.foreseen),
        error=_error(shown.errors, shown.model, shown.metric, is_off=shown.is_off),
    )
    message.horizon.FromTimedelta(shown.horizon)
    return message


def _points(points: Sequence[Point], metric: MetricSpec) -> list[pb.ForecastPoint]:
    unit = per_replica(metric)
    return [
        pb.ForecastPoint(
            time=_timestamp(point.at),
            value=point.needed * unit,
            upper_value=point.upper * unit,
            replicas=math.ceil(point.upper - 1e-9),
        )
        for point in points
    ]


def _error(errors: Errors, model: str, metric: MetricSpec, *, is_off: bool) -> pb.ForecastError:
    unit = per_replica(metric)
    return pb.ForecastError(
        model_error=errors.mean_absolute[model] * unit,
        naive_error=errors.best_of(RIVALS[model]) * unit,
        points=errors.count,
        switched_off=is_off,
    )


def _timestamp(at: datetime) -> Timestamp:
    found = Timestamp()
    found.FromDatetime(at)
    return found
